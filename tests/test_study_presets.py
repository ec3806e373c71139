"""The real presets of the intent study, a few steps each, with small random models of the same architectures."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
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


def run(preset: str, tmp_path: Path, **parameters) -> subprocess.CompletedProcess:
    folders = {"weights_folder": tmp_path / "weights", "results_folder": tmp_path / "results"}
    parameters = {"max_steps": 3} | folders | parameters
    given = [part for name, value in parameters.items() for part in ("-p", f"{name}={value}")]
    command = [sys.executable, "-m", "blog.cli", "run", "studies/intent_distillation", "--preset", preset]
    return subprocess.run(
        [*command, *given, "--output-dir", str(tmp_path / "out")], cwd=ROOT, capture_output=True, text=True, timeout=280
    )


def records(folder: Path) -> dict:
    return {path: json.loads(path.read_text()) for path in (folder / "results").rglob("*.json")}


@pytest.fixture
def texts(tmp_path) -> list[str]:
    return [text for part in json.loads(clinc_file(tmp_path).read_text()).values() for text, _ in part]


def test_workshop(tmp_path, texts):
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

    ids = {"teacher_id": tmp_path / "teacher", "student_id": tmp_path / "student"}
    done = run("workshop", tmp_path, data_source=tmp_path / "data_oos_plus.json", seeds="[33, 34]", **ids)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {path.stem: record for path, record in records(tmp_path).items()}
    assert {name for name in found if "recipe" in name} == {f"workshop-published-recipe-seed{s}" for s in (33, 34)}
    record = found["workshop-published-recipe-seed33"]
    assert (record["config"]["alpha"], record["config"]["temperature"]) == (0.055199695773231194, 19.0)
    assert record["summary"]["n"] == 26 and record["summary"]["steps"] == 3


@pytest.fixture
def clinc150(tmp_path, texts):
    """Runs the preset with a small base model; returns what it printed."""
    base = start_from_scratch(tmp_path / "base", train_tokenizer(texts), layers=6, width=32)
    assert BertModel.from_pretrained(base).config.num_hidden_layers == 6

    def run_with(**parameters) -> str:
        given = dict(data_source=tmp_path / "data_oos_plus.json", seeds="[1, 2]", teacher_id=base)
        done = run("clinc150", tmp_path, **(given | parameters))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run_with


def test_clinc150_and_again_without_training(tmp_path, clinc150):
    def trainings() -> dict:
        return {path: path.stat().st_mtime_ns for path in records(tmp_path) if not path.stem.endswith("-temperature")}

    clinc150()
    before = trainings()
    assert len(before) == 1 + 4 * 2 + 1
    assert "Intervals: 95 %; gain: over labels alone" in clinc150()
    assert trainings() == before
    assert "gain in points" in (tmp_path / "out/studies-intent_distillation-clinc150.ipynb").read_text()


def test_a_try_out_stays_out_of_the_way_of_other_runs(tmp_path, clinc150):
    """Fewer steps get folders of their own; another split gets records of its own, and the weights that are there."""

    def weights() -> dict:
        saved = (tmp_path / "weights").rglob("clinc150-*/student/*.safetensors")
        return {path: path.stat().st_mtime_ns for path in saved}

    clinc150(seeds="[1]", max_steps=1)
    tried, tried_weights = records(tmp_path), weights()
    clinc150(seeds="[1]", max_steps=2)
    more, all_weights = records(tmp_path), weights()
    assert {record["summary"]["steps"] for record in tried.values() if "steps" in record["summary"]} == {1}
    new = {path: more[path] for path in more.keys() - tried.keys()}
    assert len(new) == len(tried) == len(more) / 2 and len(all_weights) == 2 * len(tried_weights)
    assert {record["summary"]["steps"] for record in new.values() if "steps" in record["summary"]} == {2}

    clinc150(seeds="[1]", max_steps=2, split="test")
    judged = {path: record for path, record in records(tmp_path).items() if path not in more}
    assert {path.name for path in judged} == {path.name for path in new}
    assert {record["summary"]["n"] for record in judged.values() if "n" in record["summary"]} == {39}
    assert {record["config"]["split"] for record in judged.values()} == {"test"}
    assert weights() == all_weights


def test_a_missing_hub_is_one_clear_line(tmp_path):
    import os

    environment = os.environ | {"HF_HOME": str(tmp_path / "empty"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "blog.cli", "run", "studies/intent_distillation", "--preset", "clinc150"]
    folders = ["-p", f"weights_folder={tmp_path}/w", "-p", f"results_folder={tmp_path}/r"]
    done = subprocess.run(
        [*command, *folders, "--output-dir", str(tmp_path / "out")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 1
    assert "data set 'clinc/clinc_oos' is not in the hub cache" in done.stderr
    assert not list((tmp_path / "r").rglob("*.json"))
