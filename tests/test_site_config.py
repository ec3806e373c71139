"The site's configuration, without Quarto: keys, front matter, citations, and the directive filter as Quarto runs it."

import configparser
import copy
import datetime
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from compare_outputs import differences, same

from blog.site.package import public_names
from blog.site.pages import read_pages, read_site

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted(p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
CONFIG = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))

# Every key this project uses, with the page of quarto.org/docs that documents it.
DOCUMENTED = {
    # reference/projects/options.html and projects/scripts.html
    "project": {"type", "output-dir", "pre-render", "post-render", "render"},
    # reference/projects/websites.html
    "website": {
        "title",
        "description",
        "site-url",
        "repo-url",
        "repo-branch",
        "search",
        "navbar",
        "sidebar",
    },
    "sidebar": {"title", "contents"},
    "navbar": {"left"},
    "left": {"href", "text"},
    # computations/execution-options.html
    "execute": {"enabled"},
    # reference/formats/html.html: themes, math, tables, table of contents; output-formats/html-basics.html: minimal
    "format": {"html"},
    "html": {"theme", "minimal", "template", "html-math-method", "html-table-processing", "toc", "toc-depth"},
    # extensions/nbfilter.html; authoring/citations.html
    "": {
        "project",
        "website",
        "execute",
        "ipynb-filters",
        "filters",
        "bibliography",
        "link-citations",
        "format",
        "title",
        "description",
        "toc",
        "series",  # of this blog: the sidebar that the page is about
    },
}
PAGES = sorted((*ROOT.glob("*.qmd"), *ROOT.glob("series/*.qmd")))
WITH_CONTENTS = {"package.qmd", "glossary.qmd"}


def unknown_keys(node: object, name: str = "") -> list[str]:
    if isinstance(node, list):
        return [key for item in node for key in unknown_keys(item, name)]
    if not isinstance(node, dict):
        return []
    here = [f"{name}: {key}" for key in node if key not in DOCUMENTED.get(name, set())]
    return here + [key for child, value in node.items() for key in unknown_keys(value, child)]


def front_matter(path: Path) -> dict:
    if path.suffix == ".ipynb":
        cell = nbformat.read(path, 4).cells[0]
        assert cell.cell_type == "raw", f"{path}: the first cell is not the raw cell with the front matter"
        text = cell.source
    else:
        text = path.read_text(encoding="utf-8")
    return yaml.safe_load(re.match(r"---\n(.*?)\n---", text, re.DOTALL)[1])


