"""Whoever pastes the blocks of a page into a fresh interpreter, in the page's order, gets no NameError.

A block is what the page shows: cells without `#| hide` and the like, the imports that are folded, Python within prose.
"""

import builtins
import json
import re
import symtable
from collections.abc import Iterator
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook
from notebook_cells import ROOT, run_cells

from blog.site.outputs import without_code_cells

NOTEBOOKS = [path for path in sorted((ROOT / "nbs").rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts]
CHAPTERS = [path for path in NOTEBOOKS if path.parent.name != "studies"]
RUN = [path for path in CHAPTERS if path.parent.name in ("practice", "generation")]
# A script within prose names models that nobody has and data that has to be fetched: its calls are held against
# the signatures.
STOOD_IN_FOR = """
from unittest.mock import create_autospec
import blog.data.sources, blog.distillation.trainer
blog.data.sources.clinc150 = create_autospec(blog.data.sources.clinc150)
blog.distillation.trainer.distill = create_autospec(blog.distillation.trainer.distill)
"""
DEFINED = {*dir(builtins), "__name__", "__file__"}


def shown_blocks(path: Path) -> list[str]:
    cells = without_code_cells(json.loads(path.read_text(encoding="utf-8")))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    blocks = re.findall(r"^(`{3,})([^`\n]*)\n(.*?)^\1$", text, re.DOTALL | re.MULTILINE)
    return [code for _, kind, code in blocks if kind in ("python", "{.python}")]


def scopes_of(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for inner in table.get_children():
        yield from scopes_of(inner)


def is_called_later(table: symtable.SymbolTable) -> bool:
    return table.get_type() == "function" and table.get_name() not in ("listcomp", "setcomp", "dictcomp", "genexpr")


def names_of(code: str) -> tuple[set[str], set[str], set[str]]:  # bound; needed at once; needed when it is called
    bound, now, later = set(), set(), set()

    def read(table: symtable.SymbolTable, called: bool) -> None:
        called = called or is_called_later(table)
        for symbol in table.get_symbols():
            if table.get_type() == "module" or symbol.is_global():
                if symbol.is_assigned() or symbol.is_imported():
                    bound.add(symbol.get_name())
                if symbol.is_referenced():
                    (later if called else now).add(symbol.get_name())
        for inner in table.get_children():
            read(inner, called)

    read(symtable.symtable(code, "block", "exec"), False)
    return bound, now, later


def test_names_of_a_block():
    assert names_of("import os\nx = [y for y in z]\ndef f(a=b):\n    return a + c + x") == (
        {"os", "x", "f"},
        {"b", "z"},
        {"c", "x"},
    )


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.relative_to(ROOT / "nbs").as_posix())
def test_every_name_is_defined_by_what_is_shown(path):
    found = [names_of(code) for code in shown_blocks(path)]
    anywhere, so_far, missing = DEFINED.union(*(bound for bound, _, _ in found)), {*DEFINED}, set()
    for bound, now, later in found:
        so_far |= bound
        missing |= (now - so_far) | (later - anywhere)
    assert not missing, f"the page shows no block that defines {', '.join(sorted(missing))}"


@pytest.mark.parametrize("path", RUN, ids=lambda path: path.relative_to(ROOT / "nbs").as_posix())
def test_the_blocks_run_alone(path, tmp_path):
    page = tmp_path / path.name
    blocks = shown_blocks(path)
    before = [STOOD_IN_FOR] if any('"large/teacher"' in code for code in blocks) else []
    page.write_text(json.dumps(new_notebook(cells=[new_code_cell(code) for code in before + blocks])))
    passed, _ = run_cells(page, tmp_path / "log", seconds=240)
    assert passed, (tmp_path / "log").read_text()[-8_000:]
