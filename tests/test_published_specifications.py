"""Test suites on published data: BLOG_DATA names the folder that holds it."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from blog.specifications.suites import (
    case_outcomes,
    detector_failure_rates,
    failure_rates,
    read_suite,
    split_suite,
    suite_labels,
    suite_texts,
)

DATA = Path(os.environ.get("BLOG_DATA", ""))
pytestmark = pytest.mark.skipif(
    not (DATA / "hatecheck/cases.jsonl.gz").is_file(),
    reason="BLOG_DATA names no folder with hatecheck, hatecheck_multilingual, hatemoderate and checklist_sentiment",
)


def test_functionalities_of_hatecheck():
    suite = read_suite(DATA / "hatecheck")
    assert len(suite) == 29 and suite_labels(suite) == ["hateful", "non-hateful"]
    assert sum(len(spec.examples) for spec in suite) == 2705
    assert all(spec.name.endswith("_nh") == (spec.labels == ("non-hateful",)) for spec in suite)
    assert all(spec.statement.endswith("hateful.") for spec in suite)
    table = pd.read_json(DATA / "hatecheck/cases.jsonl.gz", lines=True)
    templates = table.groupby("functionality").templ_id.nunique()
    assert {spec.name: spec.examples.template.nunique() for spec in suite} == templates.to_dict()


def test_sides_of_hatecheck_share_no_template_and_no_variant():
    table = pd.read_json(DATA / "hatecheck/cases.jsonl.gz", lines=True, dtype={"ref_templ_id": str})
    origin = dict(zip(table.templ_id.astype(str), table.ref_templ_id, strict=True))
    for seed in range(2):
        suite = split_suite(read_suite(DATA / "hatecheck"), 0.3, seed)
        sides = [
            {name.removeprefix("template ") for s in suite for name in getattr(s, part).template}
            for part in ("examples", "heldout")
        ]
        assert not sides[0] & sides[1]
        for own, other in (sides, sides[::-1]):
            assert not {origin[template] for template in own} & other
        shares = [len(s.heldout) / (len(s.heldout) + len(s.examples)) for s in suite]
        assert min(shares) > 0 and max(shares) < 1 and abs(np.mean(shares) - 0.3) < 0.05


@pytest.mark.parametrize("path", sorted((DATA / "hatecheck_multilingual").glob("*.jsonl.gz")), ids=lambda p: p.name)
def test_other_languages(path):
    suite = read_suite(path)
    assert 25 <= len(suite) <= 28 and suite_labels(suite) == ["hateful", "non-hateful"]
    table = pd.read_json(path, lines=True)
    once = table.assign(test_case=table.test_case.str.strip()).drop_duplicates(["functionality", "test_case"])
    assert sum(len(spec.examples) for spec in suite) == len(once)
    split_suite(suite)


def test_guidelines_of_hatemoderate_and_detectors():
    suite = read_suite(DATA / "hatemoderate")
    assert len(suite) == 82 and len({spec.name.rsplit(": ", 1)[0] for spec in suite}) == 41
    assert all(len(spec.statement) > 20 for spec in suite)
    rates = detector_failure_rates(DATA / "hatemoderate")
    assert set(rates.columns) == {"cardiffnlp", "facebook", "google", "openai", "n"}
    assert set(rates.index) == {spec.name for spec in suite}
    assert ((rates.drop(columns="n") >= 0) & (rates.drop(columns="n") <= 1)).all(axis=None)
    assert all(len(spec.examples) and len(spec.heldout) for spec in split_suite(suite, 0.3))


def test_checks_of_checklist():
    suite = read_suite(DATA / "checklist_sentiment")
    checks = pd.Series([spec.check for spec in suite]).value_counts().to_dict()
    assert checks == {"label": 20, "same": 10, "up": 1, "surer": 1}
    of = {spec.name: spec for spec in suite}
    assert of["Vocabulary: Sentiment-laden words in context (negative)"].labels == ("negative",)
    either = [spec for spec in suite if spec.labels == ("neutral", "positive")]
    assert len(either) == 2 and all("neutral" in spec.statement and "positive" in spec.statement for spec in either)
    assert of["Vocabulary: add positive phrases"].labels == ("negative", "neutral", "positive")
    simple = of["Negation: simple negations: negative"].examples
    assert 10 < simple.template.nunique() < len(simple) / 5  # words of its own are masked
    assert "{thing}" in simple.template.iloc[0] and "{word}" in simple.template.iloc[0]


def test_a_model_that_always_says_one_thing():
    suite = read_suite(DATA / "hatecheck")
    always = np.tile([1.0, 0.0], (len(suite_texts(suite)), 1))
    table = failure_rates(case_outcomes(suite, always, ["hateful", "non-hateful"])).set_index("specification")
    assert table.n.sum() == 2705
    assert {name: rate == 1 for name, rate in table.rate.items()} == {
        name: name.endswith("_nh") for name in table.index
    }
    assert (table.low[table.rate == 1] < 1).all() and (table.high[table.rate == 0] > 0).all()

    suite = read_suite(DATA / "checklist_sentiment")
    always = np.tile([0.0, 1.0, 0.0], (len(suite_texts(suite)), 1))
    table = failure_rates(case_outcomes(suite, always, ["negative", "neutral", "positive"])).set_index("specification")
    assert (table.rate[[spec.name for spec in suite if spec.check in ("same", "up")]] == 0).all()
    assert "Vocabulary: intensifiers" not in table.index  # it applies to what is thought positive or negative
