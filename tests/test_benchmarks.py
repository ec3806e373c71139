"""The harness of the benchmarks: results are compared, ways take turns, and a part takes the place of its old rows."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import harness


def test_ways_take_turns_and_a_call_counts_for_its_units():
    calls = []
    ways = {name: lambda name=name: calls.append(name) or np.ones(2) for name in ("plain", "fast")}
    rows = list(harness.measure(harness.Case("a", ways, unit="text", units={"plain": 1, "fast": 4}), rounds=2))
    assert calls == ["plain", "fast"] * 4  # compared, their memory, and two rounds
    seconds = [row for row in rows if row["measure"] == "seconds"]
    assert [(row["way"], row["round"], row["unit"]) for row in seconds[:2]] == [
        ("plain", 1, "s a text"),
        ("fast", 1, "s a text"),
    ]
    assert len(seconds) == 4 and len(rows) == 6


@pytest.mark.parametrize("other", [np.array([1.0, 2.1]), np.ones(3), np.array([1.0, np.inf]), ["a", "b"]])
def test_a_way_that_differs_ends_the_run_and_is_named(other):
    case = harness.Case("a", {"plain": lambda: np.array([1.0, 2.0]), "fast": lambda: other}, tolerance=0.01)
    with pytest.raises(AssertionError, match="a: fast differs from plain"):
        list(harness.measure(case, rounds=1))


def test_operations_are_counted_where_a_case_asks_for_it_in_place_too():
    one, other = torch.ones(2, 3), torch.ones(3, 5)
    ways = {"plain": lambda: one @ other, "in place": lambda: torch.zeros(2, 5).addmm_(one, other)}
    rows = list(harness.measure(harness.Case("a", ways, unit="row", units=2, count=True), rounds=1))
    counted = [(row["way"], row["value"], row["unit"]) for row in rows if row["measure"] == "products"]
    assert counted == [(way, 2 * 2 * 3 * 5 / 2 / 1e9, "billions a row") for way in ways]


def test_what_stands_apart_is_not_compared():
    ways = {"plain": lambda: 1.0, "without": lambda: None}
    assert len(list(harness.measure(harness.Case("a", ways, apart=["without"]), rounds=1))) == 4


@pytest.mark.parametrize("one, other", [([1, np.nan], [1, np.nan]), ([np.inf], [np.inf]), ([], []), (["é"], ["é"])])
def test_equal_results_have_no_difference(one, other):
    assert harness.difference(np.array(one), np.array(other)) == 0


def test_gradients_that_are_only_rounding_do_not_count():
    model = torch.nn.Linear(2, 1)
    model.weight.grad, model.bias.grad = torch.tensor([[3.0, 4.0]]), torch.tensor([1e-9])
    first = harness.log_norms(model, torch.tensor([1.0]))
    model.bias.grad *= 7
    assert harness.difference(harness.log_norms(model, torch.tensor([1.0])), first) == 0


def test_the_rows_of_a_part_take_the_place_of_its_earlier_ones(tmp_path):
    path, row = (
        tmp_path / "results.csv",
        {"case": "a", "way": "w", "role": "way", "round": 1, "measure": "seconds", "unit": "s"},
    )
    harness.write(path, "one", [row | {"value": 1.0}, row | {"value": 2.0, "round": 2}])
    harness.write(path, "other", [row | {"value": 3.0}])
    harness.write(path, "one", [row | {"value": 4.0}])
    with path.open() as file:
        found = list(csv.DictReader(file))
    assert [(entry["part"], entry["value"]) for entry in found] == [("one", "4"), ("other", "3")]
    assert all(entry["torch"] and entry["cpu"] and entry["date"] for entry in found)


def test_an_unknown_part_is_refused_with_those_that_there_are():
    done = subprocess.run([sys.executable, "benchmarks", "speed"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "there is no part speed: choose from describing," in done.stderr


def test_every_part_is_there_and_every_file_is_a_part():
    files = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {"harness", "__main__"}
    text = (ROOT / "benchmarks/__main__.py").read_text()
    assert files == {name for name in files if f'"{name}"' in text}


def test_the_stored_figures_have_one_schema_and_every_case_a_reference():
    with (ROOT / "benchmarks/results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == harness.COLUMNS
    roles = {(row["case"], row["role"]) for row in rows if row["measure"] == "seconds"}
    assert {case for case, _ in roles} == {case for case, role in roles if role == "reference"}
    assert {path.name for path in (ROOT / "benchmarks").glob("*.csv")} == {"results.csv"}
