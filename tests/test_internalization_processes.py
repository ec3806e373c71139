"""What a notebook cell cannot show of pretraining and prompt internalization: kills, and processes side by side.

All processes are forked from one that has imported what they need: each would take seconds to start on its own.
"""

import json
import math
import multiprocessing
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import internalization_worker as worker
import pytest
import torch
from safetensors.torch import load_file

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["blog.pretraining", "blog.prompt_internalization.trainer"])
SAVED = {worker.internalize: "student", worker.pretrain: "model", worker.tune: "model"}


def run(job: Callable, folder: Path, processes: int = 1, **options) -> int:
    "The exit status of the first process that failed, or 0."
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launched = [(str(folder), rank, processes, port) for rank in range(processes)]
    started = [FORKED.Process(target=job, args=(each,), kwargs=options, daemon=True) for each in launched]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
        if process.is_alive():
            process.kill()
            process.join()
    return next((process.exitcode for process in started if process.exitcode != 0), 0)


def outcome(job: Callable, folder: Path, processes: int = 1, **options) -> tuple[dict, list[dict]]:
    "The weights that a run ends with, and what it found on its way."
    status = run(job, folder, processes, **options)
    assert status == 0, Path(f"{folder}-0.log").read_text()[-3000:]
    saved = folder / SAVED[job]
    return load_file(saved / "model.safetensors"), json.loads((saved / "summary.json").read_text())["history"]


def assert_same(one: tuple, other: tuple, tolerance: float = 0.0) -> None:
    (weights, history), (other_weights, other_history) = one, other
    told = ("loss", "kl", "overlap", "eval_loss", "eval_accuracy")
    for log, other_log in zip(history, other_history, strict=True):
        for key in told:
            assert math.isclose(log.get(key, 0), other_log.get(key, 0), rel_tol=tolerance), (log, other_log)
    assert weights.keys() == other_weights.keys()
    for name in weights:
        assert (weights[name] - other_weights[name]).abs().max() <= tolerance, name


def killed_and_resumed(job: Callable, folder: Path, kill_at: int, **options) -> tuple[dict, list[dict]]:
    "Killed before the given step, and started again; it would die before the step ahead of the last checkpoint."
    assert run(job, folder, kill_at=kill_at, **options) == -signal.SIGKILL
    assert not (folder / SAVED[job]).exists()
    last = max(int(path.name.split("-")[1]) for path in folder.glob("checkpoint-*"))
    assert 0 < last < kill_at
    return outcome(job, folder, kill_at=last - 1, **options)


@pytest.fixture(scope="module")
def student(tmp_path_factory) -> tuple[dict, list[dict]]:
    return outcome(worker.internalize, tmp_path_factory.mktemp("student") / "alone")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> tuple[dict, list[dict]]:
    return outcome(worker.pretrain, tmp_path_factory.mktemp("pretrained") / "alone", by_content=True)


@pytest.mark.parametrize(("cached", "tolerance"), [(True, 0.0), (False, 1e-6)])
def test_internalization_killed_in_mid_pass_ends_with_the_same_weights(tmp_path, cached, tolerance):
    # five steps a pass, a checkpoint every three: step 8 is inside the second pass, two steps after a checkpoint
    options = {"cached": cached, "dropout": 0.1}
    alone = outcome(worker.internalize, tmp_path / "alone", **options)
    assert len(alone[1]) == 5
    assert_same(alone, killed_and_resumed(worker.internalize, tmp_path / "killed", 8, **options), tolerance)


def test_a_checkpoint_holds_the_student_alone(student, tmp_path):
    assert run(worker.internalize, tmp_path / "killed", kill_at=4) == -signal.SIGKILL
    checkpoint = tmp_path / "killed/checkpoint-3"
    weights = load_file(checkpoint / "model.safetensors")
    assert {name: tensor.shape for name, tensor in weights.items()} == {n: t.shape for n, t in student[0].items()}
    moments = torch.load(checkpoint / "optimizer.pt", weights_only=True)["state"].values()
    assert sum(state["exp_avg"].numel() for state in moments) == sum(tensor.numel() for tensor in weights.values())
    size = sum(tensor.numel() * 4 for tensor in weights.values())
    assert sum(path.stat().st_size for path in checkpoint.glob("*.safetensors")) < 1.2 * size + 10_000


