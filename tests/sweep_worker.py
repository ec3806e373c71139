"""A sweep of a made-up task, for the tests to share, kill and resume: DATABASE LOG WORKERS TRIALS SECONDS [ROOT]."""

import os
import sys
import time
from functools import partial
from pathlib import Path

from blog.sweeps import Plan, log_uniform, run_plan, uniform

SPACE = {"learning_rate": log_uniform(1e-5, 1e-1), "alpha": uniform(0.0, 1.0)}


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
        return {"accuracy": 0.5, "rows": 2, "errors": "0:1"}


if __name__ == "__main__":
    database, log, workers, trials, seconds, *root = sys.argv[1:]
    build = partial(Slow, log, float(seconds), int(workers))
    plan = Plan("kill", {"a method": SPACE}, build, trials=int(trials), fresh=3)
    run_plan(plan, f"sqlite:///{database}", int(workers), *map(Path, root), heartbeat=1)
