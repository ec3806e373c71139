"The site's configuration, without Quarto: keys, front matter, citations, and the directive filter as Quarto runs it."

import configparser
import datetime
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted(p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
CONFIG = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))

# Every key this project uses, with the page of quarto.org/docs that documents it.
DOCUMENTED = {
    # reference/projects/options.html
    "project": {"type", "output-dir", "render", "resources"},
    # reference/projects/websites.html
    "website": {
        "title",
        "description",
        "site-url",
        "repo-url",
        "repo-branch",
        "repo-actions",
        "search",
        "page-navigation",
        "navbar",
    },
    "navbar": {"left"},
    "left": {"href", "text"},
    # computations/execution-options.html
    "execute": {"enabled"},
    # reference/formats/html.html: themes, math, table of contents, code, includes
    "format": {"html"},
    "html": {
        "theme",
        "respect-user-color-scheme",
        "html-math-method",
        "toc",
        "code-overflow",
        "code-copy",
        "include-after-body",
    },
    "theme": {"light", "dark"},
    "include-after-body": {"text"},
    # reference/projects/websites.html#listings and websites/website-listings.html
    "listing": {"contents", "type", "sort", "fields", "categories", "feed"},
    # extensions/nbfilter.html; authoring/citations.html
    "": {
        "project",
        "website",
        "execute",
        "ipynb-filters",
        "bibliography",
        "link-citations",
        "format",
        "title",
        "listing",
    },
}


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
    "The notebook as Quarto would get it: the exported script, run by a Python without site-packages."
    command = [sys.executable, "-S", "-I", ROOT / CONFIG["ipynb-filters"][0]]
    done = subprocess.run(command, input=path.read_bytes(), capture_output=True, cwd=path.parent, timeout=30)
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
    for page in ("index.qmd", "about.qmd"):
        assert unknown_keys(front_matter(ROOT / page)) == []


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


def test_the_filter_and_the_bibliography_exist_and_no_second_configuration_shadows_this_one():
    assert (ROOT / CONFIG["ipynb-filters"][0]).is_file() and (ROOT / CONFIG["bibliography"]).is_file()
    assert not (ROOT / "nbs" / "_quarto.yml").exists()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.relative_to(ROOT / "nbs").as_posix())
def test_front_matter(path):
    front = front_matter(path)
    for key in ("title", "description", "author"):
        assert isinstance(front.get(key), str) and front[key].strip(), key
    assert isinstance(front["date"], datetime.date)
    assert front["categories"] and all(isinstance(category, str) for category in front["categories"])
    if "image" in front:
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
    before, after = json.loads(path.read_text(encoding="utf-8")), filtered(path)
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


def test_filter_refuses_what_is_no_notebook():
    command = [sys.executable, "-S", ROOT / CONFIG["ipynb-filters"][0]]
    for junk in (b"", b"[]", b"{}", b'{"cells": [1]}', b"\xff"):
        done = subprocess.run(command, input=junk, capture_output=True, timeout=30)
        assert done.returncode == 1 and done.stdout == b""
        assert b"not a notebook" in done.stderr and b"Traceback" not in done.stderr


def test_workflows_run_what_a_reader_runs():
    flows = {p.stem: yaml.safe_load(p.read_text()) for p in (ROOT / ".github" / "workflows").glob("*.yml")}
    test = flows["test"]["jobs"]["test"]
    assert test["strategy"]["matrix"]["python-version"] == ["3.11", "3.13"]
    assert test["steps"][-1]["run"] == "make test"
    steps = flows["publish"]["jobs"]["publish"]["steps"]
    assert "quarto render" in [step.get("run") for step in steps]
    assert [step["with"]["path"] for step in steps if "upload-pages" in step.get("uses", "")] == [
        CONFIG["project"]["output-dir"]
    ]
