"""The first cell of the chapter on instruction tuning is a script: run as it stands, in a process of its own."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def first_code(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def test_instruction_tuning_is_a_script_of_fourteen_lines(tmp_path):
    script = first_code(ROOT / "nbs/preferences/instruction_tuning.ipynb")
    assert len(script.splitlines()) <= 14
    assert "#|" not in script
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert 0 < float(re.search(r"([0-9.]+) nats a token", ran.stdout)[1]) < 10
    assert not list(tmp_path.iterdir())
