"""A hash of what a module does: its own syntax tree and those of the project modules that it imports.

Comments and layout do not count. Cheap stages rerun when this hash changes; expensive ones have a declared revision.
"""

import ast
import functools
import hashlib
from pathlib import Path

PACKAGE = "workflow_scripts"
ROOT = Path(__file__).parents[2]


def code_hash(*modules: str) -> str:
    """Sixteen hexadecimal digits that change when the code of the modules changes, or of what they import."""
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += imports(module)
    text = "\n".join(f"{module} {tree(module)[0]}" for module in sorted(seen))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def imports(module: str) -> list[str]:
    return list(tree(module)[1])


@functools.cache
def tree(module: str) -> tuple[str, tuple[str, ...]]:
    """The dumped syntax tree of a project module, and the project modules that it names in imports."""
    source = find(module)
    if source is None:
        return "", ()
    parsed = ast.parse(source.read_text(encoding="utf-8"))
    named: set[str] = set()
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            named |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    named = {name for name in named if name.startswith(f"{PACKAGE}.") and find(name)}
    # What a job is told is in its identity, so that the plan that describes it, and what this knows, is no code of it.
    ours = sorted(name for name in named if not name.endswith(".plan"))
    return ast.dump(parsed), tuple(ours)


@functools.cache
def find(module: str) -> Path | None:
    """The file of a project module; nothing is imported for it."""
    path = ROOT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)
