"""What shortcuts' methods can't work with gets one sentence, before anything is trained or written."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from transformers import TrainingArguments

from blog.evaluation.agreement import vote_counts
from blog.experiment import training_arguments
from blog.models.students import FastTextClassifier, new_student, train_tokenizer
from blog.shortcuts.continual import encode_stream, learn_stream
from blog.shortcuts.identities import frame_rates
from blog.shortcuts.mitigation import bag_of_words_bias, debias, mask_words
from blog.shortcuts.pinned_bias import error_rates, pair_differences
from blog.shortcuts.replacement import hypernyms, mentions, replace_words, small_taxonomy

ROOT = Path(__file__).parents[1]
[STUDY] = [  # the study that takes a list of words
    path.stem for path in (ROOT / "nbs/studies").glob("*.ipynb") if '"terms = None' in path.read_text("utf-8")
]
TEXTS = ["the goose is late", "a cup is here"] * 5
ROWS = Dataset.from_dict({"text": TEXTS, "label": [0, 1] * 5, "group": [0, 2] * 5})
ABROAD, WORLD, NOBODY = ["Gans", "Tasse"], small_taxonomy(), {"nobody": np.zeros(10, dtype=bool)}
PERIODS = [Dataset.from_dict({"text": TEXTS[:2], "label": [0, 1], "period": [year] * 2}) for year in (2023, 2024, 2025)]
LATE, TWICE, NEVER = PERIODS[::-1], [*PERIODS, PERIODS[2]], [part.remove_columns("period") for part in PERIODS]


TOKENIZER = train_tokenizer(TEXTS, max_length=16)


class Student:
    "A student, and how it is trained; the folder that its weights would go to is not there yet."

    def __init__(self, folder: Path):
        self.tokenizer = TOKENIZER
        self.model = new_student(FastTextClassifier, self.tokenizer, ["a", "b"], embedding_size=4)
        options = dict(max_steps=1, remove_unused_columns=False)
        self.args = training_arguments(TrainingArguments, folder / "weights", **options)

    def debiased(self, method: str, words: list[str] | None) -> None:
        debias(self.model, ROWS, self.tokenizer, self.args, method, words)

    def taught(self, periods: list[Dataset], method: str = "fine-tuned") -> None:
        learn_stream(self.model, encode_stream(periods, periods, self.tokenizer, 2), self.args, method)


NO_WORD = {
    "masked": lambda _: mask_words(TEXTS, ABROAD),
    "replaced": lambda _: replace_words(TEXTS, dict.fromkeys(ABROAD, "bird"), WORLD),
    "deleted": lambda _: replace_words(TEXTS, dict.fromkeys(ABROAD, ""), WORLD),
    "looked for": lambda _: mentions(TEXTS, {"birds": ABROAD}, WORLD),
    "read by a bias model": lambda _: bag_of_words_bias(TEXTS, [0, 1] * 5, ABROAD),
    "masked in training": lambda student: student.debiased("masking", ABROAD),
    "weighed": lambda student: student.debiased("reweighting", ABROAD),
    "given to an expert": lambda student: student.debiased("product of experts", ABROAD),
}
NO_HYPERNYM = {
    "is a root": lambda _: hypernyms(["thing"], WORLD, 1),
    "too far up": lambda _: hypernyms(["goose"], WORLD, 9),
}
NO_NOUN = {"of no taxonomy": lambda _: hypernyms(["whereas"], WORLD, 1)}
NO_EXAMPLE = {
    "error rates": lambda _: error_rates([0, 1] * 5, [0, 1] * 5, NOBODY),
    "pairs": lambda _: pair_differences([0.5] * 10, [0.5] * 10, NOBODY),
    "frames": lambda _: frame_rates([0, 1], ["x", "y"], [0, 0], names=["nobody"]),
    "group DRO": lambda student: student.debiased("group DRO", None),
}
ONE_ITEM = {
    "by number": lambda _: vote_counts([[0, 1], [1, np.nan], [0, np.nan]]),
    "by name": lambda _: vote_counts([[0, 1], [1, -1], [0, -1]], names=["ann", "bob"]),
}
PERIOD = {
    f"{what}, {method}": lambda student, periods=periods, method=method: student.taught(periods, method)
    for what, periods in (("falling", LATE), ("twice", TWICE), ("none", NEVER))
    for method in ("fine-tuned", "EWC")
}
REFUSED = [
    pytest.param(call, said, id=f"{said}: {name}")
    for said, calls in (
        ("none of", NO_WORD),
        ("has no hypernym", NO_HYPERNYM),
        ("is no noun of this taxonomy", NO_NOUN),
        ("has no example", NO_EXAMPLE),
        ("has one item", ONE_ITEM),
        ("period", PERIOD),
    )
    for name, call in calls.items()
]


@pytest.mark.parametrize("call, said", REFUSED)
def test_bad_input_gets_one_sentence_and_nothing_is_written(
    call: Callable[[Student], object], said: str, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    student = Student(tmp_path)
    before = {name: part.clone() for name, part in student.model.state_dict().items()}
    with pytest.raises(ValueError) as refusal:
        call(student)
    told = str(refusal.value)
    assert said in told and "\n" not in told and ". " not in told
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]  # transformers may have made a folder
    assert all(torch.equal(part, before[name]) for name, part in student.model.state_dict().items())


def tweets_on_the_hub(folder: Path) -> None:
    "A cache of the hub that holds a few synthetic tweets under the name of Davidson et al.'s."
    snapshot = folder / "datasets--tdavidson--hate_speech_offensive/snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs/main").write_text("0" * 40)
    rows = pd.DataFrame({"class": [0, 1, 2] * 30, "tweet": [f"tweet number {n} of the day" for n in range(90)]})
    rows.to_csv(snapshot / "train.csv", index=False)


def json_lines(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_a_study_with_a_list_of_which_no_word_occurs_writes_no_record_and_no_weights(tmp_path):
    tweets_on_the_hub(tmp_path / "hub")
    for split in ("train", "val"):
        rows = [{"text": f"{split} text {n}", "label": n % 2} for n in range(20)]
        json_lines(tmp_path / f"hate_{split}.jsonl", rows)
    pairs = [{"comment": "an old man", "fuzzed": "a young man", "toxic": False}]
    said = [f"{text}\t{label}\tframe" for text, label in (("old people talk", "NOT_BAD"), ("old people stink", "BAD"))]
    (tmp_path / "sentences.tsv").write_text("\n".join(["Text\tLabel\tTemplate", *said]) + "\n")
    (tmp_path / "terms.tsv").write_text("term\tgroup\nGans\tbirds\nTasse\tthings\n")
    given = {
        "pairs": json_lines(tmp_path / "pairs.jsonl", pairs),
        "sentences": tmp_path / "sentences.tsv",
        "terms": tmp_path / "terms.tsv",
        "data_source": tmp_path / "hate_train.jsonl",
        "results_folder": tmp_path / "results",
    }
    before = {path: path.stat().st_mtime_ns for path in ROOT.glob("results/**/*")}
    offline = {
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_DATASETS_CACHE": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "1",
    }
    parameters = [part for name, value in given.items() for part in ("-p", f"{name}={value}")]
    command = [sys.executable, "-m", "blog.cli", "run", f"studies/{STUDY}", "--preset", "identities", *parameters]
    done = subprocess.run(
        [*command, "--output-dir", str(tmp_path / "out")],
        cwd=ROOT,
        env=os.environ | offline,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode != 0
    refused = [line for line in done.stderr.splitlines() if "ValueError: " in line]
    assert len(refused) == 1 and "terms.tsv" in refused[0], done.stderr[-3000:]
    written = [path for name in ("results", "runs") for path in (tmp_path / name).rglob("*") if path.is_file()]
    assert not written and not list(tmp_path.rglob("*.safetensors"))
    assert {path: path.stat().st_mtime_ns for path in ROOT.glob("results/**/*")} == before
