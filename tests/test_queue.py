"The queue of notebooks and tests: what fails is named, and what a change cannot reach is known."

import json

import pytest
import reach
from notebook_cells import run_cells


def write_notebook(path, *sources):
    cells = [{"cell_type": "code", "source": text, "metadata": {}, "outputs": []} for text in sources]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def test_cell_and_traceback_of_a_failure_are_told_and_flagged_cells_do_not_run(tmp_path):
    skipped = ["#| slow\nraise OSError", "#| eval: false\nraise OSError"]
    path = write_notebook(tmp_path / "a.ipynb", "import os\nx = 1", *skipped, "assert os.environ['BLOG_PRESET'] == x")
    passed, seconds = run_cells(path, tmp_path / "log", seconds=60)
    told = (tmp_path / "log").read_text()
    assert not passed and seconds < 10
    assert "Cell #4" in told and "AssertionError" in told and "OSError" not in told


@pytest.mark.parametrize("last", ["import time; time.sleep(60)", "import os; os._exit(3)"], ids=["slow", "gone"])
def test_a_notebook_that_does_not_come_back_has_failed(tmp_path, last):
    assert not run_cells(write_notebook(tmp_path / "a.ipynb", last), tmp_path / "log", seconds=5)[0]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    for name, text in {"a": "from blog.b import f", "b": "from .c import g", "c": "g = 1", "d": "h = 1"}.items():
        (tmp_path / "blog").mkdir(exist_ok=True)
        (tmp_path / f"blog/{name}.py").write_text(text)
    write_notebook(tmp_path / "nbs/a.ipynb", "from blog.a import f")
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(reach, "ROOT", tmp_path)
    yield tmp_path
    forget()


def forget():
    for function in (reach.code, reach.modules, reach.reached, reach.contents):
        function.cache_clear()


def key(path):
    forget()
    return reach.key(path)


def test_a_change_reaches_who_imports_it_directly_or_not(checkout):
    notebook = checkout / "nbs/a.ipynb"
    before = key(notebook)
    (checkout / "blog/d.py").write_text("h = 2")
    (checkout / "results/a.json").write_text("{}")
    assert key(notebook) == before
    (checkout / "blog/c.py").write_text("g = 2")
    assert key(notebook) != before
    before = key(write_notebook(notebook, "subprocess.run('blog.d'); read_records('s')"))
    (checkout / "results/a.json").write_text("[]")
    middle = key(notebook)
    (checkout / "blog/d.py").write_text("h = 3")
    assert len({before, middle, key(notebook)}) == 3


def test_outputs_reach_nothing_but_those_who_look_at_them(checkout):
    notebook, test = checkout / "nbs/a.ipynb", checkout / "tests/test_a.py"
    test.parent.mkdir()
    test.write_text("ROOT = Path(__file__).parents[1]")
    before = key(notebook), key(test)
    stored = json.loads(notebook.read_text())
    stored["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["1"]}]
    notebook.write_text(json.dumps(stored))
    after = key(notebook), key(test)
    assert before[0] == after[0] and before[1] != after[1]


def test_pages_that_are_no_notebooks_reach_who_looks_at_the_checkout(checkout):
    test = checkout / "tests/test_a.py"
    test.parent.mkdir()
    test.write_text("ROOT = Path(__file__).parents[1]")
    (checkout / "series").mkdir()
    keys = [key(test)]
    for name in ("index.qmd", "_quarto.yml", "README.md", "series/a.qmd"):
        (checkout / name).write_text("Text")
        keys.append(key(test))
    assert len(set(keys)) == 5
    (checkout / "package.qmd").write_text("This one is made.")
    assert key(test) == keys[-1]
