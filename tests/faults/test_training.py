"""Trainings that are killed, damaged, out of room or not alone: the same weights in the end, or a sentence.

BLOG_LONG_FAULTS takes many more moments and damages.
"""

import json
import random
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import jobs
import pytest
from kills import DAMAGES, LONG, Run, contents, damages, ended, killed

JOBS = (jobs.kept_best, jobs.kept_last, jobs.internalized, jobs.pretrained)
MODEL = {jobs.pretrained: "model"}  # else student


def model(job: Callable, folder: Path) -> Path:
    return folder / MODEL.get(job, "student")


def result(job: Callable, folder: Path) -> tuple:
    "Weights, tokenizer and what was found, without times."
    files = contents(model(job, folder))
    summary = json.loads(files["summary.json"])
    found = summary.get("metrics", summary)
    kept = {name: found[name] for name in ("steps", "loss", "kl", "accuracy", "tokens") if name in found}
    history = [{key: log[key] for key in log if key in ("step", "loss", "kl")} for log in found["history"]]
    return files["model.safetensors"], files["tokenizer.json"], kept, history


def whole(job: Callable, folder: Path, expected: tuple) -> None:
    assert result(job, folder) == expected
    assert {path.name for path in folder.iterdir()} - {".lock"} == {"settings.json", model(job, folder).name}


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict:
    "Of each job: what it ends with, how many file events it has, and its folder."
    found = {}
    for job in JOBS:
        folder = tmp_path_factory.mktemp("alone") / job.__name__
        run = ended(job, str(folder), folder=folder)
        found[job] = result(job, folder), run.events(), folder
    return found


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.__name__)
def test_killed_at_any_moment_it_ends_with_the_same_weights(job, alone, tmp_path):
    expected, events, _ = alone[job]
    random.seed(job.__name__)
    moments = [{"at": random.randint(1, events)} for _ in range(25 if LONG else 2)]
    moments += [{"after": random.uniform(0.05, 1.0)} for _ in range(25 if LONG else 1)]
    for number, moment in enumerate([*moments, {"at": events - 3}]):
        folder = tmp_path / str(number)
        killed(job, str(folder), folder=folder, **moment)
        ended(job, str(folder), folder=folder)
        whole(job, folder, expected)


def test_killed_again_and_again_it_ends_with_the_same_weights(alone, tmp_path):
    job = jobs.kept_best
    expected, events, _ = alone[job]
    random.seed(1)
    for _ in range(20 if LONG else 4):
        killed(job, str(tmp_path / "run"), folder=tmp_path / "run", at=random.randint(1, events // 2))
    ended(job, str(tmp_path / "run"), folder=tmp_path / "run")
    whole(job, tmp_path / "run", expected)


@pytest.fixture(scope="module")
def late(tmp_path_factory) -> dict[Callable, Path]:
    "Runs that were killed when they wrote their model: with all checkpoints that a run has."
    found = {}
    for job in (jobs.kept_best, jobs.kept_last):
        folder = tmp_path_factory.mktemp("late") / "run"
        killed(job, str(folder), folder=folder, at=".student.")
        assert not (folder / "student").exists()
        assert len(list(folder.glob("checkpoint-*"))) > 1
        found[job] = folder
    return found


def last_checkpoint(folder: Path) -> Path:
    return max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))


@pytest.mark.parametrize("job", (jobs.kept_best, jobs.kept_last), ids=lambda job: job.__name__)
def test_a_damaged_checkpoint_is_left_by_name_for_the_one_before(job, alone, late, tmp_path):
    found = list(damages(last_checkpoint(late[job])))
    for number, (file, damage) in enumerate(found if LONG or job is jobs.kept_best else found[::4]):
        folder = shutil.copytree(late[job], tmp_path / str(number))
        checkpoint = last_checkpoint(folder)
        DAMAGES[damage](checkpoint / file)
        run = ended(job, str(folder), folder=folder)
        assert f"{checkpoint} is left, for the one before it" in run.said(), (file, damage)
        whole(job, folder, alone[job][0])


def test_without_any_whole_checkpoint_it_starts_again(alone, late, tmp_path):
    job = jobs.kept_best
    folder = shutil.copytree(late[job], tmp_path / "run")
    for checkpoint in folder.glob("checkpoint-*"):
        (checkpoint / "manifest.json").unlink()
    run = ended(job, str(folder), folder=folder)
    assert run.said().count("is left, for the one before it or the start") == len(list(late[job].glob("checkpoint-*")))
    whole(job, folder, alone[job][0])


def test_the_best_checkpoint_is_looked_for_where_the_folder_is_now(alone, late, tmp_path):
    folder = shutil.move(shutil.copytree(late[jobs.kept_best], tmp_path / "before"), tmp_path / "after")
    ended(jobs.kept_best, str(folder), folder=folder)
    whole(jobs.kept_best, folder, alone[jobs.kept_best][0])


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.__name__)
def test_a_damaged_finished_run_is_refused_by_name(job, alone, tmp_path):
    files = list(damages(alone[job][2]))
    random.seed(job.__name__)
    for number, (file, damage) in enumerate(files if LONG else random.sample(files, 2)):
        folder = shutil.copytree(alone[job][2], tmp_path / str(number))
        before = contents(folder)
        DAMAGES[damage](folder / file)
        run = Run(job, str(folder), folder=folder)
        assert run.end() == 1 or contents(folder) == before, (file, damage)
        last = run.said().strip().splitlines()[-1]
        named = (
            file in last or file == "settings.json" or Path(file).name == "manifest.json"
        )  # or what that has of them
        assert last.startswith("ValueError: ") and str(folder) in last and named, (file, damage, last)


@pytest.mark.parametrize("job", (jobs.kept_best, jobs.pretrained), ids=lambda job: job.__name__)
def test_two_at_once_end_with_the_weights_of_one(job, alone, tmp_path):
    for number, delay in enumerate((0, 0.1, 0.3, 0.6, 0.9, 1.2) if LONG else (0, 0.4)):
        folder = tmp_path / str(number)
        runs = [Run(job, str(folder), folder=folder, log="one")]
        time.sleep(delay)
        runs.append(Run(job, str(folder), folder=folder, log="two"))
        statuses = [run.end() for run in runs]
        assert 0 in statuses
        for run, status in zip(runs, statuses, strict=True):
            assert status == 0 or re.search(r" is in use by (another )?process\b", run.said())
        whole(job, folder, alone[job][0])


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.__name__)
def test_without_room_it_fails_and_goes_on_when_there_is_some(job, alone, tmp_path):
    sizes = sorted({len(content) for content in contents(alone[job][2]).values()})
    for number, most in enumerate(sizes if LONG else sizes[-2:-1]):
        folder = tmp_path / str(number)
        assert Run(job, str(folder), folder=folder, most=most - 1).end() == 1
        assert not model(job, folder).exists()
        ended(job, str(folder), folder=folder)
        whole(job, folder, alone[job][0])
