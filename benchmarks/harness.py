"""What every benchmark does: check that all ways of a case agree, measure them in turns, and write one table.

A case has a reference, the published or the plain way, and faster ways beside it. What they return is compared first;
then each is called once for its peak of memory, and in every round once for its seconds, the ways of a case in turns,
so that a machine that slows down slows all. Where a case asks for it, the operations of its matrix products are counted
too: their ratio is what would be left if nothing else took time. Seconds are the processor's, of this process and of
its children, so that other work on the machine hardly counts; with a GPU they are those of the clock.
"""

import csv
import ctypes
import gc
import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from blog.core.machine import hardware, versions

COLUMNS = (
    "part",
    "case",
    "way",
    "role",
    "round",
    "measure",
    "value",
    "unit",
    "date",
    "commit",
    "cpu",
    "cores",
    "threads",
    "gpu",
)
COLUMNS += ("python", "torch", "transformers", "numpy")
SECONDS, MEMORY, PRODUCTS = "seconds", "peak memory", "products"


class Case(NamedTuple):
    "A reference and faster ways, of which each returns what is compared."

    name: str
    ways: Mapping[str, Callable[[], object]]  # the reference first
    tolerance: float | None = 0.0  # largest difference of a number from the reference; None compares nothing
    unit: str = "call"
    units: int | Mapping[str, int] = 1  # how many a call handles, by way where they differ
    part_of: Callable[[object], object] = lambda result: result  # what of a result is compared
    more: int = 1  # times as many rounds, for an interval
    apart: Collection[str] = ()  # ways that do something else, and are there to be compared with in time
    count: bool = False  # the operations of matrix products, multiplications and additions


def difference(one: object, other: object) -> float:
    "The largest of two results, infinite where texts, shapes or signs of infinity differ."
    one, other = (np.asarray(x.detach().cpu() if isinstance(x, torch.Tensor) else x) for x in (one, other))
    if one.shape != other.shape:
        return float("inf")
    if not np.issubdtype(one.dtype, np.number) and one.dtype != bool:
        return 0.0 if (one == other).all() else float("inf")
    same = (one == other) | ((one != one) & (other != other))
    with np.errstate(invalid="ignore"):  # infinity less itself, which is the same
        gaps = np.abs(one.astype(np.float64) - other.astype(np.float64))[~same]
    return float(np.nan_to_num(gaps, nan=np.inf).max(initial=0.0))


def log_norms(model: torch.nn.Module, losses: torch.Tensor) -> torch.Tensor:
    "Logarithms of losses and of the norms of all gradients; those that are only rounding count as a thousandth."
    norms = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None])
    return torch.cat([losses, norms.clamp_min(1e-3 * norms.max())]).log()


def processor_seconds() -> float:
    "Of this process and of its children that have ended; of the clock, where there is a GPU."
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _held(field: str) -> int:  # VmRSS or VmHWM of this process in bytes
    return int(Path("/proc/self/status").read_text().split(field + ":")[1].split()[0]) * 1024


def peak_mib(way: Callable[[], object]) -> float:
    "What a call takes beyond what was held before it, in MiB; NaN where the system does not tell."
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        way()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what earlier calls have freed
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return float("nan")
    before = _held("VmRSS")
    way()
    return (_held("VmHWM") - before) / 2**20


def _row(case: Case, way: str, number: int, measure: str, value: float) -> dict:
    units = case.units if isinstance(case.units, int) else case.units[way]
    scale = {SECONDS: (value / units, f"s a {case.unit}"), MEMORY: (value, "MiB")}
    value, unit = scale.get(measure, (value / units / 1e9, f"billions a {case.unit}"))
    role = "yardstick" if way in case.apart else "reference" if way == next(iter(case.ways)) else "way"
    return {"case": case.name, "way": way, "role": role, "round": number, "measure": measure} | {
        "value": value,
        "unit": unit,
    }


def _in_place(out: torch.Size, one: torch.Size, other: torch.Size, **_: object) -> int:  # of `addmm_`
    return 2 * one[0] * one[1] * other[1]


def _compare(case: Case) -> None:
    reference, expected = next(iter(case.ways)), None
    for name, way in case.ways.items():
        result = way()
        if name not in case.apart:
            found = case.part_of(result)
            expected = found if expected is None else expected
            gap = difference(found, expected)
            assert gap <= case.tolerance, f"{case.name}: {name} differs from {reference} by {gap:.3g}"


def measure(case: Case, rounds: int) -> Iterator[dict]:
    "Rows of a case. Raises AssertionError where a way differs from the reference by more than the tolerance."
    if case.tolerance is not None:
        _compare(case)  # this also loads what is loaded once, and fills memories
    for name, way in case.ways.items():
        yield _row(case, name, 0, MEMORY, peak_mib(way))
        if case.count:
            with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: _in_place}) as counter:
                way()
            yield _row(case, name, 0, PRODUCTS, counter.get_total_flops())
    for number in range(1, case.more * rounds + 1):
        for name, way in case.ways.items():
            begun = processor_seconds()
            way()
            yield _row(case, name, number, SECONDS, processor_seconds() - begun)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True)
    return done.stdout.strip()


def origin() -> dict[str, str]:
    "When, from which commit (with a plus where it was changed) and on which machine."
    machine, installed = hardware(), versions()
    changed = _git("status", "--porcelain", "--", ".", "../blog", ":!*.csv")  # but for the table, part by part
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _git("rev-parse", "HEAD") + "+" * bool(changed),
        "cpu": machine["cpu"],
        "cores": str(machine["cores"]),
        "threads": str(torch.get_num_threads()),
        "gpu": machine["gpu"] or "",
    } | {name: installed.get(name, "") for name in ("python", "torch", "transformers", "numpy")}


def show(rows: Iterable[Mapping]) -> None:
    "Medians and ratios to the reference, a line for each way."
    rows = list(rows)
    taken, peaks = {}, {row["way"]: row["value"] for row in rows if row["measure"] == MEMORY}
    for row in rows:
        if row["measure"] == SECONDS:
            taken.setdefault(row["way"], []).append(row["value"])
    first = statistics.median(next(iter(taken.values())))
    for way, seconds in taken.items():
        middle = statistics.median(seconds)
        print(f"  {way:44} {1000 * middle:12.3f} ms {first / middle:8.2f}x {peaks.get(way, float('nan')):8.0f} MiB")


def write(path: str | os.PathLike, part: str, rows: Iterable[Mapping]) -> None:
    "Put the rows of a part into the table, in place of its earlier ones."
    path, old = Path(path), []
    if path.exists():
        with path.open(newline="") as file:
            old = [row for row in csv.DictReader(file) if row["part"] != part]
    new = [{"part": part} | row | {"value": f"{row['value']:.7g}"} | origin() for row in rows]
    every = sorted([*old, *new], key=lambda row: row["part"])
    begun = path.with_suffix(".part")
    with begun.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(every)
    begun.replace(path)
