"Every cell of every notebook runs at the smoke preset, and quickly."

from pathlib import Path

import pytest
from notebook_cells import ROOT, run_cells

NOTEBOOKS = [path for path in sorted((ROOT / "nbs").rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts]
LIMIT = 50  # processor seconds; they should be 10, and 20 at the most, on a machine that is 2.5 times as fast


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.relative_to(ROOT / "nbs").as_posix())
def test_cells(notebook: Path, tmp_path):
    passed, seconds = run_cells(notebook, tmp_path / "log", seconds=240)
    assert passed, (tmp_path / "log").read_text()[-8_000:]
    assert seconds < LIMIT, f"the smoke preset takes {seconds:.0f} s: give it less data or fewer steps"
