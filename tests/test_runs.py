"What a notebook cell can't test about run records: processes that are killed, and what an import loads."

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blog.core.outcomes import outcome_table, read_outcomes
from blog.core.records import has_records, is_recorded, read_records, record_run

ROOT = Path(__file__).parent.parent
WAIT = 20  # seconds until a child is ready; a slow machine needs one


def start(code: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def kill(child: subprocess.Popen) -> None:
    os.kill(child.pid, signal.SIGKILL)
    child.wait(WAIT)
    child.stdout.close()


RECORD = """
import os, sys, time
import blog.core.outcomes
from blog.core.records import record_run

def stop_here(*_):
    print("in mid-write", flush=True)
    time.sleep(60)

if sys.argv[2] != "never":
    setattr(os, sys.argv[2], stop_here)
with record_run("study", "run", config={}, seeds=1, data="", modules=[], root=sys.argv[1]) as run:
    run.summary["accuracy"] = 0.5
    if sys.argv[2] == "never":
        stop_here()
"""


OUTCOMES = """
import os, sys, time
from blog.core.outcomes import outcome_table
from blog.core.records import record_run

replace, calls = os.replace, 0

def replace_some(*paths):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        print("in mid-write", flush=True)
        time.sleep(60)
    replace(*paths)

os.replace = replace_some
with record_run("study", "run", config={}, seeds=1, data="", modules=[], root=sys.argv[1]) as run:
    run.add_outcomes(outcome_table("study", "world", "condition", 1, range(3), score=0.5))
"""


def record_old(root: Path) -> bytes:
    with record_run("study", "run", config={}, seeds=0, data="old", modules=["blog.core.records"], root=root) as run:
        run.summary["accuracy"] = 0.9
        run.add_outcomes(outcome_table("study", "world", "condition", 0, range(2), score=1.0))
    return (root / "study" / "run.json").read_bytes()


def test_killed_in_mid_write_leaves_the_old_record_whole(tmp_path):
    old = record_old(tmp_path)
    for moment in ("fsync", "replace", "never"):  # text not on disk yet, not in place yet, not written at all
        child = start(RECORD, tmp_path, moment)
        assert child.stdout.readline() == "in mid-write\n"
        kill(child)
        assert (tmp_path / "study" / "run.json").read_bytes() == old
        assert [record["data"] for record in read_records("study", tmp_path)] == ["old"]


def test_killed_first_run_leaves_no_record(tmp_path):
    child = start(RECORD, tmp_path, "fsync")
    assert child.stdout.readline() == "in mid-write\n"
    kill(child)
    assert not has_records("study", tmp_path) and not is_recorded("study", "run", tmp_path)


REWRITE = """
import itertools, json, sys
from blog.core.files import write_atomically

for i in itertools.count():
    write_atomically(sys.argv[1], json.dumps([i] * 50_000))
    if i == 1:
        print("ready", flush=True)
"""


def test_a_file_rewritten_without_pause_is_whole_whenever_the_writer_dies(tmp_path):
    path = tmp_path / "numbers.json"
    for pause in (0.0, 0.003, 0.011, 0.023):
        child = start(REWRITE, path)
        assert child.stdout.readline() == "ready\n"
        time.sleep(pause)
        kill(child)
        numbers = json.loads(path.read_text())
        assert len(numbers) == 50_000 and len(set(numbers)) == 1


def test_recording_loads_no_heavy_library(tmp_path):
    code = RECORD + "\nprint([name for name in ('torch', 'transformers', 'numpy', 'pandas') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path, "no_such_moment"], cwd=ROOT, capture_output=True, text=True, timeout=WAIT
    )
    assert done.stdout == "[]\n", done.stderr
    (record,) = read_records("study", tmp_path)
    assert record["versions"]["torch"] and record["hardware"]["gpu"] is None


def test_killed_between_outcomes_and_record_is_found_out_and_run_again(tmp_path):
    record_old(tmp_path)
    child = start(OUTCOMES, tmp_path, 2)
    assert child.stdout.readline() == "in mid-write\n"
    kill(child)
    with pytest.raises(ValueError, match=r"run\.parquet is damaged, or of another run"):
        read_records("study", tmp_path)
    assert not is_recorded("study", "run", tmp_path)
    record_old(tmp_path)
    assert is_recorded("study", "run", tmp_path)


def test_killed_while_outcomes_are_written_leaves_the_old_ones(tmp_path):
    old = record_old(tmp_path)
    child = start(OUTCOMES, tmp_path, 1)
    assert child.stdout.readline() == "in mid-write\n"
    kill(child)
    assert (tmp_path / "study" / "run.json").read_bytes() == old
    assert read_outcomes("study", tmp_path)["score"].tolist() == [1.0, 1.0]
