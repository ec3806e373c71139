"""Both trainers by `accelerate launch` on two CPU processes: sharded, they end with the weights of one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from safetensors.torch import load_file
from transformers import BertConfig, ModernBertConfig

from blog.generation.memory import MemorySettings, estimate_memory
from blog.generation.parallelism import Machines, choose_parallelism, write_accelerate_config

WORKER = str(Path(__file__).with_name("fsdp_worker.py"))
CONFIGS = {"distill": BertConfig, "internalize": ModernBertConfig}


def launch_config(job: str, folder: Path) -> Path:
    "What `choose_parallelism` writes for two GPUs that hold half of a model each, for CPU processes."
    sizes = dict(vocab_size=100, hidden_size=32, num_hidden_layers=12, num_attention_heads=2, intermediate_size=64)
    ends = dict(pad_token_id=0, bos_token_id=2, cls_token_id=2, eos_token_id=3, sep_token_id=3)
    config, settings = CONFIGS[job](**sizes, **ends), MemorySettings(batch=1, length=4, task="masked")
    room = estimate_memory(config, settings).total - 1  # a byte too little for one
    found = choose_parallelism(config, settings, Machines(room, gpus=2))
    assert found.choice == "ZeRO", found.reasons
    return write_accelerate_config(folder / "accelerate.yaml", found.config | {"use_cpu": True})


def run(job: str, folder: Path, launcher: list[str], batch: int, on_cpu: bool = True) -> tuple[dict, list[str]]:
    "The student's weights, and what each process held."
    environment = os.environ | ({"BLOG_FSDP_ON_CPU": "1"} if on_cpu else {})
    command = [sys.executable, *launcher, WORKER, job, str(folder), str(batch)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    shards = [path.read_text() for path in sorted(folder.parent.glob(f"{folder.name}.shards-*"))]
    return load_file(folder / "student/model.safetensors"), shards


@pytest.mark.parametrize("job", ["distill", "internalize"])
def test_two_sharded_processes_give_the_weights_of_one(job, tmp_path):
    path = launch_config(job, tmp_path)
    assert load_config_from_file(str(path)).distributed_type.value == "FSDP"
    launcher = ["-m", "accelerate.commands.launch", "--config_file", str(path)]
    one, (alone,) = run(job, tmp_path / "one", [], batch=8)
    two, shards = run(job, tmp_path / "two", launcher, batch=4)
    held, whole, kind = alone.split()
    assert (held, kind) == (whole, "NO")
    parts = [shard.split() for shard in shards]
    assert [part[2] for part in parts] == ["FSDP"] * 2 and sum(int(part[0]) for part in parts) == int(whole)
    assert max(int(part[0]) for part in parts) < 0.6 * int(whole)
    assert one.keys() == two.keys()
    for name in one:
        assert one[name].shape == two[name].shape and (one[name] - two[name]).abs().max() < 3e-5, name
    summaries = [json.loads((tmp_path / name / "student/summary.json").read_text()) for name in ("one", "two")]
    assert summaries[0].keys() == summaries[1].keys()


def test_accelerate_alone_replicates_on_the_cpu(tmp_path):
    "It passes over FSDP without a word; when this fails, the worker need not tell its state otherwise any more."
    launcher = ["-m", "accelerate.commands.launch", "--config_file", str(launch_config("distill", tmp_path))]
    _, shards = run("distill", tmp_path / "two", launcher, batch=4, on_cpu=False)
    for shard in shards:
        held, whole, kind = shard.split()
        assert held == whole and kind == "MULTI_CPU"
