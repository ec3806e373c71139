"""`fine_tune` gives what simpletransformers gives, from the same start by the same settings.

It pins older libraries than this project's, so it is run by the Python of an environment of its own, named by
BLOG_SIMPLETRANSFORMERS; CONTRIBUTING.md says how to make one. All rows are in one batch and nothing is dropped, so that
neither the order of rows nor random numbers can differ.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

from blog.data.worlds.reviews import synthetic_reviews
from blog.inference import predict, text_collator
from blog.models.students import train_tokenizer
from blog.training import fine_tune

PYTHON, LABELS = os.environ.get("BLOG_SIMPLETRANSFORMERS"), ["happy", "neither", "unhappy"]


@pytest.fixture(scope="module")
def reviews():
    data = synthetic_reviews(seed=0, train=96, evaluation=60)
    frames = {name: data[name].to_pandas() for name in ("train", "validation", "test")}
    return {
        name: frame.assign(label=np.where(frame.stars >= 3, "happy", np.where(frame.stars <= 1, "unhappy", "neither")))
        for name, frame in frames.items()
    }


@pytest.fixture(scope="module")
def classifier(reviews, tmp_path_factory):
    "A classifier whose last layer is drawn already, so that both begin with it."
    folder = tmp_path_factory.mktemp("start") / "classifier"
    tokenizer = train_tokenizer(reviews["train"]["text"])
    shape = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    names = dict(id2label=dict(enumerate(LABELS)), label2id={name: number for number, name in enumerate(LABELS)})
    still = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), **shape, **names, **still)).save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.skipif(PYTHON is None, reason="BLOG_SIMPLETRANSFORMERS names no Python with simpletransformers")
@pytest.mark.parametrize("epochs", [1, 40])
def test_predictions_equal_those_of_simpletransformers(reviews, classifier, tmp_path, epochs):
    shared = {"num_train_epochs": epochs, "learning_rate": 1e-2, "weight_decay": 0.0, "max_grad_norm": 1.0}
    mine = fine_tune(
        classifier,
        reviews["train"],
        reviews["validation"],
        tmp_path / "mine",
        evaluations=1,
        per_device_train_batch_size=96,
        **shared,
    )
    there = shared | {"train_batch_size": 96, "warmup_ratio": 0.0, "warmup_steps": 0, "optimizer": "AdamW"}
    (tmp_path / "settings.json").write_text(json.dumps(there | {"max_seq_length": 64}))
    numbered = reviews["train"].assign(labels=reviews["train"]["label"].map(LABELS.index))
    numbered[["text", "labels"]].to_csv(tmp_path / "train.csv", index=False)
    reviews["test"][["text"]].to_csv(tmp_path / "test.csv", index=False)
    worker = Path(__file__).with_name("simpletransformers_worker.py")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [PYTHON, str(worker), str(classifier), str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = json.loads((tmp_path / "predictions.json").read_text())
    texts = reviews["test"]["text"].tolist()
    logits = predict(mine.model, texts, text_collator(mine.tokenizer))
    before = predict(
        AutoModelForSequenceClassification.from_pretrained(classifier), texts, text_collator(mine.tokenizer)
    )
    assert float((logits - before).abs().max()) > 0.01
    np.testing.assert_allclose(theirs["logits"], logits.numpy(), atol=0.02)  # rounding grows over 40 steps
    assert [LABELS[number] for number in theirs["predictions"]] == mine.predict(texts)
    assert len({*theirs["predictions"]}) > 1 or epochs == 1
