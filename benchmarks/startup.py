"""What it takes to start: `import blog`, the command's help, and a study up to its first step, beside bare Python."""

import subprocess
import sys
from collections.abc import Callable, Iterator

from harness import Case


def started(*arguments: str) -> Callable[[], None]:
    return lambda: subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL) and None


def cases() -> Iterator[Case]:
    bare = {"python -c pass": started("-c", "pass")}
    ways = bare | {"import blog": started("-c", "import blog"), "import typer": started("-c", "import typer")}
    yield Case("start-up", ways | {"blog --help": started("-m", "blog.cli", "--help")}, None)
    first = "from transformers import Trainer"
    ways = {"the libraries of a training": started("-c", first)}
    ways["the flagship's study"] = started("-c", "import blog.studies.describing_nouns")
    yield Case("a study's imports", ways, None)