def filtered(path: Path) -> dict:
    "The notebook as the filter hands it to Quarto."
    program, *arguments = CONFIG["ipynb-filters"][0].split()
    assert program == "python"
    command = [sys.executable, *arguments]
    done = subprocess.run(command, input=path.read_bytes(), capture_output=True, cwd=path.parent, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def source(cell: dict) -> str:
    return "".join(cell["source"])


def test_only_documented_keys():
    assert unknown_keys({"project": {"tpye": 1}, "navbar": [{"left": {"hfre": 1}}]}) == [
        ": navbar",
        "project: tpye",
        "left: hfre",
    ]
    assert unknown_keys(CONFIG) == []
    for page in PAGES:
        assert unknown_keys(front_matter(page)) == []


def test_pages_that_are_no_posts():
    named = {name for name in CONFIG["project"]["render"] if "*" not in name}
    there = {page.name for page in PAGES if page.parent == ROOT}
    assert named - {"package.qmd"} == there - {"package.qmd"}  # made by the step before
    assert {link["href"] for link in CONFIG["website"]["navbar"]["left"]} == named - {"404.qmd", "package.qmd"}
    for page in PAGES:
        has_contents = page.name in WITH_CONTENTS
        assert front_matter(page).get("toc", page.name == "package.qmd") is has_contents, page


def test_each_series_has_a_page():
    titles = [front_matter(page).get("series") for page in PAGES if page.parent.name == "series"]
    assert sorted(titles) == sorted(bar["title"] for bar in CONFIG["website"]["sidebar"])


def test_the_steps_before_and_after_a_render():
    steps = {CONFIG["project"][f"{when}-render"] for when in ("pre", "post")}
    assert steps == {"python -m blog.site.render prepare", "python -m blog.site.render finish"}


def test_each_series_names_posts_and_no_post_is_in_two():
    named = [source for bar in CONFIG["website"]["sidebar"] for source in bar["contents"]]
    assert len(named) == len(set(named)) > 0
    assert set(named) <= {path.relative_to(ROOT).as_posix() for path in NOTEBOOKS}


def test_each_public_name_has_a_line_on_the_package_page():
    blank, seen = [], 0
    for path in sorted((ROOT / "blog").rglob("*.py")):
        if not path.name.startswith("_"):
            names = public_names(path.read_text(encoding="utf-8"))
            seen += len(names)
            blank += [f"{path.relative_to(ROOT)}: {one.name}" for one in names if not one.words.strip("` ")]
    assert seen > 300 and not blank


def test_each_study_says_what_it_found():
    "In a sentence with a number in it, the first output of the cell `finding`; and asks a question below its title."
    pages = read_pages(ROOT, read_site(ROOT))
    found = {page.source: page.finding for page in pages if page.source.startswith("nbs/studies/")}
    asked = {page.source: page.fields.get("subtitle") for page in pages if page.source in found}
    assert found and [name for name, finding in found.items() if not re.search(r"\d", finding)] == []
    assert [name for name, question in asked.items() if not question] == []


def test_every_chapter_is_part_of_a_series_and_studies_are_no_chapters():
    named = {source for bar in CONFIG["website"]["sidebar"] for source in bar["contents"]}
    assert {path.relative_to(ROOT).as_posix() for path in NOTEBOOKS} <= named
    for path in NOTEBOOKS:
        assert ("library" in front_matter(path)["categories"]) == (path.parent.name != "studies"), path


def test_addresses_come_from_settings():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "settings.ini", encoding="utf-8")
    settings = settings["DEFAULT"]
    assert CONFIG["website"]["site-url"] == settings["doc_host"] + settings["doc_baseurl"]
    assert CONFIG["website"]["repo-url"] == settings["git_url"]
    assert CONFIG["website"]["description"] == settings["description"]
    assert CONFIG["website"]["repo-branch"] == settings["branch"]
    assert CONFIG["project"]["output-dir"] == settings["doc_path"]


def test_quarto_brings_no_style_and_no_script_of_its_own():
    html = CONFIG["format"]["html"]
    assert (html["theme"], html["minimal"], html["html-math-method"]) == ("none", True, "mathml")
    assert CONFIG["website"]["search"] is False and "http" not in json.dumps(html)
    for page in PAGES:
        assert not re.search(r"<(script|link|img|iframe)[^>]*//", page.read_text(encoding="utf-8"))


def test_the_filters_and_the_bibliography_exist_and_no_second_configuration_shadows_this_one():
    for name in (*CONFIG["filters"], CONFIG["bibliography"], CONFIG["format"]["html"]["template"]):
        assert (ROOT / name).is_file(), name
    assert not (ROOT / "nbs" / "_quarto.yml").exists()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.relative_to(ROOT / "nbs").as_posix())
def test_front_matter(path):
    front = front_matter(path)
    for key in ("title", "description", "author"):
        assert isinstance(front.get(key), str) and front[key].strip(), key
    assert isinstance(front["date"], datetime.date)
    assert front["categories"] and all(isinstance(category, str) for category in front["categories"])
    assert "image" in front, "the home page shows a picture of every post: `blog run POST --save-outputs` draws it"
    assert (path.parent / front["image"]).is_file() and front["image-alt"].strip()
    if path.parent.name != "studies":  # a card with the chapter's title and the name of its module
        module = re.search(r'"#\|\s*default_exp ([\w.]+)', path.read_text(encoding="utf-8"))
        assert front["image-alt"] == front["title"] + (f" (blog.{module[1]})" if module else "")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.relative_to(ROOT / "nbs").as_posix())
