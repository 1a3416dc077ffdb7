"""Writes the JSON schemas and the documentation of all settings, from the models that check them.

`python -m docs.reference` rewrites docs/configuration.md and docs/schema/; a test keeps them in
step. The schemas let an editor complete and check the YAML files.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, TypeAdapter

from workflow_scripts.settings.assets import Asset
from workflow_scripts.settings.base import MANNER, Name
from workflow_scripts.settings.claims import Claims
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.corpora import Corpus
from workflow_scripts.settings.figures import Figure
from workflow_scripts.settings.listening import ListeningTest
from workflow_scripts.settings.papers import Paper
from workflow_scripts.settings.plugins import CLASSES, names, plugin
from workflow_scripts.settings.resources import Stages
from workflow_scripts.settings.tables import Table


class PaperFile(Paper):
    """A paper as an editor sees it, tables, figures and listening tests included."""

    tables: dict[Name, Table] = Field(default={}, description="Tables by name")
    figures: dict[Name, Figure] = Field(default={}, description="Figures by name")
    listening: dict[str, ListeningTest] = Field(default={}, description="Listening tests by the name of their table")


SCHEMAS: dict[str, Any] = {  # by the names of files; `overlay`: mini.yaml, smoke.yaml and pilot.yaml of a paper
    "config": Config,
    "corpora": dict[str, Corpus],
    "assets": dict[str, Asset],
    "resources": dict[Literal["full", "pilot", "mini", "smoke"], Stages],
    "paper": PaperFile,
    "overlay": PaperFile,
    "claims": Claims,
}
LAID_OVER = ("resources", "overlay")  # files of which no key is required, because they are laid over another one
FILES: dict[type[BaseModel], tuple[str, str]] = {
    Config: ("config.yaml", "What a user chooses."),
    Asset: ("assets.yaml", "One entry an asset, by its id."),
    Corpus: ("corpora.yaml", "One entry a corpus, by its name."),
    Stages: (
        "resources.yaml",
        "What the jobs of each stage ask for; an entry each for `full`, `pilot`, `mini` and `smoke`.",
    ),
    Table: ("tables", "One entry of `tables` in paper.yaml, by its name."),
    Figure: ("figures", "One entry of `figures` in paper.yaml, by its name."),
    Claims: ("papers/&lt;paper&gt;/claims.yaml", "What a paper concludes."),
    Paper: (
        "papers/&lt;paper&gt;/paper.yaml",
        "What a paper says. `pilot.yaml`, or `mini.yaml` and `smoke.yaml`, are laid over it key by key; "
        "a mapping that they give another "
        "`kind` is replaced as a whole.",
    ),
}
INTRODUCTION = """# Configuration

Made from the models that check the settings by `python -m docs.reference`; do not edit.
A key that is not here is refused, with the nearest known one named. In the command line, `--config key=value`
overrides `config.yaml`, for example `--config scale=full limit=100`. A key with † says how a result is had and not
what it is: nothing is made again when it changes.
"""


def pages() -> dict[str, str]:
    """Every generated file by its path in `docs/`."""
    files = {
        f"schema/{name}.schema.json": json.dumps(schema(name), indent=2, sort_keys=True) + "\n" for name in SCHEMAS
    }
    files["configuration.md"] = "\n".join(configuration())
    return files


def schema(name: str) -> dict[str, Any]:
    """The JSON schema of a kind of file; what is required is so in that file, and may not come from another place."""
    found: dict[str, Any] = TypeAdapter(SCHEMAS[name]).json_schema()
    if name in LAID_OVER:
        for part in [found, *found["$defs"].values()]:
            part.pop("required", None)
    if name == "overlay":  # an experiment that another scale uses can be left out
        found["$defs"]["Experiment"]["properties"]["uses"]["additionalProperties"] = {"type": ["string", "null"]}
    if name == "paper":  # from `defaults`, a recipe, or another experiment
        found["$defs"]["Experiment"].pop("required")
    return found


def configuration() -> Iterator[str]:
    yield INTRODUCTION
    seen: set[type[BaseModel]] = set()
    for model, (title, text) in FILES.items():
        yield f"## {title}\n\n{text}\n"
        yield from tables(model, seen)
    for package, kind in CLASSES.items():
        yield f"## {kind}s\n\nFiles of `{package.replace('.', '/')}`; each has settings of its own.\n"
        for name in names(package):
            found = plugin(package, name, kind)
            yield f"### {name}\n\n{summary(found)}\n"
            yield from tables(found, seen)


def tables(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[str]:
    """The table of a model's keys, then those of the models inside it."""
    seen.add(model)
    if not model.model_fields:
        return
    inner: list[type[BaseModel]] = []
    yield "| key | type | default | meaning |\n|---|---|---|---|"
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else shown(field.get_default(call_default_factory=True))
        kinds = list(models(field.annotation))
        if kinds and not field.is_required() and len(default) > 40:
            default = "see below"
        meaning = (field.description or "").replace("|", "\\|").replace("<", "&lt;")
        mark = " †" if MANNER in field.metadata else ""
        yield f"| `{name}`{mark} | {type_name(field.annotation)} | {default.replace('|', chr(92) + '|')} | {meaning} |"
        inner += [kind for kind in kinds if kind not in seen]
    yield ""
    for kind in dict.fromkeys(inner):
        if kind not in seen:
            yield f"**{kind.__name__}**: {summary(kind)}\n"
            yield from tables(kind, seen)


def shown(value: Any) -> str:
    """A default as it stands in YAML."""
    return "`" + json.dumps(TypeAdapter(type(value)).dump_python(value, mode="json"), ensure_ascii=False) + "`"


def summary(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ")


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The settings models inside a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from models(argument)


def type_name(annotation: Any) -> str:
    """A type for people: `int or null`, `mini, full or smoke`."""
    arguments = getattr(annotation, "__args__", ())
    if hasattr(annotation, "__metadata__"):
        return type_name(annotation.__origin__)
    if getattr(annotation, "__origin__", None) is not None and str(annotation).startswith("typing.Literal"):
        return " or ".join(f"`{value}`" for value in arguments)
    if arguments and type(annotation).__name__ in {"UnionType", "Union", "_UnionGenericAlias"}:
        return " or ".join(type_name(argument) for argument in arguments)
    if annotation is type(None):
        return "null"
    if arguments:
        inside = ", ".join(type_name(argument) for argument in arguments if argument is not Ellipsis)
        return f"{annotation.__origin__.__name__} of {inside}"
    return {"str": "text", "int": "integer", "float": "number", "bool": "true or false", "Path": "path"}.get(
        getattr(annotation, "__name__", ""), getattr(annotation, "__name__", str(annotation))
    )


def write(folder: Path) -> None:
    for name, text in pages().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path("docs"))
