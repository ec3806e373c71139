"""Comparisons on published data: BLOG_DATA names the folder that holds it.

`oracles` is from a reference; UKPConvArg1's votes and ranks are read from its files.
"""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from blog.preferences.comparisons import bradley_terry, cyclic_share

DATA = Path(os.environ.get("BLOG_DATA", ""))
pytestmark = pytest.mark.skipif(
    not (DATA / "ukpconvarg1/pairs.jsonl.gz").is_file(), reason="BLOG_DATA names no folder with ukpconvarg1 and oracles"
)


@pytest.fixture(scope="module")
def topics() -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """First, second and outcome of each vote for a side, and the published ranks, by topic."""
    arguments, pairs = (
        pd.read_json(DATA / f"ukpconvarg1/{name}.jsonl.gz", lines=True) for name in ("arguments", "pairs")
    )
    found = []
    for topic, own in arguments.groupby("topic"):
        number = {name: row for row, name in enumerate(own["id"])}
        votes = [
            (number[pair.arg1], number[pair.arg2], float(said == "a1"))
            for pair in pairs[pairs["topic"] == topic].itertuples()
            for _, said, _ in pair.votes
            if said != "equal"
        ]
        first, second, outcomes = (np.array(part) for part in zip(*votes, strict=True))
        found.append((first, second, outcomes, own["rank"].to_numpy()))
    return found


def test_scores_of_votes_and_published_ranks(topics):
    published = json.loads((DATA / "oracles/numbers.json").read_text())["ukpconvarg1_shared_bt_vs_published_rank"]
    rhos = [spearmanr(bradley_terry(*votes, len(rank)), rank)[0] for *votes, rank in topics]
    assert len(rhos) == published["topics"] == 26
    assert np.mean(rhos) == pytest.approx(published["mean_spearman"], abs=0.002)
    assert min(rhos) == pytest.approx(published["min"], abs=0.005)


def test_scores_equal_choix(topics):
    choix = pytest.importorskip("choix", reason='choix is not installed: pip install -e ".[preferences]"')
    first, second, outcomes, rank = min(topics, key=lambda topic: len(topic[0]))
    data = [(i, j) if won else (j, i) for i, j, won in zip(first.tolist(), second.tolist(), outcomes, strict=True)]
    reference = choix.opt_pairwise(len(rank), data, alpha=0.01, tol=1e-10)
    assert bradley_terry(first, second, outcomes, len(rank)) == pytest.approx(reference, abs=1e-4)


def test_votes_of_a_topic_seldom_run_in_cycles(topics):
    shares = [cyclic_share(first, second, outcomes) for first, second, outcomes, _ in topics]
    assert 0 < np.mean(shares) < 0.15  # a quarter where votes are tossed coins