def test_citations_have_an_entry(path):
    known = set(
        re.findall(r"^@\w+\{([^,]+),", (ROOT / CONFIG["bibliography"]).read_text(encoding="utf-8"), re.MULTILINE)
    )
    prose = "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")
    prose = re.sub(r"`[^`]*`", "", prose)
    assert set(re.findall(r"(?<![\w.])@([a-z]+\d{4}\w*)", prose)) <= known


@pytest.mark.parametrize("path", sorted((ROOT / "nbs/studies").glob("*.ipynb")), ids=lambda p: p.stem)
def test_the_filter_leaves_a_valid_notebook_without_code_cells_and_machinery(path):
    before, after = json.loads(path.read_text(encoding="utf-8")), filtered(path)
    nbformat.validate(copy.deepcopy(after))  # it adds what is missing
    assert after["metadata"] == before["metadata"]
    kept = [source(cell) for cell in after["cells"]]
    assert all(source(cell) in kept for cell in before["cells"] if cell["cell_type"] != "code")
    assert all(cell["cell_type"] != "code" and isinstance(cell["source"], list) for cell in after["cells"])
    text = "\n".join(kept)
    assert not re.search(r"^#\s*\|", text, re.MULTILINE)
    exported = sum(bool(re.match(r"#\s*\|\s*export", source(cell))) for cell in before["cells"])
    assert text.count('<details class="code">') >= exported
    charts = json.dumps(before).count("offline-chart-spec")
    assert text.count('class="offline-chart-spec"') == charts <= text.count('<details class="chart-data"')


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.relative_to(ROOT / "nbs").as_posix())
def test_stored_outputs_name_no_folder_of_the_machine_that_made_them(path):
    for number, cell in enumerate(nbformat.read(path, 4).cells, start=1):
        found = re.search(r".{0,80}(?:site-packages|\.venv)/.{0,80}", json.dumps(cell.get("outputs", [])))
        assert not found, f"cell {number}: {found[0]}"


