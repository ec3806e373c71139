"""Agreement and shortcuts on published data: BLOG_DATA names the folder that holds it.

`oracles` is from a reference; the other folders are named where they are read.
"""

import gzip
import json
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact

from blog.data.hate_speech import hatecheck, identity_sentences
from blog.evaluation.agreement import krippendorff_alpha, majority_labels, vote_counts
from blog.shortcuts.artifacts import artifact_statistics
from blog.shortcuts.identities import frame_rates
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


WIKI_PAIRS = 754  # of 1,492 rows, the half that is shared


@pytest.fixture(scope="module")
def pairs() -> pd.DataFrame:
    return read_pairs(DATA / "wiki_toxicity_pairs/pairs.jsonl.gz")


def test_pairs_are_those_that_differ(pairs):
    every = read("wiki_toxicity_pairs/pairs.jsonl.gz")
    assert len(every) == every.rev_id.nunique() == WIKI_PAIRS
    differ = every[every.comment != every.fuzzed]
    assert (len(pairs), pairs.toxic.sum()) == (len(differ), differ.toxic.sum()) == (379, 88)
    assert (pairs.text == differ.comment.to_numpy()).all() and (pairs.changed == differ.fuzzed.to_numpy()).all()
    terms = {word for term in read("identity_terms/adjectives_people_50.tsv.gz").term for word in term.split()}
    came = [Counter(words(row.changed)) - Counter(words(row.text)) for row in pairs.itertuples()]
    assert all({*new} <= terms | {"jew"} for new in came)  # nothing but identities is swapped in, or changes places


def words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.lower())


def test_differences_of_pairs_are_those_counted_one_by_one(pairs):
    length = [np.minimum(pairs[column].str.len() / 5000, 1) for column in ("text", "changed")]
    groups = {"toxic": pairs.toxic, "other": ~pairs.toxic}
    table = pair_differences(*length, groups).set_index("group")
    assert table.n.tolist() == [379, 88, 291]
    for name, where in {"all": pairs.toxic | True, **groups}.items():
        moved = (length[1] - length[0])[where]
        assert table.difference[name] == pytest.approx(moved.mean(), abs=1e-12)
        assert table.absolute[name] == pytest.approx(moved.abs().mean(), abs=1e-12)
        assert table.low[name] <= moved.mean() <= table.high[name]


def test_decisions_that_flip_are_those_of_a_list_of_words(pairs):
    listed = {"gay", "black", "muslim", "lesbian", "jewish"}
    before, after = (np.array([bool(listed & {*words(text)}) for text in pairs[c]]) for c in ("text", "changed"))
    found = pair_differences(before.astype(float), after.astype(float)).iloc[0]
    up, down = int((after & ~before).sum()), int((before & ~after).sum())
    assert min(up, down) > 5  # as the comments were swapped at random, the list hits before and after
    assert (round(found.up * found.n), round(found.down * found.n)) == (up, down)
    assert found.net == pytest.approx((up - down) / len(pairs)) and found.flips == pytest.approx(
        (up + down) / len(pairs)
    )
    assert found.flips_low < found.flips < found.flips_high
    back = pair_differences(after.astype(float), before.astype(float)).iloc[0]
    assert (back.up, back.down, back.net) == (found.down, found.up, -found.net)


# Cases of each functionality as published: table 1 of Röttger et al. 2021
HATECHECK = {
    "derog_neg_emote_h": 140, "derog_neg_attrib_h": 140, "derog_dehum_h": 140, "derog_impl_h": 140, "threat_dir_h": 133,
    "threat_norm_h": 140, "slur_h": 144, "slur_homonym_nh": 30, "slur_reclaimed_nh": 81, "profanity_h": 140,
    "profanity_nh": 100, "ref_subs_clause_h": 140, "ref_subs_sent_h": 133, "negate_pos_h": 140, "negate_neg_nh": 133,
    "phrase_question_h": 140, "phrase_opinion_h": 133, "ident_neutral_nh": 126, "ident_pos_nh": 189,
    "counter_quote_nh": 173, "counter_ref_nh": 141, "target_obj_nh": 65, "target_indiv_nh": 65, "target_group_nh": 62,
    "spell_char_swap_h": 133, "spell_char_del_h": 140, "spell_space_del_h": 141, "spell_space_add_h": 173,
    "spell_leet_h": 173,
}  # fmt: skip
TARGETS = ["Muslims", "black people", "disabled people", "gay people", "immigrants", "trans people", "women"]


