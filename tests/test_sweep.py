"""Sweeps as processes: several workers on one study, kills, and what `blog sweep` says of a mistake."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest

from blog.cli.commands import main
from blog.studies.cosine_temperature_scaling import METHODS
from blog.sweeps import numbered_trials, open_storage, open_study, run_trials

WORKER = Path(__file__).with_name("sweep_worker.py")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


class Sweep:
    """Starts a sweep of the worker's task, and reads what its trainings wrote down."""

    def __init__(self, folder: Path):
        self.database, self.log, self.root = folder / "sweep.db", folder / "log", folder / "results"

    def start(self, workers: int = 1, trials: int = 12, seconds: float = 0.15) -> subprocess.Popen:
        arguments = (self.database, self.log, workers, trials, seconds, self.root)
        return subprocess.Popen([sys.executable, str(WORKER), *map(str, arguments)], env=ENVIRONMENT)

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def begun(self) -> Counter:
        """How often each training was begun, by its learning rate or its fresh seed."""
        return Counter((part, what) for part, what, _ in self.lines())

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + 60
        while len(self.lines()) < count:
            assert time.monotonic() < deadline, "no training was begun"
            time.sleep(0.02)

    def studies(self) -> dict[str, optuna.Study]:
        storage = open_storage(f"sqlite:///{self.database}")
        names = sorted(optuna.get_all_study_names(storage))
        return {name.split("/")[-1][:6]: optuna.load_study(study_name=name, storage=storage) for name in names}

    def check_finished(self, trials: int) -> None:
        """Every trial of both parts ran to its end, once."""
        studies = self.studies()
        for study, budget in ((studies["a-meth"], trials), (studies["judged"], 3)):
            held = numbered_trials(study)
            assert list(held) == list(range(budget))
            assert {trial.state for trial in held.values()} == {optuna.trial.TrialState.COMPLETE}


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path)


def test_workers_share_a_study_and_no_trial_runs_twice(sweep):
    assert sweep.start(workers=2, trials=16).wait(120) == 0
    assert sorted(sweep.begun().values()) == [1] * (16 + 3)
    assert len({pid for *_, pid in sweep.lines()}) > 1, "one worker did everything"
    sweep.check_finished(16)
    parts = ("kill-a-method-judged", "kill-a-method-search")
    files = [f"{part}.{kind}" for part in parts for kind in ("json", "parquet")]
    assert sorted(path.name for path in (sweep.root / "tested").iterdir()) == files


def test_a_killed_sweep_goes_on_and_loses_one_trial(sweep):
    first = sweep.start()
    sweep.wait_for(4)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not list(sweep.root.rglob("*.json")), "a record of an unfinished part"
    before = sweep.begun()
    assert sweep.start().wait(120) == 0
    sweep.check_finished(12)
    failed = [trial for trial in sweep.studies()["a-meth"].trials if trial.state == optuna.trial.TrialState.FAIL]
    assert len(failed) == 1
    lost = ("search", str(failed[0].params["learning_rate"]))
    assert sweep.begun()[lost] == 2, "its number is tried again with the same settings"
    assert all(count == 1 for what, count in sweep.begun().items() if what != lost)
    assert before.keys() <= sweep.begun().keys()


def test_the_others_take_over_from_a_killed_worker(sweep):
    main = sweep.start(workers=2, trials=24)
    deadline = time.monotonic() + 60
    while not (helpers := {pid for *_, pid in sweep.lines()} - {str(main.pid)}):
        assert time.monotonic() < deadline, "the second worker has done nothing"
        time.sleep(0.02)
    os.kill(int(helpers.pop()), signal.SIGKILL)
    assert main.wait(120) == 0
    sweep.check_finished(24)
    assert sorted(sweep.begun().values(), reverse=True)[1] == 1, "more than one trial was lost"


def test_workers_do_not_outlive_a_killed_sweep(sweep):
    main = sweep.start(workers=2, trials=200)
    deadline = time.monotonic() + 60
    while not (helpers := {pid for *_, pid in sweep.lines()} - {str(main.pid)}):
        assert time.monotonic() < deadline, "the second worker has done nothing"
        time.sleep(0.02)
    main.send_signal(signal.SIGKILL)
    main.wait()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{helpers.copy().pop()}").exists():
        assert time.monotonic() < deadline, "the worker goes on without its parent"
        time.sleep(0.1)
    count = len(sweep.lines())
    time.sleep(1)
    assert len(sweep.lines()) == count


RACER = """
import sys
import optuna
from blog.sweeps import open_storage, open_study, run_trials

optuna.logging.set_verbosity(optuna.logging.ERROR)
space = {"learning_rate": optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True)}
study = open_study("race", open_storage(f"sqlite:///{sys.argv[1]}"), space)
print("ready", flush=True)
sys.stdin.readline()


def objective(trial):
    print(trial.user_attrs["number"], flush=True)
    return 0.5


run_trials(study, 40, objective, poll=0.05)
"""


