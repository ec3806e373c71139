"""The notebooks as published: stored outputs, size, shape, and no path of the machine that made them."""

import ast
import json
import re
import struct
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from blog.site.outputs import without_code_cells

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "nbs").rglob("*.ipynb"))
pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.relative_to(ROOT / "nbs").as_posix())


def cells(path: Path, kind: str) -> list[dict]:
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def outputs(path: Path) -> list[dict]:
    return [output for cell in cells(path, "code") for output in cell["outputs"]]


def test_outputs_are_stored_and_none_is_an_error(path):
    kinds = {output["output_type"] for output in outputs(path)}
    assert kinds, "no stored outputs: blog run POST --save-outputs"
    assert "error" not in kinds


def test_small_enough_to_read_on_a_phone(path):
    assert path.stat().st_size < 300_000


def test_the_picture_of_a_post_is_made_for_its_size_and_no_shrunken_chart(path):
    if named := re.search(r"^image: (\S+)$", source(cells(path, "raw")[0]), re.MULTILINE):
        assert struct.unpack(">II", (path.parent / named[1]).read_bytes()[16:24]) == (1200, 675)


def test_outputs_name_no_folder_of_the_machine_that_made_them(path):
    assert not re.search(r"(/home/|/root/|/Users/|/tmp/|site-packages)", json.dumps(outputs(path)))


def test_ends_with_what_it_does_not_show(path):
    headings = [
        line for cell in cells(path, "markdown") for line in source(cell).splitlines() if line.startswith("## ")
    ]
    assert headings[-1] == "## Limits and next questions"


def test_the_cell_of_the_preset_takes_parameters(path):
    for cell in cells(path, "code"):
        if 'preset = os.environ.get("BLOG_PRESET"' in source(cell):
            assert "parameters" in cell["metadata"].get("tags", []), "`blog run -p` finds it by its tag"


def test_ids_of_cells_are_unique(path):
    ids = [cell["id"] for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    assert len(set(ids)) == len(ids)


def test_cells_are_short(path):
    code = [source(cell) for cell in cells(path, "code")]
    if any("default_exp" in text for text in code):
        assert any(re.match(r"#\s*\|\s*export\b", text) for text in code)
    assert max(len(text.splitlines()) for text in code) <= 60
    for text in code:
        if re.match(r"#\s*\|\s*export\b", text) and len(text.splitlines()) > 40:
            made = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
            assert len(made) <= 1, f"{len(made)} things in one cell of more than 40 lines: {made[0].name}, ..."


def test_code_speaks_to_readers_and_not_to_the_linter(path):
    assert not [text for cell in cells(path, "code") if re.search(r"# (noqa|type: ignore)", text := source(cell))]


def test_a_study_opens_with_its_finding_and_not_with_code(path):
    if path.parent.name == "studies":
        before = takewhile(lambda cell: cell["cell_type"] != "markdown", json.loads(path.read_text())["cells"])
        assert sum(len(source(cell).splitlines()) for cell in before if cell["cell_type"] == "code") <= 12


def test_the_answer_of_a_study_leaves_room_for_its_figure_on_a_phone(path):
    for cell in cells(path, "code"):
        if re.search(r"^#\| label: finding$", source(cell), re.MULTILINE):
            texts = ["".join(output.get("data", {}).get("text/markdown", "")) for output in cell["outputs"]]
            answer = next(filter(None, texts), "").split("\n\n")[0]
            assert len(re.sub(r"\]\([^)]*\)|[\[*`]", "", answer)) <= 510, answer


def test_charts_say_what_they_show(path):
    for output in outputs(path):
        html = "".join(output.get("data", {}).get("text/html", ""))
        for picture in re.findall(r"<svg\b[^>]*>|<img\b[^>]*>", html):
            assert re.search(r'(aria-label|alt)="[^"]{20,}"', picture), picture[:200]
        if 'class="offline-chart"' in html:
            assert re.search(r"<figcaption>[^<]", html), (
                "give `show` a caption: what is measured, n, seeds and interval"
            )


def results(path: Path) -> Iterator[str]:
    "What a page shows of outputs: sentences, cells of tables, captions."
    notebook = json.loads(path.read_text(encoding="utf-8"))
    coded = {cell.get("id") for cell in notebook["cells"] if cell["cell_type"] == "code"}
    for cell in without_code_cells(notebook)["cells"]:
        for place, text in enumerate(re.split(r"^(`{3,})(.*?)^\1$", source(cell), flags=re.DOTALL | re.MULTILINE)):
            if cell.get("id") in coded and place % 3 == 0:
                yield re.sub(r"`[^`]*`|\]\([^)]*\)|\$[^$]*\$", "", text)
            elif cell.get("id") in coded and text.startswith("{=html}"):
                yield from re.findall(r"<(?:t[hd]|caption|figcaption)\b[^>]*>(.*?)</", text, re.DOTALL)


def test_numbers_of_a_study_have_true_minus_signs(path):
    for text in results(path) if path.parent.name == "studies" else ():
        assert not (found := re.search(r".{0,40}(?<![\w.)\]’'-])-\.?\d.{0,20}", text)), found[0]
