"""A run whose record can't be written: found out before it where that can be known, and else nothing is lost."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from blog.core.outcomes import read_outcomes
from blog.core.records import read_records

ROOT = Path(__file__).parents[2]
RUN = """
import resource, sys
from blog.core.records import record_run

with record_run("study", "run", config={}, seeds=1, data="", modules=[], root=sys.argv[1]) as run:
    run.summary["accuracy"] = 0.875
    exec(sys.argv[2])
"""


AGAIN = """
import sys
from blog.core.outcomes import outcome_table
from blog.core.records import record_run

for _ in range(20):
    with record_run("study", "run", config={}, seeds=1, data="", modules=[], root=sys.argv[1]) as run:
        run.summary["by"] = sys.argv[2]
        run.add_outcomes(outcome_table("study", "world", "student", 1, [sys.argv[2]], [0], [0]))
"""


def run(root: Path, then: str) -> str:
    "The last line of a run that does something before it ends."
    command = [sys.executable, "-c", RUN, root, then]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stderr.strip().rpartition("\n")[2]


def test_a_full_disk_after_the_run_costs_no_number(tmp_path):
    told = run(tmp_path, "resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))")
    assert told.startswith(f"OSError: the run is done, but its record {tmp_path}/study/run.json can't be written")
    assert told.endswith('nor anywhere else. Its summary: {"accuracy": 0.875}')
    assert not list((tmp_path / "study").iterdir())


def test_a_disk_that_holds_the_outcomes_and_not_the_record_leaves_the_earlier_run(tmp_path):
    outcomes = """from blog.core.outcomes import outcome_table
run.add_outcomes(outcome_table("study", "world", "student", 1, ["{}"], [0], [0]))
"""
    assert run(tmp_path, outcomes.format("before")) == ""
    full = "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, -1)); run.summary['more'] = 'x' * 30_000"
    assert "(File too large); nor anywhere else" in run(tmp_path, outcomes.format("after") + full)
    assert list(read_outcomes("study", tmp_path)["item"]) == ["before"]


def test_a_folder_that_can_no_longer_be_written_has_the_record_kept_elsewhere(tmp_path):
    told = run(tmp_path, f"import shutil; shutil.rmtree('{tmp_path}/study'); open('{tmp_path}/study', 'w').close()")
    kept = Path(re.search(r"it is kept in (\S+)$", told)[1])
    assert json.loads((kept / "run.json").read_text())["summary"] == {"accuracy": 0.875}
    shutil.rmtree(kept)


def test_a_record_that_could_never_be_written_stops_the_run_before_it_begins(tmp_path):
    (tmp_path / "study").touch()
    told = run(tmp_path, "raise SystemExit('the run was done')")
    assert "the record can't be written (File exists), so the run is not begun" in told


def test_of_two_runs_of_one_name_the_record_of_one_stands_with_its_own_outcomes(tmp_path):
    both = [subprocess.Popen([sys.executable, "-c", AGAIN, tmp_path, name], cwd=ROOT) for name in "ab"]
    assert [process.wait() for process in both] == [0, 0]
    (record,) = read_records("study", tmp_path)
    assert set(read_outcomes("study", tmp_path)["item"]) == {record["summary"]["by"]}
    assert sorted(path.name for path in (tmp_path / "study").iterdir()) == ["run.json", "run.parquet"]
