"""The commands in README and on pages run as they are written: each is parsed by the program it calls, and what needs
neither a GPU nor data is run.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from accelerate.commands.launch import launch_command_parser
from torch.distributed.run import get_args_parser
from transformers import LlamaConfig
from typer.core import TyperCommand

from blog.cli.commands import main
from blog.generation.memory import bert_large

ROOT = Path(__file__).parents[1]
CONFIGS = {  # what the hub has of them, but for the weights
    "bert-large-uncased": bert_large(),
    "HuggingFaceTB/SmolLM2-135M-Instruct": LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    ),
}


def texts() -> Iterator[str]:
    yield (ROOT / "README.md").read_text(encoding="utf-8")
    yield (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "nbs").rglob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        yield from ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def commands() -> Iterator[list[str]]:
    for text in texts():
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            for line in block.replace("\\\n", " ").splitlines():
                if words := shlex.split(line, comments=True):
                    yield [words[0].removeprefix(".venv/bin/"), *words[1:]]


WRITTEN = {" ".join(words): words for words in commands()}


def of(*programs: str):
    found = {line: words for line, words in WRITTEN.items() if tuple(words[: len(programs)]) == programs}
    return pytest.mark.parametrize("words", found.values(), ids=found.keys())


def test_no_program_is_left_out():
    programs = {"blog", "make", "pip", "python", "torchrun", "accelerate", "trl"}
    assert {words[0] for words in WRITTEN.values()} == programs


@of("blog")
def test_blog_takes_its_arguments(words, monkeypatch):
    taken = []
    monkeypatch.setattr(TyperCommand, "invoke", lambda command, context: taken.append(context.params))
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code and len(taken) == 1
    if post := taken[0].get("post"):
        page = json.loads((ROOT / "nbs" / f"{post}.ipynb").read_text(encoding="utf-8"))
        presets = re.search(r"^presets: (.*)$", "".join(page["cells"][0]["source"]), re.MULTILINE)[1]
        assert f"{taken[0]['preset']}:" in presets
    for record in taken[0].get("record") or ():
        assert (ROOT / "results" / f"{record}.json").exists()


@of("torchrun")
def test_torchrun_takes_its_arguments(words):
    assert get_args_parser().parse_args(words[1:]).training_script.endswith(".py")


@of("accelerate", "launch")
def test_accelerate_takes_its_arguments(words):
    assert launch_command_parser().parse_args(words[2:]).training_script.endswith(".py")


@of("trl")
def test_trl_takes_its_arguments(words):
    script = import_module(f"trl.scripts.{words[1]}")
    parsed = script.make_parser().parse_args_and_config([*words[2:], "--use_cpu"], fail_with_unknown_args=True)
    assert any(getattr(part, "output_dir", "").startswith("runs/") for part in parsed)


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Path:
    "A filled cache of the hub that has configurations alone."
    home = tmp_path_factory.mktemp("hub")
    for name, config in CONFIGS.items():
        model, revision = home / "hub" / f"models--{name.replace('/', '--')}", "0" * 40
        config.save_pretrained(model / "snapshots" / revision)
        (model / "refs").mkdir()
        (model / "refs/main").write_text(revision)
    return home


@of("blog", "memory")
def test_blog_memory_runs_as_written(words, hub):
    environment = os.environ | {"HF_HOME": str(hub), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    run = [sys.executable, "-m", "blog.cli", *words[1:]]
    done = subprocess.run(run, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[:3] == ["Part", "MiB", "Share"] and " fit." in done.stdout.splitlines()[-1]
