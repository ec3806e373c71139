"""Every fast path beside its reference: equal results first, then processor seconds in turns and peak memory.

    python benchmarks [PART ...] [--rounds 3] [--csv benchmarks/results.csv]

A part is a file of this folder with a function `cases`. The table of `blog.evaluation.benchmarks` is read from the CSV
file, in which the rows of a part take the place of its earlier ones.
"""

import argparse
import importlib
import os
import time

for name in ("TOKENIZERS_PARALLELISM", "HF_HUB_OFFLINE"):
    os.environ.setdefault(name, {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}[name])
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"

from harness import measure, show, write

PARTS = ("describing", "difficulty", "embeddings", "export", "generation", "internalization", "peers")
PARTS += ("preview", "shortcuts", "specifications", "startup", "students", "teacher_logits")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--csv", help="file of the raw figures; none is written by default")
    options = parser.parse_args()
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"there is no part {', '.join(unknown)}: choose from {', '.join(PARTS)}")
    begun = time.perf_counter()
    for part in options.parts or PARTS:
        found = []
        for case in importlib.import_module(part).cases():
            print(f"{part}: {case.name}", flush=True)
            rows = list(measure(case, options.rounds))
            show(rows)
            found += rows
        if options.csv:
            write(options.csv, part, found)
    print(f"all in {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
