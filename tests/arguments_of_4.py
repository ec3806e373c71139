"""Make blog/practice/arguments_of_4.json: what Trainer and TrainingArguments took in some versions of transformers 4.

`python tests/arguments_of_4.py` downloads a wheel of each and reads its sources; none of them is imported or installed.
"""

import ast
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

VERSIONS = ["4.30.2", "4.46.3", "4.57.6"]
SOURCES = {"TrainingArguments": "transformers/training_args.py", "Trainer": "transformers/trainer.py"}
TARGET = Path(__file__).parents[1] / "blog" / "practice" / "arguments_of_4.json"


def _default(node: ast.expr | None) -> str | None:  # a literal as Python shows it; None for what is made when it runs
    if isinstance(node, ast.Call):  # field(default=..., metadata=...)
        node = next((part.value for part in node.keywords if part.arg == "default"), None)
    try:
        return None if node is None else repr(ast.literal_eval(node))
    except ValueError:
        return None


def _fields(body: list[ast.stmt]) -> Iterator[tuple[str, str | None]]:
    for node in body:
        if isinstance(node, ast.AnnAssign) and not ast.unparse(node.annotation).startswith("ClassVar"):
            if "init=False" not in ast.unparse(node).replace(" ", ""):
                yield node.target.id, _default(node.value)


def _parameters(function: ast.FunctionDef) -> Iterator[tuple[str, str | None]]:
    "Of a signature, and old names that a decorator of it still takes."
    names, defaults = [arg.arg for arg in function.args.args[1:]], function.args.defaults
    yield from zip(names, map(_default, [None] * (len(names) - len(defaults)) + defaults), strict=True)
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "deprecate_kwarg":
            yield decorator.args[0].value, None


def arguments_of(source: str, name: str) -> dict[str, str | None]:  # of a class of this name: argument, default
    found = next(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == name)
    makers = [node for node in found.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    return dict(_parameters(makers[0]) if makers else _fields(found.body))


def main() -> None:
    found = {name: {} for name in SOURCES}
    with tempfile.TemporaryDirectory() as folder:
        for version in VERSIONS:
            wanted = ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", folder, f"transformers=={version}"]
            subprocess.run([sys.executable, "-m", "pip", "download", *wanted], check=True)
            with zipfile.ZipFile(next(Path(folder).glob(f"transformers-{version}-*.whl"))) as wheel:
                for name, path in SOURCES.items():
                    told = arguments_of(wheel.read(path).decode(), name)
                    found[name] |= {argument: [version, default] for argument, default in told.items()}
    parts = [f'"versions": {json.dumps(VERSIONS)}']
    for name, arguments in found.items():
        lines = [f"  {json.dumps(argument)}: {json.dumps(told)}" for argument, told in sorted(arguments.items())]
        parts.append(f'"{name}": {{\n' + ",\n".join(lines) + "\n }")
    TARGET.write_text("{\n " + ",\n ".join(parts) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
