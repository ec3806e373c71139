"""A test suite on a classifier of MiniLM's size: batches by length, batches in the order of the suite, and the command.

    python benchmarks/specifications.py [--rounds 3] [--cases 3728] [--suite PATH] [--encoder ID]
                                        [--csv benchmarks/specifications.csv]

`blog specify` is measured whole, in a process of its own: its imports, reading suite and model, judging, and the table.
Without an encoder the model has MiniLM's shape (6 layers, 384 wide) and random weights, so that nothing is downloaded;
with one it is that encoder under a new head for two labels. A suite at PATH is cut or repeated to the number of cases;
without one, sentences of 5 to 40 words are made up. Values are equal first. On an idle
machine a process of one thread takes as many seconds as it takes of the processor.
"""

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from raw import write_csv
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from blog.models.loading import load_model, load_tokenizer
from blog.pretraining import train_subword_tokenizer
from blog.specifications.suites import classifier_probabilities, read_suite, suite_texts


def made_up(cases: int) -> list[str]:
    rng, words = np.random.default_rng(0), [f"{a}{b}" for a in "bdfgklmnprst" for b in ("an", "el", "iro", "usta")]
    return [" ".join(rng.choice(words, size)) for size in rng.integers(5, 41, cases)]


def classifier(encoder: str | None, texts: list[str]) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    torch.manual_seed(0)
    if encoder:
        model = load_model(AutoModelForSequenceClassification, encoder, new_head=True, num_labels=2)
        return model.eval(), load_tokenizer(encoder)
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


def command(arguments: list[str], cases: int) -> float:  # seconds of the processor
    code = f"import sys\nfrom blog.cli.commands import main\nsys.argv = {arguments}\nmain()"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert sum(row["n"] for row in json.loads(done.stdout)["specifications"]) == cases
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", type=int, default=3728)
    parser.add_argument("--suite", help="any source of `blog specify`")
    parser.add_argument("--encoder", help="hub id or folder")
    parser.add_argument("--csv", help="file for the raw figures")
    options = parser.parse_args()
    read = suite_texts(read_suite(options.suite)) if options.suite else made_up(options.cases)
    texts = list(itertools.islice(itertools.cycle(read), options.cases))
    model, tokenizer = classifier(options.encoder, texts)
    ways = {"in the suite's order": in_order, "classifier_probabilities": classifier_probabilities}
    plain, ours = (way(model, tokenizer, texts[:200]) for way in ways.values())
    np.testing.assert_allclose(ours, plain, atol=1e-5, rtol=0)
    seconds = {name: [] for name in (*ways, "blog specify")}
    with tempfile.TemporaryDirectory() as folder:
        arguments = save(Path(folder), model, tokenizer, texts)
        for _ in range(options.rounds):
            for name, way in ways.items():
                begun = time.process_time()
                way(model, tokenizer, texts)
                seconds[name].append(time.process_time() - begun)
            seconds["blog specify"].append(command(arguments, len(texts)))
    first = statistics.median(seconds["in the suite's order"])
    for name, found in seconds.items():
        middle = statistics.median(found)
        print(f"{name:28} {middle:8.1f} processor seconds {first / middle:6.2f} times as fast as the first")
    write_csv(options.csv, seconds)


if __name__ == "__main__":
    main()
