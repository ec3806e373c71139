"""Sweeps and their starts under SIGKILL, damage, rivals and storages out of reach: the same result, or a sentence.

All runs are forks of this process, so that a kill costs a tenth of a second and not the imports. Moments are counted in
changes of files and statements of SQL, and drawn from seeds; BLOG_LONG_FAULTS takes many more of them.
"""

import json
import os
import random
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
import sqlalchemy
import torch
from kills import DAMAGES, EVENTS, LONG, contents, damages
from optuna.distributions import FloatDistribution

import blog.sweeps
from blog.core.outcomes import read_outcomes
from blog.experiment import is_whole
from blog.studies.cosine_temperature_scaling import sweep_cosine_temperature_scaling
from blog.studies.describing_nouns import synthetic_teacher
from blog.sweeps import Sweep, numbered_trials, open_storage, open_study, run_sweep, run_trials


def die_at(count: int, folder: Path) -> None:
    """Let this process kill itself at some change of a file in a folder, or statement to a database."""
    left = [count]

    def tick(*_):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event, arguments):
        if event in EVENTS and isinstance(arguments[0], str | os.PathLike) and str(folder) in str(arguments[0]):
            tick()

    sys.addaudithook(audit)
    for moment in ("before_cursor_execute", "commit"):
        sqlalchemy.event.listen(sqlalchemy.Engine, moment, tick)


def begin(work: Callable, log: Path, folder: Path | None = None, kill_at: int = 0) -> int:
    """Fork a process that leaves what `work` returns beside `log`, unless it is killed before."""
    if pid := os.fork():
        return pid
    status = 77
    try:
        torch.set_num_threads(1)
        sys.stdout = sys.stderr = file = log.open("w", buffering=1)
        os.dup2(file.fileno(), 1), os.dup2(file.fileno(), 2)
        if kill_at:
            die_at(kill_at, folder)
        log.with_suffix(".json").write_text(json.dumps(work()))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def result(pid: int, log: Path):
    """What the work of a process returned; None where it was killed."""
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL), log.read_text()
    return json.loads(log.with_suffix(".json").read_text()) if status == 0 else None


def killed_again_and_again(work: Callable, folder: Path, most: int):
    """What `work` returns in the end, after kills that are `most` moments apart, and then more and more."""
    draw, log, kills = random.Random(0), folder / "log", 0
    while (found := result(begin(work, log, folder, draw.randint(1, most + 2 * kills)), log)) is None:
        kills += 1
    assert kills > 2, "hardly any kill"
    return found


# What studies start from


def start_of_sweep(folder: Path) -> list:
    """Encoder, teacher, its logits: made or read, and what tells them apart from any other."""
    sweep, _, _ = sweep_cosine_temperature_scaling("smoke", ["labels alone"], folder / "weights", folder / "results")
    task = sweep.build()
    recorded = sorted(path.name for path in (folder / "results").rglob("*.json"))
    return [len(task.tokenizer), task.identity, task.train["teacher_logits"][:3], recorded]


def start_of_describing(folder: Path) -> list:
    made = synthetic_teacher(folder / "weights/teacher", 400, 1600, layers=1, width=32, max_steps=2)
    return [made["loss"], sha256((Path(made["model"]) / "model.safetensors").read_bytes()).hexdigest()]


STARTS = {start_of_sweep: "start", start_of_describing: "teacher/tokenizer"}  # and the folder that runs share


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict:
    """What is found, and where it was made."""
    folders = {make: tmp_path_factory.mktemp(make.__name__) for make in STARTS}
    return {
        make: (result(begin(partial(make, folder), folder / "log"), folder / "log"), folder)
        for make, folder in folders.items()
    }


@pytest.mark.parametrize("make", STARTS)
def test_a_start_is_the_same_after_kills(make, undisturbed, tmp_path):
    assert killed_again_and_again(partial(make, tmp_path), tmp_path, 10 if LONG else 90) == undisturbed[make][0]


