"""What a notebook cell cannot show of distillation: killed processes, and two processes side by side."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

WORKER = str(Path(__file__).with_name("distill_worker.py"))


def run(*args: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    command = [sys.executable, *launcher, WORKER, *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def weights(folder: Path) -> dict:
    return load_file(folder / "student" / "model.safetensors")


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("left-alone")
    done = run(str(folder))
    assert done.returncode == 0, done.stderr
    return folder


def test_killed_in_mid_epoch_and_resumed_ends_with_the_same_weights(left_alone, tmp_path):
    # ten steps an epoch, a checkpoint every three: step 17 is inside the second epoch, two steps after a checkpoint
    assert run(str(tmp_path), "--kill-at", "17").returncode == -signal.SIGKILL
    assert not (tmp_path / "student").exists()
    # the checkpoint that was being written when the process died: its last file is cut off
    shutil.copytree(tmp_path / "checkpoint-15", tmp_path / "checkpoint-18")
    state = tmp_path / "checkpoint-18" / "trainer_state.json"
    state.write_text(state.read_text()[:100])

    resumed = run(str(tmp_path), "--kill-at", "14")  # would die before step 14: so it starts after it
    assert resumed.returncode == 0, resumed.stderr
    expected, found = weights(left_alone), weights(tmp_path)
    assert expected.keys() == found.keys()
    assert all(expected[name].equal(found[name]) for name in expected)


def test_a_finished_run_is_read_and_not_trained_again(left_alone):
    before = (left_alone / "student" / "model.safetensors").stat().st_mtime_ns
    again = run(str(left_alone), "--kill-at", "0")
    assert again.returncode == 0, again.stderr
    assert (left_alone / "student" / "model.safetensors").stat().st_mtime_ns == before


def test_other_settings_do_not_mix_with_a_run(left_alone):
    other = run(str(left_alone), "--batch", "8")
    assert other.returncode == 1
    assert "per_device_train_batch_size (4 before, 8 now)" in other.stderr.splitlines()[-1]


def test_two_processes_give_the_weights_of_one(tmp_path):
    one = run(str(tmp_path / "one"), "--batch", "8", "--dropout", "0")
    assert one.returncode == 0, one.stderr
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    two = run(str(tmp_path / "two"), "--batch", "4", "--dropout", "0", launcher=launcher)
    assert two.returncode == 0, two.stderr
    expected, found = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert expected.keys() == found.keys()
    for name in expected:
        assert (expected[name] - found[name]).abs().max() < 1e-5, name