def commands(folder: Path, *names: str, script: str = "exit 0") -> None:
    for name in names:
        (folder / name).write_text(f"#!/bin/sh\necho {name} $@ >> $LOG\n{script}\n")
        (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    "root, browser, apt, asked, told",
    [
        (True, False, "exit 0", ["apt-get", "apt-get", "make"], ""),
        (True, False, "exit 100", ["apt-get", "make"], "chromium could not be installed: the tests"),
        (False, False, "exit 0", ["make"], "No browser, and no root with apt-get"),
        (True, True, "exit 0", ["make"], ""),
    ],
)
def test_ci_installs_a_browser_where_it_can_and_goes_on_where_it_cannot(tmp_path, root, browser, apt, asked, told):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    (tmp_path / "bin").mkdir()
    for name in ("bash", "dirname", "mktemp", "tail", "rm", "timeout", "sh"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    (tmp_path / "bin/id").write_text(f"#!/bin/sh\necho {0 if root else 1000}\n")
    (tmp_path / "bin/id").chmod(0o755)
    commands(tmp_path / "bin", "make", *(["google-chrome"] if browser else []))
    commands(tmp_path / "bin", "apt-get", script=apt)
    environment = {"PATH": str(tmp_path / "bin"), "LOG": str(tmp_path / "log")}
    done = subprocess.run([tmp_path / ".ci/run"], env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and told in done.stderr and bool(done.stderr) == bool(told), done
    assert [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()] == asked


def test_workflows_run_what_a_reader_runs():
    flows = {p.stem: yaml.safe_load(p.read_text()) for p in (ROOT / ".github" / "workflows").glob("*.yml")}
    assert flows.keys() == {"test", "publish", "outputs"}
    test = flows["test"]["jobs"]["test"]
    assert test["strategy"]["matrix"]["python-version"] == ["3.11", "3.13"]
    assert [step["run"] for step in test["steps"] if "run" in step] == [
        "google-chrome --version",  # or the tests in a browser would be skipped unseen
        "make test",
    ]
    assert test["steps"][-1]["with"]["path"] == "artifacts/" and test["steps"][-1]["if"] == "always()"
    steps = flows["publish"]["jobs"]["publish"]["steps"]
    assert "quarto render" in [step.get("run") for step in steps]
    assert [step["with"]["path"] for step in steps if "upload-pages" in step.get("uses", "")] == [
        CONFIG["project"]["output-dir"]
    ]
    weekly = flows["outputs"][True]  # YAML 1.1 reads `on` as true
    assert weekly.keys() == {"schedule", "workflow_dispatch"} and weekly["schedule"][0]["cron"].endswith("* * 1")
    program = flows["outputs"]["jobs"]["outputs"]["steps"][-1]["run"].split()
    assert program[0] == ".venv/bin/python" and (ROOT / program[1]).is_file()


@pytest.mark.parametrize(
    "old, new, expected",
    [
        ("accuracy 0.912", "accuracy 0.935", True),
        ("accuracy 0.912", "accuracy 0.86", False),
        ("loss -1.2e-4, 10,000 rows", "loss -1.3e-4, 10,400 rows", True),
        ("10,000 rows", "11,000 rows", False),
        ("12.5 s for 3 seeds", "90 s for 3 seeds", True),
        ("12.5 s for 3 seeds", "12.5 s for 4 seeds", False),
        ("kept: 3", "lost: 3", False),
        ("a  b\n 1.0", "a b\n1.01", True),
        ("p = 0.01", "p = 0.01 0.02", False),
        ("clinc150 is clinc150", "clinc151 is clinc150", False),
        (
            "Run t4 · Xeon, 2 cores · 2026-11-20 · commit 6ac005e · 3 s",
            "Run t4 · EPYC · 2026-12-01 · commit 1a · 9 s",
            True,
        ),
        (
            "Run t4 · Xeon · 2026-11-20 · commit 6ac005e · 3 s",
            "Run t8 · Xeon · 2026-11-20 · commit 6ac005e · 3 s",
            False,
        ),
    ],
)
def test_outputs_are_compared_with_a_tolerance_for_numbers(old, new, expected):
    assert same(old, new) is same(new, old) is expected


def test_outputs_are_compared_cell_by_cell(tmp_path):
    def write(name: str, *shown: dict) -> Path:
        cells = [
            {"cell_type": "code", "source": [f"show({n})"], "outputs": [output], "metadata": {}}
            for n, output in enumerate(shown)
        ]
        extra = {"cell_type": "code", "source": ["n = 1"], "outputs": [], "metadata": {"tags": ["injected-parameters"]}}
        (tmp_path / name).write_text(json.dumps({"cells": cells + [extra] * (name == "new.ipynb")}))
        return tmp_path / name

    def chart(value: float) -> dict:
        spec = f'<script type="application/json" class="offline-chart-spec">{{"values": [{value}]}}</script>'
        return {"output_type": "display_data", "data": {"text/html": [f"<svg><path d='M{value}'/></svg>{spec}"]}}

    text = {"output_type": "stream", "name": "stdout", "text": ["0.5\n", "done\n"]}
    table = {"output_type": "execute_result", "data": {"text/html": ["<td>0.5</td>"], "text/plain": ["0.5"]}}
    noise = {"output_type": "stream", "name": "stderr", "text": ["a warning\n"]}
    stored = write("old.ipynb", text, chart(0.5), table)
    assert differences(stored, write("new.ipynb", text, chart(0.51), table)) == []
    told = differences(stored, write("new.ipynb", text, chart(0.7), noise))
    assert [line.splitlines()[0] for line in told] == ["code cell 2:", "code cell 3:"]
    assert '-{"values": [0.5]}' in told[0] and '+{"values": [0.7]}' in told[0]