@pytest.fixture(scope="module")
def cases() -> pd.DataFrame:
    return read("hatecheck/cases.jsonl.gz").fillna({"target_ident": ""})


def test_hatecheck_has_the_published_cases_less_a_part_held_out(cases):
    assert sum(HATECHECK.values()) == 3728 == len(cases) + 1023
    counts = cases.functionality.value_counts()
    shares = pd.Series({name: counts[name] / count for name, count in HATECHECK.items()})
    assert len(counts) == len(HATECHECK) == 29
    assert shares.between(0.55, 0.9).all() and abs(shares.mean() - 0.7) < 0.05
    assert ((cases.label_gold == "hateful") == ~cases.functionality.str.endswith("_nh")).all()
    assert sorted(set(cases.target_ident)) == ["", *TARGETS]
    assert (cases.target_ident == "").sum() == cases.functionality.isin(
        ["target_obj_nh", "target_indiv_nh", "target_group_nh", "slur_homonym_nh", "profanity_nh"]
    ).sum() - (cases[cases.functionality.isin(["slur_homonym_nh", "profanity_nh"])].target_ident != "").sum()


def test_hatecheck_says_each_template_of_all_seven_groups(cases):
    templates = cases[cases.case_templ.str.contains("[IDENTITY", regex=False)]
    said = templates.groupby(["templ_id", "target_ident"]).size().unstack(fill_value=0)
    assert list(said) == TARGETS and (said == 1).all(axis=None) and len(said) == 298


def test_hatecheck_is_read_as_it_is_published(cases, tmp_path):
    cases.to_json(tmp_path / "test.jsonl", orient="records", lines=True)
    found = hatecheck(tmp_path)
    assert len(found) == len(cases) and found.functionality.nunique() == 29
    assert (found.hateful == (cases.label_gold == "hateful")).all()
    assert (found.group == cases.target_ident).all() and (found.text == cases.test_case).all()


def test_error_rates_of_hatecheck_count_the_cases_of_each_group(cases):
    lexicon = read("davidson/refined_ngram_dict.tsv.gz").ngram.str.lower()
    lexicon = re.compile(rf"\b(?:{'|'.join(map(re.escape, lexicon))})\b")
    said = cases.test_case.str.lower().str.contains(lexicon).astype(int).to_numpy()  # toxic where a phrase occurs
    hateful = (cases.label_gold == "hateful").astype(int).to_numpy()
    table = error_rates(said, hateful, {name: (cases.target_ident == name).to_numpy() for name in TARGETS})
    assert len(table) == 14 and 0 < table.errors.sum() < table.n.sum()
    for row in table.itertuples():
        kind, own = int(row.rate == "false negative"), (cases.target_ident == row.group).to_numpy()
        wrong, right_label = said != hateful, hateful == kind
        counted = [[(wrong & right_label & side).sum(), (~wrong & right_label & side).sum()] for side in (own, ~own)]
        (errors, others), n = (part[0] for part in counted), [sum(part) for part in counted]
        assert (row.errors, row.n) == (errors, n[0])
        assert row.difference == pytest.approx(errors / n[0] - others / n[1], abs=1e-12)
        assert row.p == pytest.approx(fisher_exact(counted).pvalue) and row.p_holm >= row.p
        assert row.low <= row.share <= row.high and row.difference_low <= row.difference <= row.difference_high
    hate = table[table.rate == "false negative"].set_index("group").n
    assert hate.sum() == hateful.sum() == 1869 and hate.nunique() == 2  # slurs are of some groups only