@pytest.mark.parametrize("make", STARTS)
def test_two_processes_make_one_start(make, undisturbed, tmp_path):
    for number in range(6 if LONG else 1):
        folder, processes = tmp_path / str(number), []
        folder.mkdir()
        for name in "ab":
            processes.append((begin(partial(make, folder), folder / name), folder / name))
            time.sleep(0.1 * number)
        assert [result(*process) for process in processes] == [undisturbed[make][0]] * 2


@pytest.mark.parametrize("make", STARTS)
def test_a_damaged_start_is_made_again(make, undisturbed, capsys):
    expected, folder = undisturbed[make]
    start = folder / "weights" / STARTS[make]
    for file in contents(start):
        for damage in DAMAGES.values():
            content = (start / file).read_bytes()
            damage(start / file)
            assert not is_whole(start), file
            assert str(start) in capsys.readouterr().out
            (start / file).write_bytes(content)
    assert is_whole(start)
    DAMAGES["halved"](start / "tokenizer.json")
    for trained in (folder / "weights/teacher").glob("[ms]*"):  # model or student, and settings, but no tokenizer
        trained.rename(folder / f"away-{trained.name}")
    assert result(begin(partial(make, folder), folder / "log"), folder / "log") == expected


def test_a_damaged_teacher_is_refused_by_name_or_no_matter(undisturbed, tmp_path):
    expected, folder = undisturbed[start_of_sweep]
    for file, damage in damages(folder / "weights/teacher/student"):
        path, log = folder / "weights/teacher/student" / file, tmp_path / "log"
        content = path.read_bytes()
        DAMAGES[damage](path)
        pid = begin(partial(start_of_sweep, folder), log)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        path.write_bytes(content)
        if status == 0:
            assert json.loads(log.with_suffix(".json").read_text()) == expected, (file, damage)
        else:
            said = log.read_text().strip().splitlines()[-1]
            assert said.startswith("ValueError: ") and str(path.parent) in said, said


# The sweep itself


@dataclass
class Arguments:
    """What a trainer would take."""

    output_dir: str
    use_cpu: bool
    report_to: str
    alpha: float


class Quick:
    """Trainings that are lines in a log; `trouble` is called in the third."""

    identity, data = {"task": "quick"}, "none"

    def __init__(self, log: Path, trouble: Callable | None = None):
        self.log, self.trouble = log, trouble

    def score(self, settings, seed, report):
        with open(self.log, "a") as file:
            file.write(f"search {settings['alpha']}\n")
        if self.trouble and len(self.log.read_text().splitlines()) == 3:
            self.trouble()
        return 1 - settings["alpha"]

    def judge(self, settings, seed):
        with open(self.log, "a") as file:
            file.write(f"judged {seed}\n")
        return {"item": [0, 1], "label": [0, 0], "prediction": [seed % 2, 0], "score": [1 - seed % 2, 1]}


def quick_sweep(folder: Path, trouble: Callable | None = None, query: str = "", **changes) -> list:
    """Run the sweep; what its records say, but for times."""
    build = partial(Quick, folder / "trainings", trouble)
    kept = dict(arguments=Arguments, modules=["blog.sweeps"], trials=4, fresh=2)
    sweep = replace(Sweep("quick", "q", {"a method": {"alpha": FloatDistribution(0, 1)}}, build, **kept), **changes)
    run_sweep(
        sweep, f"sqlite:///{'file:' * bool(query)}{folder / 'sweep.db'}{query}", 1, folder / "results", heartbeat=1
    )
    found = read_outcomes("quick", folder / "results")
    return json.loads(found.drop(columns="seconds").to_json(orient="records"))


def trainings(folder: Path) -> list[str]:
    return (folder / "trainings").read_text().splitlines()


@pytest.fixture(scope="module")
def quick(tmp_path_factory) -> list:
    folder = tmp_path_factory.mktemp("quick")
    found = result(begin(partial(quick_sweep, folder), folder / "log"), folder / "log")
    assert len(found) == 4 + 2 * 2 and len(trainings(folder)) == 6
    return found


def test_a_sweep_finds_the_same_after_kills(quick, tmp_path):
    assert killed_again_and_again(partial(quick_sweep, tmp_path), tmp_path, 250 if LONG else 500) == quick
    assert len(set(trainings(tmp_path))) == 6, "a killed trial was tried again with other settings"


