"""One queue for notebooks and test files, the longest first; `--changed` leaves out what can only end as last time.

Each notebook is a unit of the queue, and each file, so that what its tests share is made once. `seconds.json` remembers
what a unit costs in processor seconds, which do not depend on what else a machine does; `--remember` writes it anew.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from notebook_cells import ROOT, cpu_seconds
from reach import key

SECONDS = Path(__file__).with_name("seconds.json")
PASSED = "blog/passed"  # in pytest's cache: unit -> hash of all that it reached when everything in it passed
spent, failed, clock = Counter(), set(), cpu_seconds()


def pytest_addoption(parser):
    group = parser.getgroup("blog")
    group.addoption("--changed", action="store_true", help="leave out what passed and reaches nothing that has changed")
    group.addoption("--remember", action="store_true", help="write what each notebook and file costs to seconds.json")


def read_seconds() -> dict[str, float]:
    return json.loads(SECONDS.read_text()) if SECONDS.is_file() else {}


def unit(item) -> str:
    "The notebook or the file that an item belongs to, by its path below the checkout."
    notebook = item.callspec.params.get("notebook") if hasattr(item, "callspec") else None
    return (notebook or item.path).relative_to(ROOT).as_posix()


def pytest_collection_modifyitems(config, items):
    if config.getoption("changed"):
        passed, same = config.cache.get(PASSED, {}), []
        current = {name: passed.get(name) == key(ROOT / name) for name in {unit(item) for item in items}}
        items[:], same = ([item for item in items if current[unit(item)] is there] for there in (False, True))
        config.hook.pytest_deselected(items=same)
    seconds = read_seconds()
    for item in items:
        item.add_marker(pytest.mark.xdist_group(unit(item)))
        item.user_properties.append(("unit", unit(item)))
    items.sort(key=lambda item: (-seconds.get(unit(item), 10), unit(item)))  # 10 s for what is not known yet


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "teardown":
        global clock
        before, clock = clock, cpu_seconds()
        report.user_properties.append(("cpu", clock - before))
    return report


def pytest_runtest_logreport(report):
    told = dict(report.user_properties)
    if report.when == "teardown":
        spent[told["unit"]] += told["cpu"]
    if report.failed:
        failed.add(told["unit"])


def pytest_sessionfinish(session, exitstatus):
    config = session.config
    if hasattr(config, "workerinput") or not hasattr(config, "cache"):
        return
    whole = not (config.option.keyword or any("::" in argument for argument in config.args) or session.shouldstop)
    passed = {name: key(ROOT / name) for name in spent.keys() - failed} if whole else {}
    kept = {name: old for name, old in config.cache.get(PASSED, {}).items() if name not in failed}
    config.cache.set(PASSED, kept | passed)
    if config.getoption("changed") and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK
    if config.getoption("remember"):
        known = {name: value for name, value in read_seconds().items() if (ROOT / name).is_file()}
        known |= {name: round(value, 1) for name, value in spent.items()}
        SECONDS.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")


def pytest_terminal_summary(terminalreporter):
    slowest = [f"{value:6.1f} s  {name}" for name, value in spent.most_common(10) if value > 5]
    if slowest:
        terminalreporter.section(f"processor time, the longest of {sum(spent.values()):.0f} s")
        terminalreporter.write_line("\n".join(slowest))


@pytest.fixture
def blog(monkeypatch, capsys) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Calls the command in this process, since one of its own takes seconds to start: status, stdout, stderr.

    Quiet as the command makes its own process by its environment, which comes too late here."""
    from transformers.utils import logging

    from blog.cli.commands import main

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()

    def call(*args: str | Path, cwd: Path | None = None) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["blog", *map(str, args)])
        monkeypatch.chdir(cwd or Path.cwd())
        with pytest.raises(SystemExit) as end:
            main()
        return (end.value.code or 0, *capsys.readouterr())

    yield call
    logging.set_verbosity(verbosity)
    logging.enable_progress_bar()
