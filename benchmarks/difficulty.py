"""Measures of how hard a data set is, each against its plain twin.

divergence: unigrams of 25,000 texts of 14 words with three labels and one smoothing constant; the twin counts with
dictionaries and sums word by word.
labels: the 11,175 pairs of 150 labels with 100 texts of 8 words each; the twin takes two labels at a time.
shapley: 2,000 rows of width 64 against 200; the twin goes through the sorted rows one by one.
correlation: 500 bootstrap draws of a Matthews correlation of 5 classes on 2,000 rows; the twin draws rows and asks
scikit-learn. tokens: the drop of each word of 40 texts by a small classifier; the twin asks for one text at a time.
quick look: PVI of 200 texts by a linear head on embeddings of 1,000; the twin embeds one text at a time.
"""

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np
from harness import Case
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import matthews_corrcoef
from transformers import AutoModel, AutoModelForSequenceClassification

from blog.data.worlds.entropy import noisy_rules
from blog.difficulty.divergence import unigram_divergence
from blog.difficulty.usable_information import (
    class_probabilities,
    embed_texts,
    label_prior,
    linear_probabilities,
    pvi,
    token_drops,
)
from blog.difficulty.wrong_labels import knn_shapley
from blog.evaluation.classification import matthews_correlation
from blog.models.loading import load_model
from blog.models.students import start_from_scratch, train_tokenizer

Ways = dict[str, Callable[[], np.ndarray]]


