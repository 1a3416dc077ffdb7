"""Who may import whom: a room knows those below it only, and no modules import each other in a circle."""

import ast
import graphlib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = "workflow_scripts"
# The rooms from the ground up; a room is a folder of the package, or a file beside the folders.
ROOMS = (
    *(
        "errors",
        "devices",
        "progress",
        "files",
        "parquet",
        "shards",
        "formats",
        "models",
        "metrics",
        "settings",
        "jobs",
        "stamps",
    ),
    *("turns", "driver", "transfer"),
    *("assets", "captions", "corpora", "media", "features", "training", "scores", "comparability"),
    *("figures", "listening"),
    *("tables", "tracking", "report", "failures", "status", "plan", "rehearsal", "new_paper"),
    *("predict", "export"),
)
ABOVE = ("composed", "benchmarks", "tests")  # the package imports none of these


def modules() -> dict[str, Path]:
    """The files of the rooms by the names under which they are imported."""
    found = {}
    for path in (ROOT / PACKAGE).rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    del found[PACKAGE]
    return found


def imports(path: Path) -> set[str]:
    """The names that a file imports, wherever it does; of `from a import b`, a and a.b."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def room(module: str) -> str:
    return module.split(".")[1]


MODULES = modules()
IMPORTS = {module: imports(path) for module, path in MODULES.items()}
GRAPH = {module: names & MODULES.keys() for module, names in IMPORTS.items()}


def test_no_room_imports_one_above_it() -> None:
    up = [
        f"{module} imports {other}"
        for module, others in GRAPH.items()
        for other in sorted(others)
        if ROOMS.index(room(module)) < ROOMS.index(room(other))
    ]
    assert up == []


def test_every_room_has_its_place() -> None:
    assert {room(module) for module in MODULES} == set(ROOMS)


def test_no_modules_import_each_other_in_a_circle() -> None:
    graphlib.TopologicalSorter(GRAPH).prepare()  # raises CycleError, which names the circle


def test_the_package_imports_nothing_that_stands_on_it() -> None:
    outside = {module: [name for name in names if name.split(".")[0] in ABOVE] for module, names in IMPORTS.items()}
    assert {module: names for module, names in outside.items() if names} == {}