def test_internalization_in_two_processes(student, tmp_path):
    assert_same(student, outcome(worker.internalize, tmp_path / "two", processes=2, batch=4), tolerance=3e-5)


@pytest.mark.parametrize(
    ("job", "rows", "by_content"), [(worker.internalize, 8, {}), (worker.pretrain, 4, {"by_content": True})]
)
def test_a_run_killed_in_two_processes_goes_on_in_one(student, pretrained, tmp_path, job, rows, by_content):
    alone = student if job is worker.internalize else pretrained
    status = run(job, tmp_path / "moved", processes=2, batch=rows // 2, kill_at=8, **by_content)
    assert status == -signal.SIGKILL and not (tmp_path / "moved" / SAVED[job]).exists()
    moved = outcome(job, tmp_path / "moved", batch=rows, kill_at=5, **by_content)  # so it has begun after step 5
    assert_same(alone, moved, tolerance=3e-5)


@pytest.mark.parametrize("before", [1, 2])
def test_a_run_killed_within_a_pass_goes_on_in_two_processes(student, tmp_path, before):
    "accelerate alone would give the rest of the pass the order of the first one."
    rows = 8 // before
    assert run(worker.internalize, tmp_path / "moved", before, batch=rows, kill_at=8) == -signal.SIGKILL
    assert_same(student, outcome(worker.internalize, tmp_path / "moved", processes=2, batch=4), tolerance=3e-5)


def test_internalization_by_a_teacher_that_two_processes_share(student, tmp_path):
    two = outcome(worker.internalize, tmp_path / "shared", processes=2, batch=4, shared=True)
    assert_same(student, two, tolerance=3e-5)


def test_internalization_with_accumulated_gradients(student, tmp_path):
    assert_same(student, outcome(worker.internalize, tmp_path / "halves", batch=4, accumulate=2), tolerance=3e-5)


@pytest.mark.parametrize("by_content", [True, False])
def test_pretraining_killed_in_mid_pass_ends_with_the_same_weights(tmp_path, by_content):
    options = {"by_content": by_content, "dropout": 0.1}
    alone = outcome(worker.pretrain, tmp_path / "alone", **options)
    assert len(alone[1]) == 18
    assert_same(alone, killed_and_resumed(worker.pretrain, tmp_path / "killed", 8, **options))


@pytest.mark.parametrize("kill_at", [8, 14])  # eleven steps a pass
def test_a_stream_goes_on_where_it_was(tmp_path, kill_at):
    alone = outcome(worker.pretrain, tmp_path / "alone", stream=True, by_content=True)
    resumed = killed_and_resumed(worker.pretrain, tmp_path / "killed", kill_at, stream=True, by_content=True)
    assert_same(alone, resumed)


def test_pretraining_in_two_processes(pretrained, tmp_path):
    two = outcome(worker.pretrain, tmp_path / "two", processes=2, batch=2, by_content=True)
    assert_same(pretrained, two, tolerance=1e-5)


def test_a_stream_in_two_processes(tmp_path):
    one = outcome(worker.pretrain, tmp_path / "one", stream=True, by_content=True)
    two = outcome(worker.pretrain, tmp_path / "two", processes=2, batch=2, stream=True, by_content=True)
    assert_same(one, two, tolerance=1e-5)


def test_fine_tuning_in_two_processes(tmp_path):
    one = outcome(worker.tune, tmp_path / "one")
    assert len(one[1]) == 5
    assert_same(one, outcome(worker.tune, tmp_path / "two", processes=2, batch=4), tolerance=3e-5)


def test_pretraining_with_accumulated_gradients(pretrained, tmp_path):
    halves = outcome(worker.pretrain, tmp_path / "halves", batch=2, accumulate=2, by_content=True)
    assert_same(pretrained, halves, tolerance=1e-5)
