"""How much `blog --help` adds to starting Python: the best of N runs in seconds, and ratios. Needs an idle machine.

python benchmarks/cli_startup.py [N]
"""

import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "python -c 'import typer'": ["-c", "import typer"],
    "blog --help": ["-m", "blog.cli", "--help"],
}


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    best = {name: min(seconds(arguments) for _ in range(repeats)) for name, arguments in COMMANDS.items()}
    help_time = best["blog --help"]
    for name, time_taken in best.items():
        print(f"{name:<26} {time_taken:6.3f} s   blog --help takes {help_time / time_taken:4.1f} times as long")