def test_two_sweeps_share_what_there_is_to_do(quick, tmp_path):
    for number in range(20 if LONG else 1):
        folder, processes = tmp_path / str(number), []
        folder.mkdir()
        for name in "ab":
            processes.append((begin(partial(quick_sweep, folder), folder / name), folder / name))
            time.sleep(0.03 * number)
        assert [result(*process) for process in processes] == [quick] * 2
        assert len(trainings(folder)) == 6, "a training was made twice"


def test_a_trial_that_another_process_ends_between_two_looks_does_not_end_the_search(tmp_path, monkeypatch):
    study = open_study("s", open_storage(f"sqlite:///{tmp_path / 'sweep.db'}"), {"alpha": FloatDistribution(0, 1)})
    study.enqueue_trial({}, user_attrs={"number": 0})
    look = blog.sweeps._enqueue_next

    def look_and_be_late(study, *more):
        look(study, *more)
        if len(study.trials) == 1 and not study.trials[0].state.is_finished():
            study.tell(study.ask(), 0.5)

    monkeypatch.setattr(blog.sweeps, "_enqueue_next", look_and_be_late)
    run_trials(study, 3, lambda trial: 1.0)
    assert [trial.value for trial in numbered_trials(study).values()] == [0.5, 1.0, 1.0]


def test_what_is_recorded_stays_what_it_is(quick, tmp_path):
    quick_sweep(tmp_path)
    before = contents(tmp_path / "results")
    wider = {"a method": {"alpha": FloatDistribution(0, 0.5)}}
    for changes in (
        {"sampler": "tpe"},
        {"sampler_seed": 1},
        {"seeds": 2},
        {"methods": wider},
        {"trials": 3},
        {"fresh": 1},
    ):
        with pytest.raises(ValueError, match=r"is there with|would replace"):
            quick_sweep(tmp_path, **changes)
    assert quick_sweep(tmp_path) == quick
    assert contents(tmp_path / "results") == before
    assert len(quick_sweep(tmp_path, trials=1 + 4, fresh=1 + 2)) == 5 + 2 * 3


# Storages


def said_by(folder: Path, **options) -> str:
    """The sentence with which a sweep ends; no thread of it leaves a traceback."""
    log = folder / "said"
    said = result(begin(partial(failing, folder, **options), log), log)
    assert "Traceback" not in log.read_text()
    return said


def failing(folder: Path, **options) -> str:
    with pytest.raises(ConnectionError) as caught:
        quick_sweep(folder, **options)
    return str(caught.value)


def lock_for_ever(database: Path) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    globals()["held"] = connection  # as long as the process is there


def other_version(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0'")


def no_table(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TABLE trial_user_attributes")


@pytest.mark.parametrize(
    ("trouble", "reason"), [(lock_for_ever, "database is locked"), (no_table, "no such table: trial_user_attributes")]
)
def test_a_storage_that_fails_meanwhile_is_one_sentence(quick, trouble, reason, tmp_path, monkeypatch):
    monkeypatch.setattr(blog.sweeps, "_PATIENCE", 0.3)
    database = tmp_path / "sweep.db"
    said = said_by(tmp_path, trouble=partial(trouble, database))
    assert said == (
        f"the storage sqlite:///{database} can't be used ({reason}): "
        "what has finished is kept, and the same command goes on once it can be written"
    )
    if trouble is lock_for_ever:  # and the lock has gone with its process
        assert quick_sweep(tmp_path) == quick


def test_a_storage_out_of_reach_is_one_sentence(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(blog.sweeps, "_PATIENCE", 0.3)
    quick_sweep(tmp_path)
    database = tmp_path / "sweep.db"
    assert "(attempt to write a readonly database)" in said_by(tmp_path, query="?mode=ro&uri=true")
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    assert "(database is locked)" in said_by(tmp_path)
    holder.close()
    assert quick_sweep(tmp_path) == quick
    other_version(database)
    assert "is no longer compatible with the table schema" in said_by(tmp_path)
    database.write_bytes(b"no database, whatever its name says" * 100)
    assert "(file is not a database)" in said_by(tmp_path)
    open_storage(f"sqlite:///{tmp_path / 'new.db'}")
