"""A test suite on a classifier of MiniLM's size: batches by length against batches in the order of the suite.

    python benchmarks/specifications.py [--rounds 3] [--cases 3728] [--suite PATH] [--csv benchmarks/specifications.csv]

The model has MiniLM's shape (6 layers, 384 wide) and random weights, so that nothing is downloaded; a suite at PATH is
cut or repeated to the number of cases, and without one, sentences of 5 to 40 words are made up. Values are equal first.
"""

import argparse
import itertools
import statistics
import time

import numpy as np
import torch
from raw import write_csv
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from blog.pretraining import train_subword_tokenizer
from blog.specifications.suites import classifier_probabilities, read_suite, suite_texts


def made_up(cases: int) -> list[str]:
    rng, words = np.random.default_rng(0), [f"{a}{b}" for a in "bdfgklmnprst" for b in ("an", "el", "iro", "usta")]
    return [" ".join(rng.choice(words, size)) for size in rng.integers(5, 41, cases)]


def in_order(model: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> np.ndarray:
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
    parser.add_argument("--csv", help="file for the raw figures")
    options = parser.parse_args()
    read = suite_texts(read_suite(options.suite)) if options.suite else made_up(options.cases)
    texts = list(itertools.islice(itertools.cycle(read), options.cases))
    tokenizer = train_subword_tokenizer(texts, 4000, 128)
    torch.manual_seed(0)
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=128, num_labels=2, **sizes)
    model = BertForSequenceClassification(config).eval()
    ways = {"in the suite's order": in_order, "classifier_probabilities": classifier_probabilities}
    plain, ours = (way(model, tokenizer, texts[:200]) for way in ways.values())
    np.testing.assert_allclose(ours, plain, atol=1e-5, rtol=0)
    seconds = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            begun = time.process_time()
            way(model, tokenizer, texts)
            seconds[name].append(time.process_time() - begun)
    first = statistics.median(seconds["in the suite's order"])
    for name, found in seconds.items():
        middle = statistics.median(found)
        print(f"{name:28} {middle:8.1f} processor seconds {first / middle:6.2f} times as fast as the first")
    write_csv(options.csv, seconds)


if __name__ == "__main__":
    main()
