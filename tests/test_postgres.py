"""A sweep on PostgreSQL, which the test starts on loopback, with its workers killed in turn: nothing is lost."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import optuna
import pytest

from blog.sweeps import numbered_trials, open_storage

pytest.importorskip("pg8000", reason="pip install -e '.[postgres]'")
WORKER, PASSWORD = Path(__file__).with_name("sweep_worker.py"), "SecretOfThisTest"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
PLACES = [Path(found).parent for found in filter(None, [shutil.which("initdb")])]
PLACES += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
PROGRAMS, TRIALS, FRESH = ("initdb", "postgres", "pg_isready"), 30, 3


def account() -> str | None:
    "PostgreSQL does not run as root: the account of its package, or else nobody's."
    if os.getuid():
        return None
    with suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return "nobody"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    "The URL of an empty database, in a folder that the account reaches."
    place = next((place for place in PLACES if all((place / name).is_file() for name in PROGRAMS)), None)
    if place is None:
        pytest.skip("there is no PostgreSQL here: install the distribution's package")
    with tempfile.TemporaryDirectory(prefix="blog-postgres-") as folder:
        yield from serving(place, Path(folder), account())


def serving(place: Path, folder: Path, user: str | None) -> Iterator[str]:
    if user:
        shutil.chown(folder, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    secret, quiet = folder / "password", dict(user=user, cwd=folder, stdout=subprocess.DEVNULL)
    secret.write_text(PASSWORD)
    login = ["-U", "sweeper", "--pwfile", str(secret), "-A", "scram-sha-256"]
    made = [str(place / "initdb"), "-D", str(folder / "data"), *login, "--no-sync", "-E", "UTF8", "--no-locale"]
    subprocess.run(made, check=True, timeout=120, **quiet)
    options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
    settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    with open(folder / "log", "w") as log:
        command = [str(place / "postgres"), "-D", str(folder / "data"), *settings]
        running = subprocess.Popen(command, stderr=log, **quiet)
    try:
        wait_until_ready([str(place / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)], folder / "log")
        yield f"postgresql://sweeper:{PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(30)


def wait_until_ready(asked: list[str], log: Path) -> None:
    deadline = time.monotonic() + 60
    while subprocess.run(asked, stdout=subprocess.DEVNULL).returncode:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


class Workers:
    "Two machines' workers: processes that know nothing of each other but the URL."

    def __init__(self, url: str, folder: Path):
        self.url, self.log, self.folder, self.running = url, folder / "log", folder, {}

    def start(self, name: str) -> None:
        arguments = (self.url, self.log, 1, TRIALS, 0.4, self.folder / name)
        command, told = [sys.executable, str(WORKER), *map(str, arguments)], open(self.folder / f"{name}.out", "a")
        self.running[name] = subprocess.Popen(command, env=ENVIRONMENT, stdout=told, stderr=told)

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def wait_for(self, more: int, name: str) -> None:
        "Until that worker has begun so many trainings more."
        pid, deadline = str(self.running[name].pid), time.monotonic() + 90
        while sum(line[-1] == pid for line in self.lines()) < more:
            assert self.running[name].poll() is None, (self.folder / f"{name}.out").read_text()
            assert time.monotonic() < deadline, f"{name} does nothing"
            time.sleep(0.02)

    def kill(self, name: str) -> None:
        self.running[name].kill()
        self.running[name].wait()


def test_workers_killed_in_turn_lose_nothing(server, tmp_path):
    workers = Workers(server, tmp_path)
    workers.start("one")
    workers.start("two")
    workers.wait_for(2, "one")
    workers.wait_for(1, "two")
    workers.kill("one")
    workers.wait_for(3, "two")
    workers.start("one")
    workers.wait_for(1, "one")
    workers.kill("two")
    workers.start("two")
    assert [workers.running[name].wait(180) for name in ("one", "two")] == [0, 0]

    storage = open_storage(server)
    studies = {
        name: optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)
    }
    held = {name: numbered_trials(study) for name, study in studies.items()}
    assert sorted(map(len, held.values())) == [FRESH, TRIALS]
    assert all(list(trials) == list(range(len(trials))) for trials in held.values())
    assert {trial.state for trials in held.values() for trial in trials.values()} == {optuna.trial.TrialState.COMPLETE}
    failed = [
        trial for study in studies.values() for trial in study.trials if trial.state == optuna.trial.TrialState.FAIL
    ]
    lost = {str(value) for trial in failed for name, value in trial.params.items() if name != "alpha"}
    begun = Counter((part, what) for part, what, _ in workers.lines())
    assert len(lost) <= 2 and all(count == 1 for (_, what), count in begun.items() if what not in lost)
    assert len({pid for *_, pid in workers.lines()}) == 4

    files = [f"kill-a-method-{part}.{kind}" for part in ("judged", "search") for kind in ("json", "parquet")]
    for name in ("one", "two"):
        assert sorted(path.name for path in (tmp_path / name / "tested").iterdir()) == files
        assert PASSWORD not in (tmp_path / f"{name}.out").read_text()


def test_what_the_server_says_is_one_sentence_without_the_password(server):
    for url, words in (
        (server.replace(PASSWORD, "wrong"), 'password authentication failed for user "sweeper"'),
        (server.replace("/postgres", "/nowhere"), 'database "nowhere" does not exist'),
    ):
        with pytest.raises(ConnectionError, match=words) as found:
            open_storage(url)
        assert PASSWORD not in str(found.value) and "wrong" not in str(found.value) and "{" not in str(found.value)
