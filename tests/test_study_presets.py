"""The real presets of the intent study, a few steps each, with small random models of the same architectures.

The command runs what says something of the command; the other runs are forks of a process that has the libraries.
"""

import json
import os
import random
import shutil
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
from blog.studies.small_students import read_worlds

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


def run(preset: str, tmp_path: Path, **parameters) -> None:
    """Run the cells of the post with these parameters, as the command would, in a fork."""
    notebook, copy = json.loads(POST.read_text()), tmp_path / "post.ipynb"
    [cell] = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    given = chosen(tmp_path, preset=preset, **parameters)
    cell["source"] = "".join(cell["source"]) + "".join(f"\n{name} = {value!r}" for name, value in given.items())
    copy.write_text(json.dumps(notebook))
    passed, _ = run_cells(copy, tmp_path / "log", seconds=240)
    assert passed, (tmp_path / "log").read_text()[-8_000:]


def records(folder: Path) -> dict:
    return {path: json.loads(path.read_text()) for path in (folder / "results").rglob("*.json")}


def texts(folder: Path) -> list[str]:
    return [text for part in json.loads(clinc_file(folder).read_text()).values() for text, _ in part]


def test_workshop(tmp_path):
    bytes_ = ByteLevelBPETokenizer()
    bytes_.train_from_iterator(
        texts(tmp_path), vocab_size=400, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    )
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
    run("workshop", tmp_path, data_source=f"{tmp_path}/data_oos_plus.json", seeds=[33, 34], **ids)
    found = {path.stem: record for path, record in records(tmp_path).items()}
    assert {name for name in found if "recipe" in name} == {f"workshop-published-recipe-seed{s}" for s in (33, 34)}
    record = found["workshop-published-recipe-seed33"]
    assert (record["config"]["alpha"], record["config"]["temperature"]) == (0.055199695773231194, 19.0)
    assert record["summary"]["n"] == 26 and record["summary"]["steps"] == 3


class Clinc150:
    """The preset with a small base model, run once with two seeds."""

    def __init__(self, folder: Path):
        self.folder = folder
        start = start_from_scratch(folder / "base", train_tokenizer(texts(folder)), layers=6, width=32)
        assert BertModel.from_pretrained(start).config.num_hidden_layers == 6
        self.given = dict(data_source=f"{folder}/data_oos_plus.json", teacher_id=str(start))
        run("clinc150", folder, seeds=[1, 2], **self.given)

    def weights(self) -> dict:
        saved = (self.folder / "weights").rglob("clinc150-*/student/*.safetensors")
        return {path: path.stat().st_mtime_ns for path in saved}


@pytest.fixture(scope="module")
def clinc150(tmp_path_factory) -> Clinc150:
    return Clinc150(tmp_path_factory.mktemp("clinc150"))


def steps_of(found: dict) -> set[int]:
    return {record["summary"]["steps"] for record in found.values() if "steps" in record["summary"]}


def test_clinc150_and_again_without_training(clinc150):
    def trainings() -> dict:
        return {path: path.stat().st_mtime_ns for path in records(clinc150.folder) if "temperature" not in path.stem}

    before = trainings()
    assert len(before) == 1 + 4 * 2 + 1
    again = command("clinc150", clinc150.folder, **chosen(clinc150.folder, seeds="[1, 2]", **clinc150.given))
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Intervals: 95 %; gain: over labels alone" in again.stdout
    assert trainings() == before
    assert "gain in points" in (clinc150.folder / "out/studies-intent_distillation-clinc150.ipynb").read_text()


def test_a_try_out_stays_out_of_the_way_of_other_runs(clinc150):
    """Fewer steps get folders of their own; another split gets records of its own, and the weights that are there."""
    before, weights = records(clinc150.folder), clinc150.weights()
    some = clinc150.given | dict(seeds=[1], only=["teacher's layers, with teacher"], max_steps=2)
    run("clinc150", clinc150.folder, **some)
    more, all_weights = records(clinc150.folder), clinc150.weights()
    new = {path: more[path] for path in more.keys() - before.keys()}
    names = {"clinc150-teacher", "clinc150-teachers-layers-with-teacher-seed1", "clinc150-temperature"}
    assert {path.stem for path in new} == names
    assert (steps_of(before), steps_of(new)) == ({3}, {2})
    assert len(all_weights) == len(weights) + 2 and weights.items() <= all_weights.items()

    run("clinc150", clinc150.folder, split="test", **some)
    judged = {path: record for path, record in records(clinc150.folder).items() if path not in more}
    assert {path.stem for path in judged} == names
    assert {record["summary"]["n"] for record in judged.values() if "n" in record["summary"]} == {39}
    assert {record["config"]["split"] for record in judged.values()} == {"test"}
    assert clinc150.weights() == all_weights


def test_a_missing_hub_is_one_clear_line(tmp_path):
    environment = os.environ | {"HF_HOME": str(tmp_path / "empty"), "HF_HUB_OFFLINE": "1"}
    done = command("clinc150", tmp_path, environment, weights_folder=tmp_path / "w", results_folder=tmp_path / "r")
    assert done.returncode == 1
    assert "data set 'clinc/clinc_oos' is not in the hub cache" in done.stderr
    assert not list((tmp_path / "r").rglob("*.json"))


def test_a_world_of_which_students_are_missing_is_not_shown(tmp_path):  # as an interrupted run leaves it
    shutil.copytree(ROOT / "results/small-students", tmp_path / "small-students")
    (tmp_path / "small-students/balanced-cnn-labels.json").unlink()
    assert set(read_worlds()) - set(read_worlds(tmp_path)) == {"balanced"}
