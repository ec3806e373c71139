"""A sweep of a made-up task, for the tests to share, kill and resume: DATABASE LOG WORKERS TRIALS SECONDS [ROOT]."""

import os
import sys
import time
from functools import partial
from pathlib import Path

from blog.distillation.sweep import Plan, log_uniform, run_plan, uniform

SPACE = {"learning_rate": log_uniform(1e-5, 1e-1), "alpha": uniform(0.0, 1.0)}


class Slow:
    """Each training appends a line to a log when it begins, and sleeps."""

    def __init__(self, log: str, seconds: float):
        self.log, self.seconds = log, seconds
        self.identity, self.data = {"task": "slow"}, "none"

    def note(self, *what) -> None:
        line = " ".join(map(str, (*what, os.getpid()))) + "\n"
        with open(self.log, "a") as file:
            file.write(line)

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
    build = partial(Slow, log, float(seconds))
    plan = Plan("kill", {"a method": SPACE}, build, trials=int(trials), fresh=3)
    run_plan(plan, f"sqlite:///{database}", int(workers), *map(Path, root), heartbeat=1)
