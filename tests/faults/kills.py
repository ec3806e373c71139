"""Die at a chosen moment, damage files, run side by side: what the tests of this folder do to the project.

All processes are forked from one that has imported what they need: each would take seconds to start on its own.
"""

import multiprocessing
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["blog.distillation.trainer", "blog.prompt_internalization.trainer", "blog.pretraining"])
LONG = "BLOG_LONG_FAULTS" in os.environ  # more moments and damages than fit into every run of the tests
EVENTS = "open os.rename os.remove os.mkdir os.rmdir os.link os.truncate os.scandir".split()


def _below(argument, folder: str) -> bool:
    return isinstance(argument, str | os.PathLike) and os.fspath(argument).startswith(folder)


def _watch(folder: str, at: int | str | None) -> list[int]:
    "Count the file events below a folder; die at one of them, by its number or by a part of the path."
    seen = [0]

    def hook(event: str, args: tuple) -> None:
        if event in EVENTS and (paths := [os.fspath(path) for path in args[:2] if _below(path, folder)]):
            seen[0] += 1
            if seen[0] == at or (isinstance(at, str) and at in paths[0].removeprefix(folder)):
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return seen


def _child(job: Callable, args: tuple, log: str, folder: str, at, after: float | None, most: int | None) -> None:
    output = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    seen = _watch(folder, at)
    if most is not None:  # what stands in for a full disk
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    if after is not None:
        signal.setitimer(signal.ITIMER_PROF, after)  # ends the process at once, after so much computing
    try:
        job(*args)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    Path(log + ".events").write_text(str(seen[0]))


class Run:
    "A job in a process of its own, which may die at the n-th file event below `folder`, or after some computing."

    def __init__(self, job: Callable, *args, folder: Path, at=None, after=None, most=None, log: str = "log"):
        self.log = Path(f"{folder}.{log}")
        self.log.unlink(missing_ok=True)
        told = (job, args, str(self.log), str(folder), at, after, most)
        self.process = FORKED.Process(target=_child, args=told, daemon=True)
        self.process.start()

    def end(self) -> int:  # exit status, negative for a signal
        self.process.join(120)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            pytest.fail(f"the process did not end: {self.said()}")
        return self.process.exitcode

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def events(self) -> int:
        return int(Path(f"{self.log}.events").read_text())


def ended(job: Callable, *args, **options) -> Run:
    "A run that has ended well."
    run = Run(job, *args, **options)
    assert run.end() == 0, run.said()
    return run


def killed(job: Callable, *args, **options) -> None:
    run = Run(job, *args, **options)
    assert run.end() in (-signal.SIGKILL, -signal.SIGPROF, 0), run.said()  # 0: the moment came too late


def _flip(path: Path, place: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 0x40
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "halved": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "emptied": lambda path: path.write_bytes(b""),
    "a bit flipped": lambda path: _flip(path, 0.6),
}
if LONG:
    DAMAGES |= {f"a bit flipped at {place}": lambda path, place=place: _flip(path, place) for place in (0.0, 0.3, 0.99)}
    DAMAGES |= {"a byte short": lambda path: path.write_bytes(path.read_bytes()[:-1])}
    DAMAGES |= {"a byte long": lambda path: path.write_bytes(path.read_bytes() + b"\0")}


def damages(folder: Path) -> Iterator[tuple[str, str]]:
    "Each file of a folder with each damage, or with one after the other where time is short."
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    for number, file in enumerate(file for file in files if not Path(file).name.startswith(".")):
        names = list(DAMAGES)
        yield from ((file, name) for name in (names if LONG else [names[number % len(names)]]))


def contents(folder: Path) -> dict[str, bytes]:
    "All files of a folder but hidden ones."
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = {path: path.relative_to(folder).as_posix() for path in files}
    return {name: path.read_bytes() for path, name in names.items() if not name.startswith(".")}
