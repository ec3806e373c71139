"""Comparisons on published data: BLOG_DATA names the folder that holds it.

`oracles` is from a reference; UKPConvArg1's votes and ranks, PandaLM's annotators and judges, and the pairs of LLMBar
and Auto-J are read from their files.
"""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, f1_score

from blog.evaluation.agreement import krippendorff_alpha
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


ANNOTATORS = ["annotator1", "annotator2", "annotator3"]


def read(name: str) -> pd.DataFrame:
    if not (path := DATA / f"{name}.jsonl.gz").is_file():
        pytest.skip(f"BLOG_DATA has no {name}")
    return pd.read_json(path, lines=True)


def ahead_by_length(first: pd.Series, second: pd.Series) -> np.ndarray:
    return (first.astype(str).str.len() - second.astype(str).str.len()).to_numpy()


def right(ahead: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    return (1 + np.sign(ahead) * np.sign(2 * outcomes - 1)) / 2


def test_annotators_and_a_judge_as_published():
    published = json.loads((DATA / "oracles/numbers.json").read_text())
    pairs = read("pandalm/pairs")
    votes = np.stack([np.bincount(row, minlength=3) for row in pairs[ANNOTATORS].to_numpy()])
    pytest.importorskip("krippendorff", reason='krippendorff is not installed: pip install -e ".[shortcuts]"')
    alpha = krippendorff_alpha(votes, n_resamples=20)
    assert alpha.value == pytest.approx(published["pandalm_shared_human_alpha_nominal"], abs=1e-9)
    majority, judge = votes.argmax(axis=1), published["pandalm_shared_pandalm7b"]
    assert accuracy_score(majority, pairs["pandalm7b"]) == pytest.approx(judge["accuracy"])
    assert f1_score(majority, pairs["pandalm7b"], average="macro") == pytest.approx(judge["macro_f1"])


def test_annotators_agree_with_each_other_more_than_with_a_judge_and_least_with_length():
    pytest.importorskip("trl", reason='trl is not installed: pip install -e ".[preferences]"')
    from blog.preferences.reward_models import annotator_agreement

    pairs = read("pandalm/pairs")
    outcomes = pairs[ANNOTATORS].replace({0: 0.5, 2: 0}).to_numpy(float)  # 0 is a tie, 1 and 2 the better response
    number, annotator = np.divmod(np.arange(outcomes.size), 3)
    judges = {"model": pairs["pandalm7b"].map({0: 0, 1: 1, 2: -1}).to_numpy()}
    judges["length"] = ahead_by_length(pairs["response1"], pairs["response2"])
    found = {
        name: annotator_agreement(number, annotator, outcomes.ravel(), ahead[number]) for name, ahead in judges.items()
    }
    assert (found["model"]["with_others"] > 0.85).all()
    assert (found["model"]["with_model"] < found["model"]["with_others"] - 0.1).all()
    assert (found["length"]["with_model"] < found["model"]["with_model"]).all()


def test_length_is_right_about_preferences_and_wrong_about_adversarial_pairs():
    pairs = read("llmbar/llmbar")
    scores = pairs.assign(right=right(ahead_by_length(pairs["output_1"], pairs["output_2"]), pairs["label"] == 1))
    natural = pairs["subset"] == "Natural"
    assert scores["right"][natural].mean() > 0.5 > 0.3 > scores["right"][~natural].mean()
    pairs = read("autoj/pairs")
    decided = pairs[pairs["label"] < 2]  # 2 is a tie
    length = ahead_by_length(decided["response 1"], decided["response 2"])
    assert right(length, decided["label"] == 0).mean() > 0.7
