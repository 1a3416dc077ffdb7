"""The jobs that compose a corpus, and turn annotation files into a manifest."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from workflow_scripts.corpora.interface import CorpusReader
from workflow_scripts.errors import UserError
from workflow_scripts.jobs import INPUT, Job
from workflow_scripts.settings.base import MANNER
from workflow_scripts.settings.plugins import COMPOSERS, READERS, plugin
from workflow_scripts.settings.scale import Scale

NOTICE = "COMPOSED.md"  # the last file that a composer writes


class ComposeCorpus(Job):
    """A small corpus in the true formats of its sources; its files lie beside the output, a notice that says so."""

    verbose = True

    composer: str
    settings: Any  # the composer; this package knows none
    assets: Annotated[dict[str, Path], INPUT]

    def run(self, *outputs: Path) -> None:
        self.settings.compose(self.assets, outputs[0].parent, self.threads)


def compose_corpus(scale: Scale, corpus: str) -> ComposeCorpus:
    name, settings = scale.corpus(corpus).composer, composer(scale, corpus)
    return ComposeCorpus(composer=name, settings=settings, assets=scale.asset_files(settings.assets))


def composer(scale: Scale, corpus: str) -> Any:
    """The composer of a corpus with its settings."""
    declared = scale.corpus(corpus)
    if declared.composer is None:
        raise UserError(f"corpora.yaml: {corpus}: this corpus is not composed")
    where = f"corpora.yaml: {corpus}"
    kind = plugin(COMPOSERS, declared.composer, f"{where}.composer")
    chosen = kind.check(declared.composition, f"{where}.composition")
    return kind.check(chosen.model_dump(mode="json"), where)  # defaults in the order of keys too: draws follow it


def composed(scale: Scale, corpus: str) -> Path:
    """The folder of a composed corpus."""
    return scale.work / "corpora" / corpus / "composed"


class AnnotateCorpus(Job):
    """The manifest of a corpus: one row a clip.

    `files` are the annotation files by the reader's names for them, and of a corpus of records the folder of the
    ledgers of its record files; `needed` are those files that another job makes.
    """

    step = "workflow_scripts.corpora.annotate:annotate"

    reader: str
    reading: CorpusReader
    link: str | None
    names: list[str] = Field([])  # of the files in an archive
    limit: int | None
    files: Annotated[dict[str, Path], MANNER]
    needed: Annotated[list[Path], INPUT]


def annotate_corpus(scale: Scale, corpus: str) -> AnnotateCorpus:
    declared, files = scale.corpus(corpus), annotations(scale, corpus)
    needed = annotation_files(scale, corpus)
    if declared.records is not None:
        files |= {"records": records(scale, corpus, "video")}
        needed += [files["records"] / f"{shard}.parquet" for shard in range(declared.shards)]
    return AnnotateCorpus(
        reader=declared.reader,
        reading=reader(scale, corpus),
        link=declared.link,
        names=declared.archive.names if declared.archive else [],
        limit=scale.config.limit,
        files=files,
        needed=needed,
    )


def reader(scale: Scale, corpus: str) -> Any:
    """The reader of a corpus's annotation files with its settings."""
    declared, where = scale.corpus(corpus), f"corpora.yaml: {corpus}"
    return plugin(READERS, declared.reader, f"{where}.reader").check(declared.reading, f"{where}.reading")


def annotations(scale: Scale, corpus: str) -> dict[str, Path]:
    """The annotation files of a corpus by the reader's names for them."""
    declared = scale.corpus(corpus)
    if declared.composer is not None:
        return {role: composed(scale, corpus) / path for role, path in reader(scale, corpus).files.items()}
    return {role: scale.asset_files([asset])[asset] for role, asset in declared.annotations.items()}


def annotation_files(scale: Scale, corpus: str) -> list[Path]:
    """What must be there before the annotation files can be read."""
    if scale.corpus(corpus).composer is not None:
        return [composed(scale, corpus) / NOTICE]
    return list(annotations(scale, corpus).values())


def manifest(scale: Scale, corpus: str) -> Path:
    return scale.work / "corpora" / corpus / "manifest.parquet"


def records(scale: Scale, corpus: str, level: str) -> Path:
    """The folder of a corpus's record files at one level, and of the ledgers of them."""
    return scale.work / "media" / corpus / f"records-{level}"
