"""Pages of the documentation site that follow from code, catalogues and papers, and links between all pages.

Sphinx calls it (docs/conf.py). What is written lies in docs/generated/, which git does not track.
"""

import importlib
import inspect
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import typer

from docs import reference
from workflow_scripts.corpora import annotate
from workflow_scripts.media import fetch, records, text
from workflow_scripts.scores import score
from workflow_scripts.settings.assets import Catalogue
from workflow_scripts.settings.corpora import Corpora
from workflow_scripts.settings.plugins import CLASSES
from workflow_scripts.tables import cells, claims
from workflow_scripts.training import outputs

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
LINK = re.compile(r"(?<=\]\()(?!https?:)([^)#\s]+)(?=[)#])")
TAKEN_IN = {
    ROOT / "README.md": "readme",
    ROOT / "CHANGELOG.md": "changes",
    ROOT / "CONTRIBUTING.md": "contributing",
    ROOT / "examples/chirps/README.md": "chirps",
}
COMMANDS = (  # doors for people; `main`, or a whole `app`
    "workflow_scripts.new_paper.__main__",
    "workflow_scripts.failures",
    "workflow_scripts.status",
    "workflow_scripts.scores.__main__",
    "workflow_scripts.corpora.annotate",
    "workflow_scripts.media.fetch",
    "workflow_scripts.media.audio",
    "workflow_scripts.media.frames",
    "workflow_scripts.media.verify",
    "workflow_scripts.training.train",
    "workflow_scripts.training.launch",
    "composed.__main__",
    "composed.tools.preview",
    "composed.tools.recognise",
)
SCHEMAS = {  # files by name: what they hold, and their columns
    "manifest.parquet": ("One row a clip, in `work/<scale>/corpora/<corpus>/`.", annotate.MANIFEST),
    "clips/<shard>.parquet": ("The ledger of clips, in `work/<scale>/media/<corpus>/`.", fetch.SCHEMA),
    "records-<level>/<shard>.parquet": ("The ledger of record files.", records.SCHEMA),
    "text/<shard>.parquet": ("Titles and keywords of clips.", text.SCHEMA),
    "scores.parquet": ("Every score of an experiment, in `work/<scale>/scores/`.", score.SCORES),
}
PREDICTIONS = {  # the forms of predictions.parquet, with sizes as an example
    "of captions": (outputs.caption_schema, ()),
    "of one class a clip": (outputs.logit_schema, (["cat", "dog"],)),
    "of one class a head": (outputs.heads_schema, ({"verb": ["cut", "stir"], "noun": ["leek"]},)),
    "of ranked classes": (outputs.ranking_schema, (["cat", "dog", "cow"], 2)),
    "of sound events": (outputs.prediction_schema, (["cat", "dog"], 10, 0.1)),
}


def taken_in() -> dict[Path, str]:
    """The Markdown files outside docs/ that are pages of the site, and their names in docs/generated/."""
    notes = {file: f"papers/{file.parent.name}" for file in sorted(ROOT.glob("papers/*/NOTES.md"))}
    return TAKEN_IN | notes


