"""Agreement and shortcuts on published data: BLOG_DATA names the folder that holds it.

`oracles` is from a reference; the other folders are named where they are read.
"""

import gzip
import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from blog.evaluation.agreement import krippendorff_alpha, majority_labels, vote_counts
from blog.shortcuts.artifacts import artifact_statistics
from blog.shortcuts.pinned_bias import error_rates, pair_differences, read_pairs
from blog.shortcuts.replacement import hypernym_path, hypernyms, matched_words, mentions, read_wordnet, replace_words

DATA = Path(os.environ.get("BLOG_DATA", ""))
pytestmark = pytest.mark.skipif(
    not (DATA / "wordnet30/synsets.tsv.gz").is_file(),
    reason="BLOG_DATA names no folder with wordnet30, davidson, hatemoderate, hatecheck and oracles",
)


def read(name: str) -> pd.DataFrame:
    if ".tsv" in name:
        return pd.read_csv(DATA / name, sep="\t")
    with gzip.open(DATA / name, "rt", encoding="utf-8") as lines:
        return pd.DataFrame([json.loads(line) for line in lines])


@pytest.fixture(scope="module")
def numbers() -> dict:
    return json.loads((DATA / "oracles/numbers.json").read_text())


@pytest.fixture(scope="module")
def tweets() -> pd.DataFrame:
    return read("davidson/labeled_data.jsonl.gz")


@pytest.fixture(scope="module")
def wordnet():
    return read_wordnet(DATA / "wordnet30")


VOTES = ["hate_speech", "offensive_language", "neither"]


def test_alpha_of_davidson(tweets, numbers):
    pytest.importorskip("krippendorff")
    found = krippendorff_alpha(tweets[VOTES], n_resamples=100)
    assert found.value == pytest.approx(numbers["davidson_shared_alpha_nominal"], abs=1e-12)
    assert found.low < found.value < found.high < found.low + 0.03


def test_the_published_class_of_davidson_is_the_majority(tweets):
    majority = majority_labels(tweets[VOTES])
    assert (majority == tweets["class"])[majority >= 0].all()


def of_annotators(columns: pd.DataFrame) -> np.ndarray:  # (items, labels)
    "Votes by columns of ratings; items that nobody rated count for nothing."
    return vote_counts(columns.astype(float))


def test_alpha_of_hatemoderate(numbers):
    pytest.importorskip("krippendorff")
    votes = read("hatemoderate/hate_votes_raw.tsv.gz").votes.str.split(";", expand=True)
    votes = votes.apply(pd.to_numeric, errors="coerce")
    valid = read("hatemoderate/nonhate_validity_raw.tsv.gz").filter(like="human")
    for ratings, name in ((votes, "hate_votes"), (valid, "nonhate_valid")):
        found = krippendorff_alpha(of_annotators(ratings), n_resamples=20)
        assert found.value == pytest.approx(numbers[f"hatemoderate_{name}_alpha_nominal"], abs=1e-12), name


def test_alpha_of_pandalm(numbers):
    pytest.importorskip("krippendorff")
    ratings = read("pandalm/pairs.jsonl.gz")[["annotator1", "annotator2", "annotator3"]]
    found = krippendorff_alpha(of_annotators(ratings), n_resamples=20)
    assert found.value == pytest.approx(numbers["pandalm_shared_human_alpha_nominal"], abs=1e-12)


def test_wordnet_is_read_whole_and_every_noun_has_a_root(wordnet):
    assert len(wordnet.nouns) == 82_115
    assert {path[-1] for noun in list(wordnet.senses)[::50] if (path := hypernym_path(noun, wordnet))} == {"entity"}
    assert hypernym_path("dogs", wordnet)[:4] == ["canine", "carnivore", "placental", "mammal"]
    assert hypernyms(["Muslims", "women", "geese"], wordnet, 1) == {
        "Muslims": "religious person",
        "women": "female",
        "geese": "anseriform bird",
    }
    with pytest.raises(ValueError, match="'entity' has no hypernym 1 up, since it is a root"):
        hypernyms(["entity"], wordnet, 1)


def test_words_of_comments_are_replaced_and_matched(wordnet):
    comments = read_pairs(DATA / "wiki_toxicity_pairs/pairs.jsonl.gz").text
    words = ["articles", "editor", "page"]
    found = replace_words(comments, hypernyms(words, wordnet, 2), wordnet)
    assert min(found.counts.values()) > 10 and found.changed.sum() > 50
    assert not replace_words(found.texts, {**hypernyms(words, wordnet, 1), "the": ""}, wordnet).counts["editor"]
    matched = matched_words(words, comments, wordnet, nearest=3)
    assert all(len(found) == 3 and not {"article", "editor", "page"} & {*found} for found in matched.values())


def test_pairs_that_differ_and_their_groups():
    pairs = read_pairs(DATA / "wiki_toxicity_pairs/pairs.jsonl.gz")
    assert (len(pairs), pairs.toxic.sum()) == (379, 88)
    length = [np.minimum(pairs[column].str.len() / 5000, 1) for column in ("text", "changed")]
    table = pair_differences(*length, {"toxic": pairs.toxic, "other": ~pairs.toxic})
    assert table.n.tolist() == [379, 88, 291]


def test_every_target_of_hatecheck_has_both_kinds_of_error():
    cases = read("hatecheck/cases.jsonl.gz")
    hateful = (cases.label_gold == "hateful").astype(int)
    targets = sorted(set(cases.target_ident) - {""})
    table = error_rates(np.ones_like(hateful), hateful, {name: cases.target_ident == name for name in targets})
    assert len(table) == 2 * len(targets) == 14 and (table.n > 0).all()
    assert set(table.share[table.rate == "false positive"]) == {1} and set(table.difference) == {0}


def test_templates_of_identity_terms_are_balanced(wordnet):
    rows, terms = (
        read("identity_terms/bias_madlibs_77k.tsv.gz"),
        read("identity_terms/adjectives_people_50.tsv.gz").term,
    )
    groups = mentions(rows.Text, {term: [term] for term in terms}, wordnet)
    bad = (rows.Label == "BAD").astype(int)
    table = error_rates(bad, 1 - bad, groups)  # wrong throughout, about all alike
    assert table.n.min() > 500 and (table.p_holm == 1).all()


def test_words_of_davidson_that_give_the_class_away(tweets):
    table = artifact_statistics(
        tweets.tweet, tweets["class"], ["hate", "offensive", "neither"], "empirical", min_texts=10
    )
    shares = tweets["class"].value_counts(normalize=True).sort_index()
    assert table.groupby("label", sort=False).prior.first().tolist() == pytest.approx(shares.tolist())
    significant = table[table.p_holm <= 0.05]
    assert 100 < len(significant) < len(table) / 4
    said = [set(re.findall(r"[a-z0-9']+", tweet.lower())) for tweet in tweets.tweet]
    for row in significant.nlargest(5, "n").itertuples():
        where = np.array([row.word in words for words in said])
        share = np.mean(tweets["class"][where] == ["hate", "offensive", "neither"].index(row.label))
        assert (row.n, row.p) == (where.sum(), pytest.approx(share))
        assert row.z == pytest.approx((share - row.prior) / np.sqrt(row.prior * (1 - row.prior) / row.n))
