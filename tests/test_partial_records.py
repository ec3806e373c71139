"What readers meet first on each study's page where records are missing: results, or what makes them; no traceback."

import json
import random
import re
from pathlib import Path

import IPython.display
import pytest

ROOT = Path(__file__).parents[1]
STUDIES = sorted((ROOT / "nbs/studies").glob("*.ipynb"))
COMMAND = re.compile(r"There are no run records of .+: ?\*? `blog (run|sweep) [^`]+`")


def opening_cells(path: Path) -> list[str]:
    "Code above the first cell of the study's module."
    sources = ["".join(c["source"]) for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    module = next(number for number, source in enumerate(sources) if "#| default_exp" in source)
    return sources[:module]


def shown(path: Path, results: Path, share: float, monkeypatch) -> list:
    "What the opening cells display where a random share of all records is there."
    drawn, place = random.Random(path.stem), results.parent
    results.mkdir()
    (results / "published").symlink_to(ROOT / "results/published")  # no records
    for record in sorted((ROOT / "results").glob("*/*.json")):
        if record.parent.name == "published":
            continue
        if drawn.random() < share:
            (folder := results / record.parent.name).mkdir(exist_ok=True)
            for file in (record, record.with_suffix(".parquet")):
                (folder / file.name).symlink_to(file)
    (place / "settings.ini").touch()  # marks the folder whose results/ are read
    monkeypatch.chdir(place)
    found, space = [], {"__name__": "__main__"}
    monkeypatch.setattr(IPython.display, "display", lambda *objects, **_: found.extend(objects))
    for number, cell in enumerate(opening_cells(path)):
        exec(compile(cell, f"{path.name}, code cell {number}", "exec"), space)
    return found


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_page_with_half_of_its_records_says_what_is_missing_or_shows_results(path, tmp_path, monkeypatch):
    assert shown(path, tmp_path / "results", 0.5, monkeypatch)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_page_with_all_records_opens_with_a_finding(path, tmp_path, monkeypatch):
    finding, *_ = shown(path, tmp_path / "results", 1, monkeypatch)
    assert not COMMAND.search(str(getattr(finding, "data", "")))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_page_without_records_says_what_makes_them(path, tmp_path, monkeypatch):
    texts = [str(getattr(thing, "data", "")) for thing in shown(path, tmp_path / "results", 0, monkeypatch)]
    assert any(COMMAND.search(text) for text in texts), texts
