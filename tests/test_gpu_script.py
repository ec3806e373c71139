"benchmarks/gpu.sh, which no machine here can run as it is meant: with tiny sizes every command of it, and its refusal."

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from blog.core.records import preset_records
from blog.studies import forty_minutes

ROOT = Path(__file__).parents[1]


@pytest.fixture
def checkout(tmp_path) -> Path:
    "A folder with the script, and the installed programs where it looks for them."
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / "benchmarks").mkdir()
    shutil.copy(ROOT / "benchmarks/gpu.sh", tmp_path / "benchmarks")
    for name, program in {"python": "", "blog": "-m blog.cli"}.items():
        path = tmp_path / ".venv/bin" / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {program} "$@"\n')
        path.chmod(0o755)
    return tmp_path


def script(checkout: Path, *arguments: str) -> subprocess.CompletedProcess:
    run = ["sh", str(checkout / "benchmarks/gpu.sh"), *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(run, cwd=checkout.parent, capture_output=True, text=True, env=environment)


def test_the_script_runs_with_tiny_sizes_and_its_record_becomes_a_table(checkout):
    done = script(checkout, "smoke", "-p", f"results_folder={checkout / 'results'}")
    assert done.returncode == 0, done.stderr
    (run,) = preset_records("forty-minutes", "smoke", checkout / "results", part="run")
    table = forty_minutes.whole_run_table([run])
    assert table["steps"].tolist() == [run["config"]["run_steps"]]
    assert (table[["seconds", "s a step", "utilization, %"]] > 0).all(axis=None)
    assert preset_records("forty-minutes", "smoke", checkout / "results", part="steps")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, on which it would run for minutes")
def test_without_a_gpu_it_says_so(checkout):
    done = script(checkout)
    assert (done.returncode, done.stderr) == (1, "benchmarks/gpu.sh: torch sees no GPU here\n")


def test_without_the_package_it_says_what_installs_it(checkout):
    (checkout / ".venv/bin/blog").unlink()
    done = script(checkout, "smoke")
    assert (done.returncode, done.stderr) == (
        1,
        "benchmarks/gpu.sh: run 'make run' once, which installs the package\n",
    )
