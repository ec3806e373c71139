"""Search and query search, each against its plain twin: equal values first, then processor seconds in turns.

    python benchmarks/embeddings.py [--rounds 3] [--corpus 100000] [--csv benchmarks/embeddings.csv]

search: the 100 best of --corpus vectors of width 384 for 100 queries; the twin sorts all scores of one query after the
other; faiss, where it is installed, does not define the order of ties.
mean cosine: all pairs of 2,000 vectors of width 384; the twin makes the matrix of cosines.
IsoScore: 5,000 vectors of width 384; the twin takes the seven published steps.
query vectors: 300 sets of five on 5,183 documents of width 256; the twin takes one set after the other.
memory: the 16 nearest by distance of a fifth of --corpus states of width 64 for 500 contexts; the twin sorts all.
query words: one set, 2,000 words; the twin tries every word, the guided way 50 at each step.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from raw import write_csv

from blog.embeddings.geometry import isoscore, mean_cosine, unit_rows
from blog.embeddings.knn_lm import Datastore, neighbours
from blog.embeddings.query_search import find_query_vectors, find_query_words
from blog.embeddings.search import exact_search

Ways = dict[str, Callable[[], np.ndarray]]


def drawn(rows: int, width: int, seed: int = 0) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32))


def search(size: int, k: int = 100) -> Ways:
    corpus, queries = drawn(size, 384), drawn(100, 384, 1)

    def plain() -> np.ndarray:
        return np.stack([np.sort(corpus @ query)[::-1][:k] for query in queries])

    ways = {"search, sorted one by one": plain, "exact_search": lambda: exact_search(queries, corpus, k).scores}
    if find_spec("faiss"):
        import faiss

        index = faiss.IndexFlatIP(384)
        index.add(corpus)
        ways["faiss.IndexFlatIP"] = lambda: index.search(queries, k)[0]
    return ways


def memory(size: int, k: int = 16) -> Ways:
    keys, queries, names = drawn(size, 64), drawn(500, 64, 1), np.array(["a"] * size)
    store = Datastore(keys, np.arange(size), names, names)

    def plain() -> np.ndarray:
        return np.stack([np.sort(((keys - query) ** 2).sum(axis=1))[:k] for query in queries])

    return {"memory, sorted one by one": plain, "neighbours": lambda: neighbours(store, queries, k).distances}


def cosine() -> Ways:
    vectors = drawn(2000, 384)

    def plain() -> np.ndarray:
        units = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        return np.array([(units @ units.T)[np.triu_indices(len(units), 1)].mean()])

    return {"mean cosine, all pairs": plain, "mean_cosine": lambda: np.array([mean_cosine(vectors)])}


def evenness() -> Ways:
    vectors = drawn(5000, 384).astype(np.float64) * np.linspace(1, 5, 384)

    def plain() -> np.ndarray:
        turned = (vectors - vectors.mean(axis=0)) @ np.linalg.eigh(np.cov(vectors.T))[1]
        variances, d = np.diag(np.cov(turned.T)), vectors.shape[1]
        scaled = np.sqrt(d) * variances / np.linalg.norm(variances)
        defect = np.linalg.norm(scaled - 1) / np.sqrt(2 * (d - np.sqrt(d)))
        return np.array([(d * (d - defect**2 * (d - np.sqrt(d))) ** 2 / d**2 - 1) / (d - 1)])

    return {"IsoScore, seven steps": plain, "isoscore": lambda: np.array([isoscore(vectors)])}


def query_vectors() -> Ways:
    corpus, rng = drawn(5183, 256), np.random.default_rng(2)
    near = np.argsort(-corpus[:300] @ corpus.T, axis=1)[:, :60]
    sets = [rng.choice(row, 5, replace=False).tolist() for row in near]

    def plain() -> np.ndarray:
        return np.array([find_query_vectors([rows], corpus).ndcg[0] for rows in sets])

    return {"query vectors, set by set": plain, "find_query_vectors": lambda: find_query_vectors(sets, corpus).ndcg}


def query_words() -> Ways:
    words, corpus = drawn(2000, 128, 3), drawn(5183, 128)

    def encode(texts: list[str]) -> np.ndarray:
        return unit_rows(np.stack([words[[int(word[1:]) for word in text.split()]].sum(axis=0) for text in texts]))

    def found(shortlist: int | None) -> np.ndarray:
        rows, vocabulary = [1, 2, 3], [f"w{n}" for n in range(len(words))]
        return np.array([find_query_words(rows, corpus, vocabulary, encode, 3, shortlist=shortlist).loss])

    return {"query words, every word": lambda: found(None), "find_query_words, shortlist of 50": lambda: found(50)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--corpus", type=int, default=100_000)
    parser.add_argument("--csv", help="file for the raw figures")
    options = parser.parse_args()
    parts = (
        (search(options.corpus), 1e-5),
        (memory(options.corpus // 5), 1e-5),
        (cosine(), 1e-6),
        (evenness(), 1e-9),
        (query_vectors(), 0.05),  # in float32 the steps of a set depend on how many there are, by rounding
        (query_words(), 0.5),  # the guided way may miss the best word
    )
    for ways, tolerance in parts:
        plain, *others = (way() for way in ways.values())
        for other in others:
            np.testing.assert_allclose(other, plain, atol=tolerance, rtol=0)
    seconds = {name: [] for ways, _ in parts for name in ways}
    for _ in range(options.rounds):
        for ways, _ in parts:
            for name, way in ways.items():
                begun = time.process_time()
                way()
                seconds[name].append(time.process_time() - begun)
    for ways, _ in parts:
        first = statistics.median(seconds[next(iter(ways))])
        for name in ways:
            middle = statistics.median(seconds[name])
            print(f"{name:36} {middle:9.3f} s {first / middle:9.1f} times as fast as the first")
    write_csv(options.csv, seconds)


if __name__ == "__main__":
    main()
