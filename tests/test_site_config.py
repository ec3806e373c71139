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

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted(p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
CONFIG = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))

# Every key this project uses, with the page of quarto.org/docs that documents it.
DOCUMENTED = {
    # reference/projects/options.html and projects/scripts.html
    "project": {"type", "output-dir", "pre-render", "render", "resources"},
    # reference/projects/websites.html
    "website": {
        "title",
        "description",
        "site-url",
        "repo-url",
        "repo-branch",
        "repo-actions",
        "image",
        "search",
        "open-graph",
        "twitter-card",
        "page-navigation",
        "navbar",
        "sidebar",
    },
    "sidebar": {"title", "style", "contents"},
    "navbar": {"left", "right"},
    "left": {"href", "text", "icon", "aria-label"},
    "right": {"href", "text", "icon", "aria-label"},
    # computations/execution-options.html
    "execute": {"enabled"},
    # reference/formats/html.html: themes, math, table of contents, code, title, appendix, includes
    "format": {"html"},
    "html": {
        "theme",
        "respect-user-color-scheme",
        "html-math-method",
        "toc",
        "code-overflow",
        "code-copy",
        "date-format",
        "appendix-cite-as",
        "include-after-body",
    },
    "theme": {"light", "dark"},
    "include-after-body": {"text"},
    # reference/projects/websites.html#listings and websites/website-listings.html
    "listing": {
        "id",
        "contents",
        "include",
        "exclude",
        "type",
        "sort",
        "fields",
        "max-description-length",
        "date-format",
        "categories",
        "feed",
    },
    "feed": {"type"},
    "include": {"categories"},
    "exclude": {"categories"},
    # reference/metadata/citation.html; journals/authors.html
    "citation": {"author"},
    "author": {"name"},
    "name": {"literal"},
    # extensions/nbfilter.html; extensions/filters.html; authoring/citations.html;
    # authoring/create-citeable-articles.html;
    # websites/website-search.html, "Disabling Search"
    "": {
        "project",
        "website",
        "execute",
        "ipynb-filters",
        "filters",
        "bibliography",
        "link-citations",
        "citation",
        "format",
        "title",
        "description",
        "listing",
        "search",
        "toc",
    },
}
# websites/website-listings.html, "Listing Fields"
FIELDS = {
    "author",
    "categories",
    "date",
    "date-modified",
    "description",
    "file-modified",
    "filename",
    "image",
    "image-alt",
    "order",
    "reading-time",
    "subtitle",
    "title",
    "word-count",
}
PAGES = sorted(ROOT.glob("*.qmd"))


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


def filtered(path: Path, count: int = 2) -> dict:
    "The notebook as the first `count` filters hand it to Quarto: exported scripts, run by a Python without packages."
    text = path.read_bytes()
    for name in CONFIG["ipynb-filters"][:count]:
        command = [sys.executable, "-S", "-I", ROOT / name]
        done = subprocess.run(command, input=text, capture_output=True, cwd=path.parent, timeout=30)
        assert done.returncode == 0, done.stderr.decode()
        text = done.stdout
    return json.loads(text)


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


def test_home_lists_every_post_whole():
    "In two lists, as the preview builder does: studies, then the chapters of the library."
    studies, chapters = front_matter(ROOT / "index.qmd")["listing"]
    assert studies["exclude"] == chapters["include"] == {"categories": "library"}
    longest = max(len(front_matter(path)["description"]) for path in NOTEBOOKS)
    for listing in (studies, chapters):
        assert set(listing["fields"]) <= FIELDS and {"image", "reading-time", "categories"} <= set(listing["fields"])
        assert listing["feed"] == {"type": "full"} and listing["contents"] == "nbs/**/*.ipynb"
        assert longest <= listing["max-description-length"], "Quarto would cut it"
        assert f"::: {{#{listing['id']}}}\n:::\n" in (ROOT / "index.qmd").read_text(encoding="utf-8")


def test_pages_and_files_that_are_no_posts():
    made = {"package.qmd", "charts.js"}  # by the step before
    assert CONFIG["project"]["pre-render"] == "python -m blog.site.render"
    card = CONFIG["website"]["image"]  # of pages without a picture, where links to them are shown
    assert (ROOT / card).is_file() and card in CONFIG["project"]["resources"]
    named = {name for name in CONFIG["project"]["render"] if "*" not in name}
    assert named - made == {page.name for page in PAGES} - made
    assert {"index.qmd", "404.qmd", "package.qmd"} <= named and made - named <= set(CONFIG["project"]["resources"])
    links = [link["href"] for side in CONFIG["website"]["navbar"].values() for link in side]
    assert {link for link in links if link.endswith(".qmd")} == named - {"404.qmd"} and links.count("index.xml") == 1


def test_each_series_names_posts_and_no_post_is_in_two():
    named = [source for bar in CONFIG["website"]["sidebar"] for source in bar["contents"]]
    assert len(named) == len(set(named)) > 0
    assert set(named) <= {path.relative_to(ROOT).as_posix() for path in NOTEBOOKS}
    assert CONFIG["website"]["page-navigation"] is True, "Quarto draws the links to the parts before and after"


