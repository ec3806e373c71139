"""What it takes to start: `import blog`, the command's help, and a study up to its first step, beside bare Python.

The study is the flagship at its smallest preset: its cells in turn, so that its page is shown as far as it comes before
the run, until the first step of the first training is done. Beside it the libraries that any training needs.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import Case

FOLDER = Path(__file__).resolve().parents[1] / "nbs/studies"
FIRST = """
import json, os
from transformers import Trainer

step = Trainer.training_step

def end(*args):
    step(*args)
    os._exit(0)

Trainer.training_step, names = end, {"__name__": "__main__"}
for cell in json.load(open("describing_nouns.ipynb"))["cells"]:
    if cell["cell_type"] == "code":
        exec("".join(cell["source"]), names)
os._exit(1)  # no step
"""


def started(*arguments: str) -> Callable[[], None]:
    given = dict(env=os.environ | {"BLOG_PRESET": "smoke"}, cwd=FOLDER, stdout=subprocess.DEVNULL)
    return lambda: subprocess.run([sys.executable, *arguments], check=True, stderr=subprocess.DEVNULL, **given) and None


def cases() -> Iterator[Case]:
    bare = {"python -c pass": started("-c", "pass")}
    ways = bare | {"import blog": started("-c", "import blog"), "import typer": started("-c", "import typer")}
    yield Case("start-up", ways | {"blog --help": started("-m", "blog.cli", "--help")}, None)
    ways = {"the libraries of a training": started("-c", "from transformers import Trainer")}
    ways["its imports"] = started("-c", "import blog.studies.describing_nouns")
    yield Case("a study's first step", ways | {"its first step": started("-c", FIRST)}, None)
