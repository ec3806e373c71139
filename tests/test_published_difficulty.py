"""The measures of blog.difficulty against published ones, text by text: BLOG_DATA names the folder that holds them.

`pvi_oracle` is from Ethayarajh et al. 2022, `davidson` from Davidson et al. 2017, `oracles` from a reference.
"""

import gzip
import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from blog.difficulty.divergence import unigram_divergence
from blog.difficulty.usable_information import information

DATA = Path(os.environ.get("BLOG_DATA", ""))
pytestmark = pytest.mark.skipif(
    not (DATA / "pvi_oracle/summary.tsv.gz").is_file(),
    reason="BLOG_DATA names no folder with pvi_oracle, davidson and oracles",
)
DIGITS = 1.01e-4  # published with four to six digits, per-example values with four or five


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(DATA / "pvi_oracle" / name, sep="\t")


def spread(bits: pd.Series, labels: np.ndarray, classes: int, right: np.ndarray | None = None) -> np.ndarray:
    "Distributions that give the label so many bits: the rest goes to the next class, or evenly where nobody knows."
    p = np.exp2(-np.asarray(bits, dtype=np.float64))
    full = np.tile(((1 - p) / (classes - 1))[:, None], (1, classes))
    full[np.arange(len(p)), labels] = p
    if right is not None:  # of two classes, what is rounded to one half is decided by what was published
        assert ((full.argmax(1) == labels) != right).sum() <= ((p - 0.5).__abs__() < 1e-3).sum()
    return full


def published() -> pd.DataFrame:
    return read("summary.tsv.gz").set_index("file")


def compare(found, row: pd.Series, measures: dict[str, str]) -> None:
    assert found.n == row.n
    for ours, theirs in measures.items():
        assert getattr(found, ours) == pytest.approx(row[theirs], abs=DIGITS), (row.name, ours)


ALL = {"information": "V_info", "label_entropy": "H_y", "ratio": "ratio", "accuracy": "accuracy", "mcc": "mcc"}
WITHOUT_PREDICTIONS = {name: ALL[name] for name in ("information", "label_entropy", "ratio")}


def test_cola_all_five_measures_of_39_settings():
    summary, settings = published(), read("cola_id_dev_pvi.tsv.gz").groupby(["model", "setting"])
    assert settings.ngroups == 39
    for (model, setting), rows in settings:
        labels = rows.label.to_numpy()
        p = spread(rows.H_yx, labels, 2, rows.correct.to_numpy() == 1)
        found = information(p, spread(rows.H_yb, labels, 2), labels, n_resamples=10)
        compare(found, summary.loc[f"PVI/{model}_{setting}.csv"], ALL)


def test_snli_and_multinli_means_and_ratios_of_24_settings():
    summary, snli, nli = published(), read("snli_test_pvi.tsv.gz"), read("multinli_validation_pvi.tsv.gz")
    settings = [column.rsplit(":", 1)[0] for column in snli if column.endswith(":PVI")]
    assert len(settings) == 23
    for setting in settings:
        model, name = setting.split(":")
        null = snli.get(f"{setting}:H_yb", snli.get(f"{model}:snli_std_test:H_yb"))
        columns = null, null - snli[f"{setting}:PVI"]
        p = [spread(column, snli.label.to_numpy(), 3) for column in columns[::-1]]
        found = information(*p, snli.label.to_numpy(), n_resamples=10)
        compare(found, summary.loc[f"PVI/{model}_{name}.csv"], WITHOUT_PREDICTIONS)
    p = [spread(nli[column], nli.label.to_numpy(), 3) for column in ("H_yx", "H_yb")]
    found = information(*p, nli.label.to_numpy(), n_resamples=10)
    compare(found, summary.loc["PVI/bert-base-cased_multinli_validation_std.csv"], WITHOUT_PREDICTIONS)


def numbers() -> dict:
    return json.loads((DATA / "oracles/numbers.json").read_text())


def test_davidson_means_of_the_rows_at_hand():  # the summary is of rows that are held back as well
    rows, expected = read("dwmw_pvi.tsv.gz"), numbers()
    labels = rows.label.to_numpy()
    for name, mean in expected["dwmw_shared_rows_mean_PVI"].items():
        null = rows[name.replace(":PVI", ":H_yb")]
        found = information(spread(null - rows[name], labels, 3), spread(null, labels, 3), labels, n_resamples=10)
        assert found.information == pytest.approx(mean, abs=1e-5), name
        entropy = expected["dwmw_shared_rows_mean_H_yb"][name.replace(":PVI", ":H_yb")]
        assert found.label_entropy == pytest.approx(entropy, abs=1e-5), name


@pytest.fixture(scope="module")
def tweets() -> tuple[list[str], np.ndarray]:
    with gzip.open(DATA / "davidson/labeled_data.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [row["tweet"] for row in rows], np.array([row["class"] for row in rows])


def test_divergence_of_davidson_to_nine_digits(tweets):
    expected = {str(alpha): f"davidson_shared_js_laplace_alpha{alpha:g}" for alpha in (1.0, 0.1, 0.01)}
    expected["(500, 750)"] = "davidson_shared_js_gothate_estimator_no_stoplist"
    begun = time.perf_counter()
    table = unigram_divergence(*tweets, ["H", "O", "N"], [1.0, 0.1, 0.01, (500, 750)], permutations=5)
    print(f"{time.perf_counter() - begun:.2f} s")
    for row in table.itertuples():
        known = numbers()[expected[row.smoothing]][f"{row.a}-{row.b}"]
        assert row.divergence == pytest.approx(known, abs=1e-9), row
    assert (table.divergence > table.null_high).all()


def test_the_published_row_is_met_as_near_as_other_stop_words_allow(tweets):
    stop = {*ENGLISH_STOP_WORDS, "rt", "amp"}  # theirs were of four languages, after a cleaning that is not at hand
    table = unigram_divergence(*tweets, ["H", "O", "N"], [(500, 750)], permutations=0, pattern=r"[^\W_]+", stop=stop)
    theirs = numbers()["gothate_notebook_js"]["Davidson"]
    for row in table.itertuples():
        assert row.divergence == pytest.approx(theirs[f"{row.a}-{row.b}"], rel=0.25), row
