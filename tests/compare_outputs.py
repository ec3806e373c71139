"""Run posts anew at their embedded preset, and compare what they print and show with their stored outputs.

python tests/compare_outputs.py [POST ...]   (all posts by default; exit status 1 if one differs or fails)

Numbers may differ a little, as training does from one processor to another; the words around them may not. nbval knows
no tolerance for numbers, it compares text after replacing patterns, so this runs posts with `blog run` instead. As in
nbval, the tag `nbval-ignore-output` leaves the output of a cell out.
"""

import difflib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RELATIVE, ABSOLUTE = 0.05, 0.03  # accuracies come from a few hundred rows; 0.03 is about one standard error
NUMBER = r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?:[eE][-+]?\d+)?"
UNIT = r"(?:ns|µs|ms|s|sec|seconds?|min|minutes?|h|hours?|[kKMG]i?B|it/s)\b"


def shown(output: dict) -> str:
    "What a reader sees of an output, as text: a chart as its data, other HTML without tags, a picture as its type."
    data = {kind: "".join(text) for kind, text in output.get("data", {}).items() if isinstance(text, str | list)}
    html = data.get("text/html", "")
    if spec := re.search(r'class="offline-chart-spec">(.*?)</script>', html, re.DOTALL):
        return spec[1]
    if html:
        return re.sub(r"<[^>]*>", " ", re.sub(r"<style.*?</style>", "", html, flags=re.DOTALL))
    return "picture" if "image/png" in data else "".join(data.get("text/plain", output.get("text", "")))


def parts(text: str) -> tuple[list[str], list[float]]:
    """
    The words between numbers, without blanks, and the numbers.

    What no run shares with another is cut out: times, amounts of memory, and of a run record's line all but its name.
    """
    text = re.sub(r" · .* · commit .*", "…", text)
    text = re.sub(rf"{NUMBER} ?{UNIT}", "…", text)
    words = ["".join(word.split()) for word in re.split(NUMBER, text)]
    return words, [float(number.replace(",", "")) for number in re.findall(NUMBER, text)]


def close(one: float, other: float) -> bool:
    "Whether two numbers differ by no more than the tolerance."
    return abs(one - other) <= max(ABSOLUTE, RELATIVE * max(abs(one), abs(other)))


def same(one: str, other: str) -> bool:
    "Whether two texts have the same words and about the same numbers."
    (words, numbers), (other_words, other_numbers) = parts(one), parts(other)
    return words == other_words and all(map(close, numbers, other_numbers))


def outputs(path: Path) -> Iterator[tuple[str, str]]:
    "Source and shown text of every code cell that is compared."
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        tags = cell.get("metadata", {}).get("tags", [])
        if cell["cell_type"] == "code" and not {"injected-parameters", "nbval-ignore-output"} & set(tags):
            standard = [output for output in cell["outputs"] if output.get("name") != "stderr"]
            yield "".join(cell["source"]), "\n".join(map(shown, standard))


def differences(stored: Path, executed: Path) -> list[str]:
    "One text for each cell whose outputs differ."
    pairs, told = zip(outputs(stored), outputs(executed), strict=True), []
    for number, ((source, old), (other, new)) in enumerate(pairs, start=1):
        if source != other or not same(old, new):
            texts = [[line.strip() for line in text.splitlines() if line.strip()] for text in (old, new)]
            lines = difflib.unified_diff(*texts, "stored", "executed", n=0, lineterm="")
            told.append("\n".join([f"code cell {number}:", *(line[:200] for line in list(lines)[:20])]))
    return told


def main(names: list[str]) -> int:
    blog, failed = [sys.executable, "-m", "blog.cli"], []
    if not names:
        listed = subprocess.run([*blog, "list", "--json"], cwd=ROOT, check=True, capture_output=True).stdout
        names = [post["name"] for post in json.loads(listed)]
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            run = [*blog, "run", name, "--preset", "embedded", "--output-dir", folder]
            if subprocess.run(run, cwd=ROOT, stdout=subprocess.DEVNULL).returncode:
                failed.append(name)
                print(f"{name}: does not run", flush=True)
                continue
            (executed,) = Path(folder).glob("*-embedded.ipynb")
            told = differences(ROOT / f"nbs/{name}.ipynb", executed)
        print(f"{name}: {len(told)} cells differ" if told else f"{name}: as stored", flush=True)
        print("".join(f"{text}\n" for text in told), end="", flush=True)
        failed += [name] * bool(told)
    print(f"{len(names) - len(failed)} of {len(names)} posts are as stored. {', '.join(failed)}".strip())
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
