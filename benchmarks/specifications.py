"""A test suite on a classifier of MiniLM's size: batches by length, batches in the order of the suite, and the command.

`blog specify` is measured whole, in a process of its own: its imports, reading suite and model, judging, and the table.
The model has MiniLM's shape (6 layers, 384 wide) and random weights; its 120 texts are 5 to 40 synthetic words.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from harness import Case
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from blog.pretraining import train_subword_tokenizer
from blog.specifications.suites import classifier_probabilities


def made_up(cases: int) -> list[str]:
    rng, words = np.random.default_rng(0), [f"{a}{b}" for a in "bdfgklmnprst" for b in ("an", "el", "iro", "usta")]
    return [" ".join(rng.choice(words, size)) for size in rng.integers(5, 41, cases)]


def classifier(texts: list[str]) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    torch.manual_seed(0)
    tokenizer = train_subword_tokenizer(texts, 4000, 128)
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=128, num_labels=2, **sizes)
    return BertForSequenceClassification(config).eval(), tokenizer


def save(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[str]:
    "The command's arguments, for a suite of one label; a text that comes again has a number behind it."
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    table = pd.DataFrame({"specification": "s", "label": "LABEL_0", "text": texts})
    again = table.groupby("text").cumcount()
    table["text"] = table.text.str.replace("{", "{{").str.replace("}", "}}") + again.map(lambda n: f" {n}" if n else "")
    table.to_csv(folder / "suite.csv", index=False)
    return ["blog", "specify", str(folder / "suite.csv"), "--model", str(folder / "model"), "--json"]


def command(arguments: list[str], cases: int) -> None:
    code = f"import sys\nfrom blog.cli.commands import main\nsys.argv = {arguments}\nmain()"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert sum(row["n"] for row in json.loads(done.stdout)["specifications"]) == cases


def in_order(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> np.ndarray:
    "Batches of 32 as they come."
    found = []
    with torch.no_grad():
        for batch in _batches(texts):
            read = tokenizer(list(batch), truncation=True, padding=True, return_tensors="pt")
            found.append(model(read["input_ids"], read["attention_mask"]).logits.double().softmax(-1))
    return torch.cat(found).numpy()


def _batches(texts: list[str]) -> list[list[str]]:
    return [texts[start : start + 32] for start in range(0, len(texts), 32)]


def cases() -> Iterator[Case]:
    texts = made_up(120)
    model, tokenizer = classifier(texts)
    ways = {"in the suite's order": in_order, "classifier_probabilities": classifier_probabilities}
    made = {name: lambda way=way: way(model, tokenizer, texts) for name, way in ways.items()}
    yield Case("probabilities of a suite", made, 1e-5, "text", len(texts))
    with tempfile.TemporaryDirectory() as folder:
        arguments = save(Path(folder), model, tokenizer, texts)
        ways = {
            "its model alone": made["classifier_probabilities"],
            "blog specify": lambda: command(arguments, len(texts)),
        }
        yield Case("the command", ways, None, "text", len(texts))
