"""A sweep of a synthetic task, for the tests to share, kill and resume: DATABASE LOG WORKERS TRIALS SECONDS ROOT."""

import os
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from optuna.distributions import FloatDistribution

from blog.sweeps import Sweep, run_sweep

SPACE = {"learning_rate": FloatDistribution(1e-5, 1e-1, log=True), "alpha": FloatDistribution(0.0, 1.0)}


@dataclass
class Arguments:
    """What a trainer would take, without one: a worker without torch starts in a tenth of the time."""

    output_dir: str
    use_cpu: bool
    report_to: str
    learning_rate: float
    alpha: float


class Slow:
    """Each training appends a line to a log when it begins, waits for the first line of a colleague, and sleeps."""

    def __init__(self, log: str, seconds: float, workers: int):
        self.log, self.seconds, self.workers = log, seconds, workers
        self.identity, self.data = {"task": "slow"}, "none"

    def note(self, *what) -> None:
        line = " ".join(map(str, (*what, os.getpid()))) + "\n"
        with open(self.log, "a") as file:
            file.write(line)
        deadline = time.monotonic() + 60
        while len({line.split()[-1] for line in Path(self.log).read_text().splitlines()}) < self.workers:
            if time.monotonic() > deadline:
                raise TimeoutError("the other workers do nothing")
            time.sleep(0.05)

    def score(self, settings, seed, report):
        self.note("search", settings["learning_rate"])
        time.sleep(self.seconds)
        return 1 - settings["alpha"]

    def judge(self, settings, seed):
        self.note("judged", seed)
        time.sleep(self.seconds)
        return {"item": [0, 1], "label": [0, 0], "prediction": [1, 0], "score": [0, 1]}


if __name__ == "__main__":
    database, log, workers, trials, seconds, root = sys.argv[1:]
    build = partial(Slow, log, float(seconds), int(workers))
    kept = dict(arguments=Arguments, modules=["blog.sweeps"], trials=int(trials), fresh=3)
    sweep = Sweep("tested", "kill", {"a method": SPACE}, build, **kept)
    url = database if "://" in database else f"sqlite:///{database}"
    run_sweep(sweep, url, int(workers), Path(root), heartbeat=1)
