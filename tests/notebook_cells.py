"""Run the cells of one notebook as nbdev_test does, in a process of its own.

A server imports the large libraries once, and every notebook runs in a fork of it: nothing that one sets, patches or
leaves running is seen by another, and none waits for `import torch`.
"""

import gc
import multiprocessing
import os
import resource
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
LIBRARIES = [
    "nbdev.test",
    "IPython.core.interactiveshell",
    "torch",
    "transformers.trainer",
    "datasets",
    "sklearn.linear_model",
    "altair",
    "pandas.io.formats.style",
]
ENVIRONMENT = {
    "BLOG_PRESET": "smoke",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


def cpu_seconds() -> float:
    "Of this process, of its children, and of those of theirs that have ended, such as the forks of a server."
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    spent = sum(part.ru_utime + part.ru_stime for part in usage)
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it has just ended
            spent += sum(child.cpu_times()[:4])
    return spent


def start_server() -> None:
    "Start the server, if there is none yet, with the environment that notebooks are to see."
    from multiprocessing import forkserver

    before = dict(os.environ)
    multiprocessing.set_forkserver_preload(LIBRARIES)
    os.environ |= ENVIRONMENT
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ |= before


def run_cells(path: Path, log: Path, seconds: float) -> tuple[bool, float]:
    """Whether every cell ran within `seconds`, and the processor seconds that they took.

    Goes to `log`: what the cells printed beside their outputs, and cell and traceback of the one that failed.
    """
    start_server()
    processes = multiprocessing.get_context("forkserver")
    answer, theirs = processes.Pipe(duplex=False)
    child = processes.Process(target=_run, args=(path, log, theirs))
    child.start()
    theirs.close()
    try:
        return answer.recv() if answer.poll(seconds) else (False, seconds)
    except EOFError:  # it ended without an answer
        return False, 0.0
    finally:
        child.join(1)
        child.kill()
        child.join()


def _run(path: Path, log: Path, answer: Connection) -> None:
    with log.open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ |= ENVIRONMENT  # the server may have been started by other tests
    multiprocessing.set_start_method(None, force=True)  # a notebook's own workers start as they do in Jupyter
    from nbdev.config import get_config
    from nbdev.test import test_nb

    gc.freeze()  # every Trainer collects garbage at its end, and what is imported is none
    before = cpu_seconds()
    passed, _ = test_nb(path, skip_flags=get_config(path=ROOT).tst_flags.split(), basepath=ROOT)
    sys.stdout.flush(), sys.stderr.flush()
    answer.send((passed, cpu_seconds() - before))