def test_who_is_wrong_throughout_is_so_about_every_group(cases):
    hateful = (cases.label_gold == "hateful").astype(int)
    table = error_rates(np.ones_like(hateful), hateful, {name: cases.target_ident == name for name in TARGETS})
    assert set(table.share[table.rate == "false positive"]) == {1} and set(table.difference) == {0}


@pytest.fixture(scope="module")
def sentences() -> pd.DataFrame:
    folder = DATA / "identity_terms"
    return identity_sentences(folder / "bias_madlibs_77k.tsv.gz", folder / "identity_terms.tsv.gz")


def test_identity_sentences_are_the_published_frames_said_of_each_term(sentences):
    table = read("identity_terms/bias_madlibs_77k.tsv.gz")
    assert len(table) == 76_564 and (table.Label == "BAD").sum() == 76_564 / 2
    of_people = table.Template != "you_occupation"
    assert len(sentences) == of_people.sum() == 75_700 and set(sentences.text) == set(table.Text[of_people])
    assert set(sentences.term) == set(read("identity_terms/adjectives_people_50.tsv.gz").term)
    cells = sentences.groupby(["toxic", "frame"]).term
    assert set(cells.size()) == set(cells.nunique()) == {50} and cells.ngroups == 2 * 757
    assert (sentences.text == [f.replace("...", t) for f, t in zip(sentences.frame, sentences.term, strict=True)]).all()


def test_who_suspects_one_identity_is_found_by_it(sentences):
    harmless = sentences[~sentences.toxic].reset_index(drop=True)
    few = harmless[harmless.frame.isin(harmless.frame.unique()[::25])]
    wrong = np.stack([few.term.isin(["gay", extra]).astype(float) for extra in ("muslim", "queer", "muslim")])
    table = frame_rates(wrong, few.term.tolist(), few.frame.tolist(), n_resamples=200).set_index("group")
    assert len(table) == 50 and (table.frames == few.frame.nunique()).all()
    rates = {"gay": 1, "muslim": 2 / 3, "queer": 1 / 3, "old": 0}
    assert {name: table.rate[name] for name in rates} == pytest.approx(rates)
    assert table.others["gay"] == pytest.approx(1 / 49) and table.difference["old"] == pytest.approx(-2 / 49)


def test_templates_of_identity_terms_are_balanced(wordnet):
    rows, terms = (
        read("identity_terms/bias_madlibs_77k.tsv.gz"),
        read("identity_terms/adjectives_people_50.tsv.gz").term,
    )
    groups = mentions(rows.Text, {term: [term] for term in terms}, wordnet)
    bad = (rows.Label == "BAD").astype(int)
    table = error_rates(bad, 1 - bad, groups)  # wrong throughout, about all alike
    assert table.n.min() > 500 and (table.p_holm == 1).all()


def test_words_of_davidson_that_give_the_class_away(tweets, numbers):
    table = artifact_statistics(
        tweets.tweet, tweets["class"], ["hate", "offensive", "neither"], "empirical", min_texts=10
    )
    shares = tweets["class"].value_counts(normalize=True).sort_index()
    assert table.groupby("label", sort=False).prior.first().tolist() == pytest.approx(shares.tolist())
    prior = table.groupby("label").prior.first()
    assert -(prior * np.log2(prior)).sum() == pytest.approx(numbers["davidson_shared_label_entropy_bits"], abs=1e-9)
    significant = table[table.p_holm <= 0.05]
    assert 100 < len(significant) < len(table) / 4
    said = [set(re.findall(r"[a-z0-9']+", tweet.lower())) for tweet in tweets.tweet]
    for row in significant.nlargest(5, "n").itertuples():
        where = np.array([row.word in words for words in said])
        share = np.mean(tweets["class"][where] == ["hate", "offensive", "neither"].index(row.label))
        assert (row.n, row.p) == (where.sum(), pytest.approx(share))
        assert row.z == pytest.approx((share - row.prior) / np.sqrt(row.prior * (1 - row.prior) / row.n))