def plain_divergence(texts: list[str], labels: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    counts = [Counter() for _ in range(3)]
    for text, label in zip(texts, labels, strict=True):
        counts[label].update(text.lower().split())
    words, found = sorted(set().union(*counts)), []
    totals = [sum(counter.values()) + alpha * len(words) for counter in counts]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        sums = 0.0
        for word in words:
            p, q = (counts[c][word] / totals[c] + alpha / totals[c] for c in (i, j))
            sums += (p * math.log(2 * p / (p + q)) + q * math.log(2 * q / (p + q))) / 2
        found.append(sums)
    return np.array(found)


def divergence(texts: int) -> Ways:
    rng = np.random.default_rng(0)
    labels, frequency = rng.integers(0, 3, texts), 1 / np.arange(1, 30_001)
    ids = rng.choice(30_000, (texts, 14), p=frequency / frequency.sum()) + 7 * labels[:, None]
    said = [" ".join(f"w{n}" for n in row) for row in ids]
    ours = {"smoothing": [1.0], "permutations": 0, "pattern": r"\S+"}
    return {
        "divergence, dictionaries": lambda: plain_divergence(said, labels),
        "unigram_divergence": lambda: unigram_divergence(said, labels, **ours).divergence.to_numpy(),
    }


def many_labels(labels: int = 150, each: int = 100) -> Ways:
    rng, frequency = np.random.default_rng(0), 1 / np.arange(1, 2001)
    owners = np.repeat(np.arange(labels), each)
    ids = rng.choice(2000, (len(owners), 8), p=frequency / frequency.sum()) + 25 * owners[:, None]
    said = [" ".join(f"w{n}" for n in row) for row in ids]

    def plain() -> np.ndarray:
        counts = np.zeros((labels, ids.max() + 1))
        np.add.at(counts, (owners[:, None], ids), 1)
        counts = counts[:, counts.any(axis=0)] + 0.1
        p = counts / counts.sum(axis=1, keepdims=True)
        return np.array([jensenshannon(p[i], p[j]) ** 2 for i, j in combinations(range(labels), 2)])

    ours = {"smoothing": [0.1], "permutations": 0, "pattern": r"\S+"}
    return {
        "150 labels, two at a time": plain,
        "unigram_divergence, 150 labels": lambda: unigram_divergence(said, owners, **ours).divergence.to_numpy(),
    }


def plain_shapley(train: np.ndarray, labels: np.ndarray, test: np.ndarray, given: np.ndarray, k: int = 5) -> np.ndarray:
    values = np.zeros(len(train))
    for row, label in zip(test, given, strict=True):
        order = np.argsort(((train - row) ** 2).sum(axis=1))
        value = float(labels[order[-1]] == label) / len(train)
        values[order[-1]] += value
        for i in range(len(train) - 1, 0, -1):
            near, far = labels[order[i - 1]] == label, labels[order[i]] == label
            value += (float(near) - float(far)) / k * min(k, i) / i
            values[order[i - 1]] += value
    return values / len(test)


def rows_and_tests(rows: int, tests: int, width: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    centres, labels, given = rng.normal(size=(5, width)), rng.integers(0, 5, rows), rng.integers(0, 5, tests)
    return (
        centres[labels] + rng.normal(size=(rows, width)),
        labels,
        centres[given] + rng.normal(size=(tests, width)),
        given,
    )


def shapley() -> Ways:
    arrays = rows_and_tests(2000, 200, 64)
    return {"KNN-Shapley, row by row": lambda: plain_shapley(*arrays), "knn_shapley": lambda: knn_shapley(*arrays)}


def correlation() -> Ways:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 2000)
    guesses = np.where(rng.random(2000) < 0.6, labels, rng.integers(0, 5, 2000))

    def plain() -> np.ndarray:
        drawn = np.random.default_rng(1)
        rows = (drawn.integers(0, 2000, 2000) for _ in range(500))
        return np.quantile([matthews_corrcoef(labels[some], guesses[some]) for some in rows], [0.025, 0.975])

    ours = lambda: np.array(matthews_correlation(guesses, labels, n_resamples=500)[1:])
    return {"bootstrap of scikit-learn's MCC": plain, "matthews_correlation": ours}


def tokens() -> Ways:
    data = noisy_rules(train=200, evaluation=100)
    tokenizer = train_tokenizer(data["train"]["text"], max_length=24)
    start = start_from_scratch(tempfile.mkdtemp(), tokenizer, layers=2, width=64)
    names = {"num_labels": 3, "new_head": True}
    model = load_model(AutoModelForSequenceClassification, start, **names)
    texts, labels = list(data["validation"]["text"])[:40], data["validation"]["label"][:40]

    def one_by_one(asked: list[str]) -> np.ndarray:
        return np.concatenate([class_probabilities(model, [text], tokenizer) for text in asked])

    def together(asked: list[str]) -> np.ndarray:
        return class_probabilities(model, asked, tokenizer)

    ways = {"token_drops, one text at a time": one_by_one, "token_drops": together}
    return {name: lambda way=way: token_drops(way, texts, labels).bits.to_numpy() for name, way in ways.items()}


def quick_look() -> Ways:
    data = noisy_rules(train=1000, evaluation=200)
    tokenizer = train_tokenizer(data["train"]["text"], max_length=24)
    model = load_model(AutoModel, start_from_scratch(tempfile.mkdtemp(), tokenizer, layers=2, width=64))
    texts = {split: list(data[split]["text"]) for split in ("train", "validation")}
    labels = {split: np.array(data[split]["label"]) for split in texts}

    def look(batch_size: int) -> np.ndarray:
        some = {split: embed_texts(model, said, tokenizer, batch_size) for split, said in texts.items()}
        found = linear_probabilities(some["train"], labels["train"], some["validation"], 3)
        return pvi(found, label_prior(labels["train"]), labels["validation"])

    return {"quick look, one text at a time": lambda: look(1), "quick look": lambda: look(128)}


def cases() -> Iterator[Case]:
    yield Case("divergence of 3 labels", divergence(25_000), 1e-9)
    yield Case("divergence of 150 labels", many_labels(), 1e-9)
    yield Case("KNN-Shapley", shapley(), 1e-9)
    yield Case("Matthews correlation with its interval", correlation(), 0.02)
    yield Case("drop of each word", tokens(), 1e-4)
    yield Case("PVI by a linear head", quick_look(), 1e-2)
