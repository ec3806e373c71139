"""The real presets of the intent study, a few steps each, with small random models of the same architectures.

The command runs what says something of the command; the other runs are forks of a process that has the libraries.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from notebook_cells import run_cells
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    BertModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    RobertaTokenizerFast,
)

from blog.models.students import start_from_scratch, train_tokenizer

ROOT = Path(__file__).parents[1]
POST = ROOT / "nbs/studies/intent_distillation.ipynb"
INTENTS = [f"{verb}_{thing}" for verb in ("freeze", "find", "pay") for thing in ("card", "bill", "account", "loan")]


def clinc_file(folder: Path) -> Path:
    """A file in the format of CLINC150's authors."""
    rng = random.Random(0)

    def rows(n: int, intents: list[str]) -> list[list[str]]:
        return [[f"{i.replace('_', ' my ')} {rng.choice('now please today soon'.split())}", i] for i in intents * n]

    parts = {
        "train": rows(4, INTENTS),
        "val": rows(2, INTENTS),
        "oos_train": rows(4, ["oos"]),
        "oos_val": rows(2, ["oos"]),
        "test": rows(3, INTENTS),
        "oos_test": rows(3, ["oos"]),
    }
    path = folder / "data_oos_plus.json"
    path.write_text(json.dumps(parts))
    return path


def chosen(tmp_path: Path, **parameters) -> dict:
    folders = {"weights_folder": f"{tmp_path}/weights", "results_folder": f"{tmp_path}/results"}
    return {"max_steps": 3} | folders | parameters


def command(preset: str, tmp_path: Path, environment: dict | None = None, **parameters) -> subprocess.CompletedProcess:
    given = [part for name, value in parameters.items() for part in ("-p", f"{name}={value}")]
    post = [sys.executable, "-m", "blog.cli", "run", "studies/intent_distillation", "--preset", preset, *given]
    options = dict(cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    return subprocess.run([*post, "--output-dir", str(tmp_path / "out")], **options)


@pytest.fixture
def run(tmp_path, record_property):
    """Runs the cells of the post with these parameters, as papermill would, in a fork."""

    def run_with(preset: str, **parameters) -> None:
        notebook, copy = json.loads(POST.read_text()), tmp_path / "post.ipynb"
        [cell] = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
        given = chosen(tmp_path, preset=preset, **parameters)
        cell["source"] = "".join(cell["source"]) + "".join(f"\n{name} = {value!r}" for name, value in given.items())
        copy.write_text(json.dumps(notebook))
        passed, seconds = run_cells(copy, tmp_path / "log", seconds=240)
        record_property("cpu", seconds)
        assert passed, (tmp_path / "log").read_text()[-8_000:]

    return run_with


def records(folder: Path) -> dict:
    return {path: json.loads(path.read_text()) for path in (folder / "results").rglob("*.json")}


@pytest.fixture
def texts(tmp_path) -> list[str]:
    return [text for part in json.loads(clinc_file(tmp_path).read_text()).values() for text, _ in part]


def test_workshop(tmp_path, texts, run):
    bytes_ = ByteLevelBPETokenizer()
    bytes_.train_from_iterator(texts, vocab_size=400, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    saved = tmp_path / "bpe"
    saved.mkdir()
    bytes_.save_model(str(saved))
    tokenizer = RobertaTokenizerFast.from_pretrained(saved, model_max_length=64)
    shape = dict(vocab_size=len(tokenizer), num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    shape |= {"max_position_embeddings": 80, "pad_token_id": tokenizer.pad_token_id}
    names = [*reversed(INTENTS), "oos"]  # a hub teacher numbers its labels as it likes
    torch.manual_seed(0)
    labels = dict(id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)})
    models = {
        "teacher": RobertaForSequenceClassification(RobertaConfig(**shape, hidden_size=32, **labels)),
        "student": RobertaForMaskedLM(RobertaConfig(**shape, hidden_size=16)),
    }
    for name, model in models.items():
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)

    ids = {"teacher_id": f"{tmp_path}/teacher", "student_id": f"{tmp_path}/student"}
    run("workshop", data_source=f"{tmp_path}/data_oos_plus.json", seeds=[33, 34], **ids)
    found = {path.stem: record for path, record in records(tmp_path).items()}
    assert {name for name in found if "recipe" in name} == {f"workshop-published-recipe-seed{s}" for s in (33, 34)}
    record = found["workshop-published-recipe-seed33"]
    assert (record["config"]["alpha"], record["config"]["temperature"]) == (0.055199695773231194, 19.0)
    assert record["summary"]["n"] == 26 and record["summary"]["steps"] == 3


@pytest.fixture
def base(tmp_path, texts) -> dict:
    """Parameters that name a small base model and the data."""
    start = start_from_scratch(tmp_path / "base", train_tokenizer(texts), layers=6, width=32)
    assert BertModel.from_pretrained(start).config.num_hidden_layers == 6
    return dict(data_source=f"{tmp_path}/data_oos_plus.json", teacher_id=str(start))


def test_clinc150_and_again_without_training(tmp_path, base, run):
    def trainings() -> dict:
        return {path: path.stat().st_mtime_ns for path in records(tmp_path) if not path.stem.endswith("-temperature")}

    run("clinc150", seeds=[1, 2], **base)
    before = trainings()
    assert len(before) == 1 + 4 * 2 + 1
    again = command("clinc150", tmp_path, **chosen(tmp_path, seeds="[1, 2]", **base))
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Intervals: 95 %; gain: over labels alone" in again.stdout
    assert trainings() == before
    assert "gain in points" in (tmp_path / "out/studies-intent_distillation-clinc150.ipynb").read_text()


def test_a_try_out_stays_out_of_the_way_of_other_runs(tmp_path, base, run):
    """Fewer steps get folders of their own; another split gets records of its own, and the weights that are there."""

    def weights() -> dict:
        saved = (tmp_path / "weights").rglob("clinc150-*/student/*.safetensors")
        return {path: path.stat().st_mtime_ns for path in saved}

    some = base | dict(seeds=[1], only=["teacher's layers, with teacher"])
    run("clinc150", max_steps=1, **some)
    tried, tried_weights = records(tmp_path), weights()
    run("clinc150", max_steps=2, **some)
    more, all_weights = records(tmp_path), weights()
    assert {record["summary"]["steps"] for record in tried.values() if "steps" in record["summary"]} == {1}
    new = {path: more[path] for path in more.keys() - tried.keys()}
    assert len(new) == len(tried) == len(more) / 2 and len(all_weights) == 2 * len(tried_weights)
    assert {record["summary"]["steps"] for record in new.values() if "steps" in record["summary"]} == {2}

    run("clinc150", max_steps=2, split="test", **some)
    judged = {path: record for path, record in records(tmp_path).items() if path not in more}
    assert {path.name for path in judged} == {path.name for path in new}
    assert {record["summary"]["n"] for record in judged.values() if "n" in record["summary"]} == {39}
    assert {record["config"]["split"] for record in judged.values()} == {"test"}
    assert weights() == all_weights


def test_a_missing_hub_is_one_clear_line(tmp_path):
    environment = os.environ | {"HF_HOME": str(tmp_path / "empty"), "HF_HUB_OFFLINE": "1"}
    done = command("clinc150", tmp_path, environment, weights_folder=tmp_path / "w", results_folder=tmp_path / "r")
    assert done.returncode == 1
    assert "data set 'clinc/clinc_oos' is not in the hub cache" in done.stderr
    assert not list((tmp_path / "r").rglob("*.json"))