def test_waiting_trials_are_taken_by_one_process_each(tmp_path):
    command = [sys.executable, "-c", RACER, str(tmp_path / "race.db")]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    racers = [subprocess.Popen(command, **pipes) for _ in range(3)]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    taken = [line for racer in racers for line in racer.communicate(timeout=120)[0].split()]
    assert sorted(map(int, taken)) == list(range(40))


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_a_trial_killed_before_it_began_is_run_again(tmp_path):
    """Its row says running, and no heartbeat was ever sent: Optuna alone would wait for it for ever."""
    space = {"learning_rate": optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True)}
    study = open_study("taken", open_storage(f"sqlite:///{tmp_path / 'taken.db'}", heartbeat=1), space)
    study.set_user_attr("grace", 1)
    study.enqueue_trial({}, user_attrs={"number": 0})
    study.ask()
    run_trials(study, 1, lambda trial: 0.5, poll=0.1)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE"]


def test_the_public_surface_of_optuna_that_sweeps_need():
    """`blog.sweeps` uses no private name; a release that drops one of these fails here, with its name."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    trial = study.ask()
    assert trial.study is study and callable(trial.storage.get_trial_id_from_study_id_trial_number)
    assert callable(optuna.storages.RDBStorage.record_heartbeat) and callable(optuna.storages.fail_stale_trials)
    assert issubclass(optuna.exceptions.UpdateFinishedTrialError, Exception)
    study.tell(trial, 0.5)
    study.tell(trial, 0.5, skip_if_finished=True)
    source = Path(sys.modules[open_study.__module__].__file__).read_text()
    assert not re.search(r"\w\._(?!_)", source)


def blog(*arguments: str, **options) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "blog.cli", "sweep", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=300, **options)
    return done.returncode, done.stdout, done.stderr


def test_a_mistake_is_one_sentence_and_no_trial(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # those of this process stay as they are
    database = tmp_path / "other.db"
    url, name = f"sqlite:///{database}", "smoke/kl-temperature"
    other = METHODS["KL, temperature"] | {"temperature": 4.0}
    open_study(name, open_storage(url), other, {"seeds": 1})
    for arguments, words in {
        ("tiny",): "there is no preset 'tiny': choose one of smoke, embedded, clinc150.",
        ("cosine_temperature_scaling", "--preset", "tiny"): "there is no preset 'tiny': choose one of smoke, embedded",
        ("smoke", "--trials", "0"): "trials must be at least 1, received 0",
        ("smoke", "--workers", "0"): "workers must be at least 1, received 0",
        ("smoke", "--storage", "sqlite:////no/such/folder/x.db"): "can't be used (unable to open database file)",
        ("smoke", "--storage", "postgresql//me:secret@host/x"): "the storage is no database URL: write one such as",
        ("smoke", "--storage", "postgresql://me:secret@host:port/x"): "the storage is no database URL",
        ("smoke", "--storage", "postgresql://me:a@secret@host/x"): "has more than one @: write %40",
        ("smoke", "--storage", url): f"study '{name}' is there with another space: temperature was 4.0, is",
        ("smoke", "--sampler", "grid"): "there is no sampler 'grid': choose from random, tpe",
        ("smoke", "--method", "guessing"): "there is no method 'guessing': choose from KL, temperature; ",
    }.items():
        monkeypatch.setattr(sys, "argv", ["blog", "sweep", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert (ended.value.code, out, err.count("\n")) == (2, "", 1), err
        assert words in err and "secret" not in err
    status, out, err = blog("tiny")
    assert (status, out, err.count("\n")) == (2, "", 1) and err.startswith("blog: there is no preset 'tiny'")
    assert not open_study(name, open_storage(url), other, {"seeds": 1}).trials


def test_sweep_and_the_same_again(tmp_path):
    (tmp_path / "nbs").mkdir()
    (tmp_path / "settings.ini").touch()
    command = ("smoke", "--method", "KL, temperature", "--method", "labels alone")
    status, out, err = blog(*command, cwd=tmp_path)
    assert (status, err) == (0, "")
    assert "smoke, labels alone, judged: 2 of 2 done" in out and "min left" in out
    again = blog("cosine-temperature-scaling", "--preset", *command, cwd=tmp_path)
    table = out[out.index("  trials  pruned") :]
    assert again[0] == 0 and again[1].endswith(table) and "of 2 done" not in again[1]
    names = sorted(path.stem for path in (tmp_path / "runs/results/cosine-temperature-scaling").glob("*.json"))
    parts = [f"smoke-{method}-{part}" for method in ("kl-temperature", "labels-alone") for part in ("judged", "search")]
    assert names == [*parts, "smoke-teacher"]