def write(folder: Path) -> None:
    """Writes all generated pages into a folder, anew."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = dict(settings())
    pages["commands"] = "\n".join(commands())
    pages["catalogues"] = "\n".join(catalogues())
    pages["files"] = "\n".join(files())
    pages |= {name: file.read_text(encoding="utf-8") for file, name in taken_in().items()}
    for name, content in pages.items():
        path = folder / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def within(app: object, page: str, source: list[str]) -> None:
    """Before Sphinx reads a page: links to files that are pages elsewhere in the site lead to these pages."""
    known = taken_in()
    origin = {f"generated/{name}": file for file, name in known.items()}.get(page, DOCS / f"{page}.md")

    def moved(match: re.Match[str]) -> str:
        target = (origin.parent / match[1]).resolve()
        place = DOCS / "generated" / f"{known[target]}.md" if target in known else target
        return os.path.relpath(place, (DOCS / page).parent) if place.exists() else match[1]

    source[0] = LINK.sub(moved, source[0])


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """A Markdown table; what a cell holds is text."""
    names = list(header)
    yield "| " + " | ".join(names) + " |"
    yield "|" + "---|" * len(names)
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
    yield ""


def settings() -> Iterator[tuple[str, str]]:
    """The sections of docs/configuration.md, a page each, by name."""
    _, *sections = "\n".join(reference.configuration()).split("\n## ")
    for section in sections:
        title, _, content = section.partition("\n")
        name = re.sub(r"\W+", "_", re.sub(r"papers/.*/", "", title)).strip("_").lower()
        if title.removesuffix("s") in CLASSES.values():
            name = f"plug_ins_{name}"
        yield f"settings/{name}", "\n".join([f"# {title}", re.sub(r"^###", "##", content, flags=re.MULTILINE)])


def commands() -> Iterator[str]:
    """The commands with their arguments and options."""
    yield "# Commands\n\nEach is started with `python -m`; `--help` tells the same.\n"
    for module in COMMANDS:
        found = importlib.import_module(module)
        app = getattr(found, "app", None)
        if app is None:
            app = typer.Typer(add_completion=False)
            app.command()(found.main)
        yield from command(module.removesuffix(".__main__"), typer.main.get_command(app))


def command(name: str, found: Any) -> Iterator[str]:
    """One of Typer's commands, or all that a group has."""
    if parts := getattr(found, "commands", None):
        for own, part in parts.items():
            yield from command(f"{name} {own}", part)
        return
    yield f"## {name}\n\n{inspect.cleandoc(found.help or '')}\n"
    rows = []
    for option in found.params:
        names = option.name if option.param_type_name == "argument" else ", ".join(option.opts)
        rows.append((f"`{names}`", "yes" if option.required else "", getattr(option, "help", None) or ""))
    yield from table(("option", "required", "meaning"), rows)


def catalogues() -> Iterator[str]:
    """Corpora and assets with their licences."""
    yield "# Catalogues\n\n## Corpora\n\nOf `corpora.yaml`.\n"
    corpora = Corpora.load(ROOT / "corpora.yaml").corpora.items()
    homes = {name: f"<{one.homepage}>" if one.homepage else "" for name, one in corpora}
    rows = ((f"`{name}`", one.title, one.licence, homes[name]) for name, one in corpora)
    yield from table(("name", "what it is", "licence", "home"), rows)
    yield "## Assets\n\nOf `assets.yaml`: files that somebody else made.\n"
    assets = Catalogue.load(ROOT / "assets.yaml").assets.items()
    used = ((f"`{name}`", one.kind, one.licence, ", ".join(one.used_by), one.note) for name, one in assets)
    yield from table(("name", "kind", "licence", "used by", "note"), used)


def files() -> Iterator[str]:
    """The columns of files that stages hand to each other, and of those that people read."""
    yield "# File formats\n\nWhere files lie says [outputs](../outputs.md).\n"
    for name, (meaning, schema) in SCHEMAS.items():
        yield f"## {name}\n\n{meaning}\n"
        yield from columns(schema)
    yield "## predictions.parquet\n"
    for name, (function, arguments) in PREDICTIONS.items():
        yield f"### {name}\n\n{inspect.getdoc(function)}\n"
        yield from columns(function(*arguments))
    for name, header in (("published.csv", cells.PUBLISHED), ("claims.csv", claims.HEADER)):
        yield f"## {name}\n\nColumns: {', '.join(f'`{column}`' for column in header)}.\n"


def columns(schema: pa.Schema) -> Iterator[str]:
    rows: list[tuple[Any, ...]] = []
    for field in schema:
        about = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        note = ", ".join(f"{key} {value}" for key, value in about.items())
        rows.append((f"`{field.name}`", f"{field.type}", "" if field.nullable else "always there", note))
    yield from table(("column", "type", "null", "as an array"), rows)
