"What a test can reach, as a hash: while that is as it was when the test passed, there is no need to run it again."

import functools
import hashlib
import json
import re
from importlib.util import resolve_name
from pathlib import Path

ROOT = Path(__file__).parents[1]
EVERYWHERE = ["settings.ini", "constraints.txt", "tests/conftest.py", "tests/notebook_cells.py", "tests/reach.py"]
IMPORT = re.compile(r"\b(?:from|import)\s+(\.+[\w.]*|blog[\w.]*)(?:\s+import\s+([\w, ]+))?|\b(blog(?:\.\w+)+)")


@functools.cache
def code(path: Path) -> str:
    "The text of a file; of a notebook, without outputs."
    text = path.read_text(encoding="utf-8")
    return "\n\n".join("".join(c["source"]) for c in json.loads(text)["cells"]) if path.suffix == ".ipynb" else text


@functools.cache
def modules() -> dict[str, Path]:
    "Modules of the package by name."
    paths = {path: path.relative_to(ROOT).with_suffix("").parts for path in (ROOT / "blog").rglob("*.py")}
    names = {path: ".".join(parts).removesuffix(".__init__") for path, parts in paths.items()}
    return {name: path for path, name in names.items() if not name.endswith("._modidx")}


def mentioned(path: Path, name: str = "") -> set[str]:
    "Modules that a file imports or names, also within strings; `name` is its own, for relative imports."
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for start, parts, dotted in IMPORT.findall(code(path)):
        module = dotted or (resolve_name(start, package) if start.startswith(".") and package else start)
        found |= {module, *(f"{module}.{part}" for part in re.findall(r"\w+", parts))}
    while found - modules().keys() and (shorter := {m.rpartition(".")[0] for m in found - modules().keys()} - {""}):
        found = (found & modules().keys()) | shorter
    return found & modules().keys()


@functools.cache
def reached(name: str) -> frozenset[str]:
    "A module with all that it imports, directly or not."
    seen, ahead = set(), {name}
    while ahead:
        seen |= ahead
        ahead = {other for module in ahead for other in mentioned(modules()[module], module)}
        ahead = (ahead | {f"{module}.__main__" for module in seen} & modules().keys()) - seen
    return frozenset(seen)


@functools.cache
def contents(folder: str) -> str:
    "Hash of all files of a folder."
    digest = hashlib.sha256()
    for path in sorted((ROOT / folder).rglob("*")):
        if path.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts):
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def key(path: Path) -> str:
    """Hash of a test file or a notebook, the modules and data of the package that it reaches, and where it speaks of
    records or, as a test, of the checkout, everything in there."""
    names = set().union(*(reached(name) for name in mentioned(path)))
    files = [ROOT / name for name in EVERYWHERE] + [modules()[name] for name in names]
    files += [data for name in names for data in modules()[name].parent.glob("*.json")]
    files += (ROOT / "tests").glob("*worker.py") if path.suffix == ".py" else []
    digest = hashlib.sha256(code(path).encode())
    for file in sorted({file for file in files if file.is_file()}):
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    if re.search(r"read_records|read_outcomes|results", code(path)):
        digest.update(contents("results").encode())
    if path.suffix == ".py" and re.search(r"\bROOT\b|parents?\b", code(path)):
        digest.update("".join(map(contents, ("nbs", "series", "tests", "blog"))).encode())
        texts = {*ROOT.glob("*.qmd"), *ROOT.glob("*.md"), *ROOT.glob("_quarto.yml")}
        for file in sorted(texts - {ROOT / "package.qmd"}):  # that one is made
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
