"""Retrieval on published data: BLOG_DATA names the folder that holds it.

`oracles` is from a reference; SciFact is read from its authors' files.
"""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from blog.core.outcomes import read_outcomes
from blog.core.records import preset_records
from blog.data.retrieval import RetrievalSet, retrieval_set
from blog.embeddings.query_search import centroids, find_query_vectors
from blog.embeddings.search import bm25_searcher, exact_search, lsa_encoder, ndcg, recall, retrieval_table

DATA = Path(os.environ.get("BLOG_DATA", ""))
pytestmark = pytest.mark.skipif(
    not (DATA / "scifact/corpus.jsonl.gz").is_file(), reason="BLOG_DATA names no folder with scifact and oracles"
)


@pytest.fixture(scope="module")
def claims() -> RetrievalSet:
    return retrieval_set(DATA / "scifact")


@pytest.fixture(scope="module")
def vectors(claims) -> np.ndarray:
    texts = claims.documents["text"][:]
    return lsa_encoder(texts, 64, min_documents=3)(texts)


def test_claims_and_their_documents(claims):
    assert (len(claims.documents), len(claims.queries)) == (5183, 807)
    assert sum(map(len, claims.relevant)) == 917
    assert claims.documents["text"][0].startswith("Microstructural development of human newborn")


def test_bm25_of_scifact(claims):
    pytest.importorskip("bm25s", reason='bm25s is not installed: pip install -e ".[embeddings]"')
    pytest.importorskip("Stemmer", reason='PyStemmer is not installed: pip install -e ".[embeddings]"')
    published = json.loads((DATA / "oracles/numbers.json").read_text())["scifact_train_claims_bm25"]
    hits = bm25_searcher(claims.documents["text"][:])(claims.queries["text"][:], 100)
    assert ndcg(hits, claims.relevant, 10).mean() == pytest.approx(published["ndcg@10"], abs=1e-9)
    assert recall(hits, claims.relevant, 100).mean() == pytest.approx(published["recall@100"], abs=1e-9)
    table = retrieval_table({"BM25": hits}, claims.relevant).set_index("measure")
    assert table["mean"].round(3).tolist() == [0.695, 0.927]
    assert (table.low < table["mean"]).all() and (table["mean"] < table.high).all() and (table.n == 807).all()


def test_search_of_scifact_equals_faiss(vectors):
    faiss = pytest.importorskip("faiss", reason='faiss-cpu is not installed: pip install -e ".[embeddings]"')
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    scores, documents = index.search(vectors[:200], 50)
    hits = exact_search(vectors[:200], vectors, 50)
    np.testing.assert_allclose(hits.scores, scores, atol=1e-5)
    elsewhere = hits.documents != documents  # only where two scores are the same to rounding
    assert elsewhere.mean() < 0.01
    ours = np.einsum("qd,qkd->qk", vectors[:200], vectors[documents])
    assert np.abs(ours - hits.scores)[elsewhere].max(initial=0) < 1e-5


def test_no_query_vector_is_worse_than_its_centroid(claims, vectors):
    cited = sorted({tuple(sorted(rows)) for rows in claims.relevant if len(rows) > 1})
    drawn = [
        np.random.default_rng(seed).choice(len(vectors), 5, replace=False).tolist() for seed in range(300 - len(cited))
    ]
    sets = [*map(list, cited), *drawn]
    begun = time.process_time()
    found = find_query_vectors(sets, vectors)
    seconds = time.process_time() - begun
    print(f"300 query sets on 5,183 documents: {seconds:.1f} s of processor time")
    relevant = [dict.fromkeys(rows, 1.0) for rows in sets]
    plain = ndcg(exact_search(centroids(sets, vectors), vectors), relevant)
    assert (ndcg(exact_search(found.vectors, vectors), relevant) >= plain).all()
    assert found.ndcg.mean() > plain.mean() + 0.02


def test_records_of_found_queries_meet_the_reference():
    if not (runs := preset_records("finding-queries", "minilm")):
        pytest.skip("there are no records of finding_queries, preset minilm")
    published = json.loads((DATA / "oracles/numbers.json").read_text())["scifact_train_claims_bm25"]
    rows = read_outcomes("finding-queries", record=[run["name"] for run in runs], condition="claim, BM25")
    means = rows.groupby("measure")["score"].mean()
    assert means["claims, nDCG@10"] == pytest.approx(published["ndcg@10"], abs=1e-9)
    assert means["claims, recall@100"] == pytest.approx(published["recall@100"], abs=1e-9)
    checked = [one for run in runs for one in run["summary"]["never worse"]]
    assert {one["space"] for one in checked} == {"SciFact, LSA", "SciFact, MiniLM"}
    assert all(one["worse"] == 0 and one["sets"] == 300 for one in checked)
    assert all(after >= before for one in checked for before, after in one["means"].values())
