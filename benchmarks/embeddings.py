"""Search and query search, each against its plain twin.

search: the 100 best of 100,000 vectors of width 384 for 100 queries; the twin sorts all scores of one query after the
other; faiss, where it is installed, does not define the order of ties.
mean cosine: all pairs of 2,000 vectors of width 384; the twin makes the matrix of cosines.
IsoScore: 5,000 vectors of width 384; the twin takes the seven published steps.
query vectors: 100 sets of five on 5,183 documents of width 256; the twin takes one set after the other.
memory: the 16 nearest by distance of 20,000 states of width 64 for 500 contexts; the twin sorts all.
query words: one set, 2,000 words; the twin tries every word, the guided way 50 at each step.
hulls: which of 60 points, half of them inside, lie in the hull of 20 sentences of width 384; the twin solves a linear
program of each point, which also says how far outside it is.
mining: semi-hard triplets of a batch of 16 classes with 8 rows; the twin goes through every triplet.
LogME: 60 rows of width 24, 3 classes; the twin searches the largest evidence by the density of the Gaussian.
training together: 60 small models for 40 steps; the twin trains one after the other.
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec

import numpy as np
import torch
from harness import Case
from scipy.optimize import linprog, minimize
from scipy.stats import multivariate_normal
from torch.nn.functional import cross_entropy

from blog.embeddings.convex_sets import hull_points, in_hull, outside_points
from blog.embeddings.geometry import isoscore, mean_cosine, unit_rows
from blog.embeddings.knn_lm import Datastore, neighbours
from blog.embeddings.query_search import find_query_vectors, find_query_words
from blog.embeddings.search import exact_search
from blog.embeddings.transferability import logme, train_together
from blog.embeddings.triplets import mined_triplets

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
    near = np.argsort(-corpus[:100] @ corpus.T, axis=1)[:, :60]
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


def hulls() -> Ways:
    vectors = drawn(20, 384, 4).astype(np.float64)
    inside, _ = hull_points(vectors, 30)
    points = np.concatenate([inside, outside_points(inside, vectors)])

    def plain() -> np.ndarray:
        count, ones = len(vectors), np.ones((vectors.shape[1], 1))
        above = np.block([[vectors.T, -ones], [-vectors.T, -ones]])
        equal, cost = np.r_[np.ones(count), 0.0][None], np.r_[np.zeros(count), 1.0]
        found = (linprog(cost, above, np.r_[point, -point], equal, [1.0], bounds=(0, None)) for point in points)
        return np.array([one.fun < 1e-7 for one in found])

    return {"hulls, linear program": plain, "in_hull": lambda: in_hull(points, vectors)}


def mining() -> Ways:
    places, labels = np.random.default_rng(5).normal(size=(128, 8)), np.arange(128) % 16
    distances = np.linalg.norm(places[:, None] - places, axis=2)

    def plain() -> np.ndarray:
        found, rows = [], range(len(labels))
        for a in rows:
            others = [n for n in rows if labels[n] != labels[a]]
            for p in (p for p in rows if p != a and labels[p] == labels[a]):
                beyond = [n for n in others if distances[a][n] > distances[a][p]]
                far = max(others, key=lambda n, a=a: distances[a][n])
                found.append((a, p, min(beyond, key=lambda n, a=a: distances[a][n]) if beyond else far))
        return np.array(found)

    return {"mining, every triplet": plain, "mined_triplets": lambda: mined_triplets(distances, labels, "semi-hard")}


def evidence() -> Ways:
    rng, labels = np.random.default_rng(6), np.arange(60) % 3
    features = rng.normal(size=(60, 24)) + 0.8 * np.eye(3)[labels] @ rng.normal(size=(3, 24))

    def of_class(y: np.ndarray) -> float:
        def loss(logs: np.ndarray) -> float:
            covariance = np.eye(60) / np.exp(logs[1]) + features @ features.T / np.exp(logs[0])
            return -float(multivariate_normal(np.zeros(60), covariance, allow_singular=True).logpdf(y))

        starts = [(a, b) for a in (-2.0, 2.0, 6.0) for b in (0.0, 2.0)]
        return -min(minimize(loss, start, method="Nelder-Mead").fun for start in starts)

    def plain() -> np.ndarray:
        return np.array([np.mean([of_class((labels == label).astype(float)) for label in range(3)]) / 60])

    return {"LogME, by search": plain, "logme": lambda: np.array([logme(features, labels)])}


def together() -> Ways:
    generator = torch.Generator().manual_seed(7)
    draw = lambda *shape: torch.randn(*shape, generator=generator)
    begin = {"hidden": draw(60, 6, 8), "head": draw(60, 8, 3)}
    tables = [(draw(40, 6), torch.arange(40) % 3) for _ in range(60)]

    def loss(model: dict, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return cross_entropy(torch.tanh(x @ model["hidden"]) @ model["head"], y)

    def trained(start: dict, rows: list) -> np.ndarray:  # all 40 rows at each step, in any order
        found = train_together(loss, start, rows, steps=40, batch_size=40, learning_rate=0.01)
        return torch.cat([value.flatten(start_dim=1) for value in found.values()], dim=1).numpy()

    def plain() -> np.ndarray:
        models = []
        for number, table in enumerate(tables):
            model = {name: value[number].clone().requires_grad_() for name, value in begin.items()}
            optimizer = torch.optim.Adam(model.values(), 0.01)
            for _ in range(40):
                optimizer.zero_grad()
                loss(model, *table).backward()
                optimizer.step()
            models.append(torch.cat([value.detach().flatten() for value in model.values()]))
        return torch.stack(models).numpy()

    return {"training, one by one": plain, "train_together": lambda: trained(begin, tables)}


def cases() -> Iterator[Case]:
    yield Case("search", search(100_000), 1e-5)
    yield Case("memory of a kNN-LM", memory(20_000), 1e-5)
    yield Case("mean cosine", cosine(), 1e-6)
    yield Case("IsoScore", evenness(), 1e-9)
    yield Case("query vectors", query_vectors(), 0.05)  # float32: steps of a set depend on how many there are
    yield Case("query words", query_words(), 0.5)  # the guided way may miss the best word
    yield Case("convex hull", hulls())
    yield Case("semi-hard triplets", mining())
    yield Case("LogME", evidence(), 1e-3)
    yield Case("training together", together(), 1e-3)  # the same rows are added up in another order