def test_every_chapter_is_part_of_a_series_and_studies_are_no_chapters():
    named = {source for bar in CONFIG["website"]["sidebar"] for source in bar["contents"]}
    assert {path.relative_to(ROOT).as_posix() for path in NOTEBOOKS} <= named
    for path in NOTEBOOKS:
        assert ("library" in front_matter(path)["categories"]) == (path.parent.name != "studies"), path


def test_posts_are_cited_and_other_pages_are_not():
    assert CONFIG["citation"]["author"][0]["name"]["literal"] == CONFIG["website"]["title"]
    for page in PAGES:
        assert front_matter(page)["citation"] is False, page
    assert not [path for path in NOTEBOOKS if "citation" in front_matter(path)]


def test_addresses_come_from_settings():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "settings.ini", encoding="utf-8")
    settings = settings["DEFAULT"]
    assert CONFIG["website"]["site-url"] == settings["doc_host"] + settings["doc_baseurl"]
    assert CONFIG["website"]["repo-url"] == settings["git_url"]
    assert CONFIG["website"]["description"] == settings["description"]
    assert CONFIG["website"]["repo-branch"] == settings["branch"]
    assert CONFIG["project"]["output-dir"] == settings["doc_path"]


def test_pages_read_offline():
    html = CONFIG["format"]["html"]
    assert html["html-math-method"] == "mathml"
    for themes in html["theme"].values():
        (own,) = (theme for theme in themes if theme.endswith(".scss"))
        assert "$web-font-path: false;" in (ROOT / own).read_text()
    assert "http" not in json.dumps(html)
    for page in PAGES:
        assert not re.search(r"<(script|link|img|iframe)[^>]*//", page.read_text(encoding="utf-8"))


def test_theme_layers_have_their_marks():
    "Quarto refuses a theme file without a line that names its layer: output-formats/html-themes-more.html"
    text = (ROOT / "nbs/site.scss").read_text()
    assert re.findall(r"^/\*-- scss:(\w+) --\*/$", text, re.MULTILINE) == ["defaults", "rules"]
    assert text.count("{") == text.count("}")


def test_the_filters_and_the_bibliography_exist_and_no_second_configuration_shadows_this_one():
    for name in (*CONFIG["ipynb-filters"], *CONFIG["filters"], CONFIG["bibliography"]):
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


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.relative_to(ROOT / "nbs").as_posix())
def test_citations_have_an_entry(path):
    known = set(
        re.findall(r"^@\w+\{([^,]+),", (ROOT / CONFIG["bibliography"]).read_text(encoding="utf-8"), re.MULTILINE)
    )
    prose = "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")
    prose = re.sub(r"`[^`]*`", "", prose)
    assert set(re.findall(r"(?<![\w.])@([a-z]+\d{4}\w*)", prose)) <= known


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.relative_to(ROOT / "nbs").as_posix())
def test_filter_keeps_a_valid_notebook_valid_and_drops_the_machinery(path):
    before, after = json.loads(path.read_text(encoding="utf-8")), filtered(path, 1)
    nbformat.validate(after)
    assert after["metadata"] == before["metadata"]
    kept = [source(cell) for cell in after["cells"]]
    for cell in before["cells"]:
        if cell["cell_type"] != "code":
            assert source(cell) in kept
        elif cell["outputs"] and not re.search(r"^#\s*\|\s*hide", source(cell)):
            assert cell["outputs"] in [shown.get("outputs") for shown in after["cells"]]
    for cell in after["cells"]:
        assert isinstance(cell["source"], list)
        if cell["cell_type"] == "code":
            head = source(cell).split("\n\n")[0]
            assert not re.search(r"^#\s*\|\s*(export|hide|default_exp)\b", head, re.MULTILINE)
    exported = sum(bool(re.match(r"#\s*\|\s*export", source(cell))) for cell in before["cells"])
    assert sum("#| code-fold: true" in text for text in kept) >= exported


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.relative_to(ROOT / "nbs").as_posix())
def test_second_filter_touches_nothing_but_charts(path):
    before, after = filtered(path, 1), filtered(path)
    nbformat.validate(copy.deepcopy(after))  # it adds what is missing
    assert len(after["cells"]) == len(before["cells"])
    for old, new in zip(before["cells"], after["cells"], strict=True):
        chart = "offline-chart-spec" in json.dumps(old.get("outputs", []))
        assert new == old or (chart and new | {"outputs": old["outputs"]} == old)


@pytest.mark.parametrize("name", CONFIG["ipynb-filters"])
def test_filters_refuse_what_is_no_notebook(name):
    command = [sys.executable, "-S", ROOT / name]
    for junk in (b"", b"[]", b"{}", b'{"cells": [1]}', b"\xff"):
        done = subprocess.run(command, input=junk, capture_output=True, timeout=30)
        assert done.returncode == 1 and done.stdout == b""
        assert b"not a notebook" in done.stderr and b"Traceback" not in done.stderr


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
