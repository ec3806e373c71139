"How the package is laid out: floors, circles, and names. Nothing is imported; the sources are read."

import ast
import json
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = [  # lowest first; a room imports from its own floor and from those below
    ["blog.core"],
    ["blog.data", "blog.losses", "blog.evaluation", "blog.models"],
    ["blog.training", "blog.inference", "blog.teachers"],
    [
        "blog.report",
        "blog.pretraining",
        "blog.distillation",
        "blog.prompt_internalization",
        "blog.difficulty",
        "blog.shortcuts",
        "blog.specifications",
        "blog.embeddings",
        "blog.preferences",
        "blog.generation",
        "blog.practice",
    ],
    ["blog.experiment", "blog.sweeps"],
    ["blog.studies"],
    ["blog.site", "blog.cli"],
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
METHODS = 819  # public names that all rooms but the studies may have
NAMES_PER_STUDY = 2.5  # on average: what its page shows, and what another study uses


def read_modules() -> dict[str, ast.Module]:
    modules = {}
    for path in sorted((ROOT / "blog").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if path.stat().st_size and parts[-1] != "_modidx":
            modules[name] = ast.parse(path.read_text(encoding="utf-8"))
    return modules


MODULES = read_modules()


def imported_names(tree: ast.Module, package: str = "") -> Iterator[tuple[str, str]]:  # module, name or ""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] == "blog")
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            yield from ((module, alias.name) for alias in node.names if module.split(".")[0] == "blog")


def imported_modules(name: str) -> set[str]:
    package = name if (ROOT / name.replace(".", "/")).is_dir() else name.rpartition(".")[0]
    found = imported_names(MODULES[name], package)
    return {f"{module}.{part}" if f"{module}.{part}" in MODULES else module for module, part in found} & MODULES.keys()


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


IMPORTS = {name: imported_modules(name) for name in MODULES}


def test_every_room_has_a_floor():
    assert {room_of(name) for name in MODULES} - {"blog"} <= FLOOR_OF.keys()


def test_no_room_looks_up():
    floor = {name: FLOOR_OF.get(room_of(name), 0) for name in MODULES}
    up = [
        f"{name} imports {other}" for name, others in IMPORTS.items() for other in others if floor[other] > floor[name]
    ]
    assert not up


@pytest.mark.parametrize("place", [str, room_of], ids=["modules", "rooms"])
def test_imports_form_no_circle(place):
    graph = defaultdict(set)
    for name, others in IMPORTS.items():
        graph[place(name)] |= {place(other) for other in others} - ({place(name)} if place is room_of else set())
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' imports '.join(reversed(error.args[1]))}")


def public_names(tree: ast.Module) -> list[str]:  # as nbdev lists them
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "__all__" for target in node.targets):
            return ast.literal_eval(node.value)
    return []


def test_public_names_are_few_and_none_is_there_twice():
    homes = defaultdict(list)
    for module, tree in MODULES.items():
        for name in public_names(tree):
            homes[name].append(module)
    assert not {name: found for name, found in homes.items() if len(found) > 1}
    studies = [name for name in MODULES if name.startswith("blog.studies.")]
    of_studies = sum(module in studies for found in homes.values() for module in found)
    assert of_studies < NAMES_PER_STUDY * len(studies)
    assert len(homes) - of_studies < METHODS


def test_no_module_defines_a_name_twice():  # the second would silently take the place of the first
    for module, tree in read_modules().items():
        names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        assert len(names) == len(set(names)), (module, sorted({name for name in names if names.count(name) > 1}))


def sources() -> Iterator[tuple[str, str, ast.Module]]:  # where, package, tree: the package, tests, benchmarks, cells
    for name, tree in MODULES.items():
        yield name, name.rpartition(".")[0], tree
    for folder in ("tests", "benchmarks"):
        for path in sorted((ROOT / folder).glob("*.py")):
            yield f"{folder}/{path.name}", "", ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "nbs").rglob("*.ipynb")):
        cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
        for number, cell in enumerate(cells):
            lines = [line for line in "".join(cell["source"]).splitlines() if not line.lstrip().startswith(("!", "%"))]
            yield f"{path.relative_to(ROOT)}, code cell {number}", "", ast.parse("\n".join(lines))


def test_nobody_imports_a_private_name():  # a study's page opens with what its own module made of the records
    private = [
        f"{where}: {module}.{name}"
        for where, package, tree in sources()
        for module, name in imported_names(tree, package)
        if name.startswith("_") and not name.startswith("__")
        if not where.startswith(f"nbs/{'/'.join(module.split('.')[1:])}.ipynb")
    ]
    assert not private
