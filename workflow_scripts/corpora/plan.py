"""The jobs that compose a corpus, and turn annotation files into a manifest; which part of a corpus is taken."""

import functools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from workflow_scripts.corpora.interface import HELD_OUT, CorpusReader
from workflow_scripts.errors import UserError
from workflow_scripts.jobs import INPUT, Job
from workflow_scripts.settings.base import MANNER
from workflow_scripts.settings.plugins import COMPOSERS, READERS, plugin
from workflow_scripts.settings.sample import Sample

if TYPE_CHECKING:
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


def compose_corpus(scale: "Scale", corpus: str) -> ComposeCorpus:
    name, settings = scale.corpus(corpus).composer, composer(scale, corpus)
    return ComposeCorpus(composer=name, settings=settings, assets=scale.asset_files(settings.assets))


def composer(scale: "Scale", corpus: str) -> Any:
    """The composer of a corpus with its settings."""
    declared = scale.corpus(corpus)
    if declared.composer is None:
        raise UserError(f"{scale.corpus_place(corpus)}: this corpus is not composed")
    where = scale.corpus_place(corpus)
    kind = plugin(COMPOSERS, declared.composer, f"{where}.composer")
    chosen = kind.check(declared.composition, f"{where}.composition")
    return kind.check(chosen.model_dump(mode="json"), where)  # defaults in the order of keys too: draws follow it


def composed(scale: "Scale", corpus: str) -> Path:
    """The folder of a composed corpus."""
    return scale.work / "corpora" / corpus / "composed"


class AnnotateCorpus(Job):
    """The manifest of a corpus: one row a clip.

    `files` are the annotation files by the reader's names for them, and `needed` are those that another job makes;
    `ledgers` tell of the record files of a corpus of records.
    """

    step = "workflow_scripts.corpora.annotate:annotate"

    reader: str
    reading: CorpusReader
    link: str | None
    names: list[str] = Field([])  # of the files in an archive
    sample: Sample = Sample()
    files: Annotated[dict[str, Path], MANNER]
    needed: Annotated[list[Path], INPUT]
    ledgers: Annotated[list[Path], INPUT] = Field([])


def annotate_corpus(scale: "Scale", corpus: str) -> AnnotateCorpus:
    declared, chosen, ledgers = scale.corpus(corpus), sample(scale, corpus), []
    if declared.records is not None:
        folder = records(scale, corpus, "video")
        ledgers = [folder / f"{shard}.parquet" for shard in range(shards(scale, corpus))]
        chosen = chosen.model_copy(update={"fraction": 1.0})  # it was one of the files
    reading = reader(scale, corpus)
    return AnnotateCorpus(
        reader=declared.reader,
        reading=reading,
        link=declared.link,
        names=declared.archive.names if declared.archive else [],
        sample=chosen,
        files=annotations(scale, corpus),
        needed=[*annotation_files(scale, corpus), *reading.own_files],
        ledgers=ledgers,
    )


def reader(scale: "Scale", corpus: str) -> Any:
    """The reader of a corpus's annotation files with its settings."""
    declared, where = scale.corpus(corpus), scale.corpus_place(corpus)
    return plugin(READERS, declared.reader, f"{where}.reader").check(declared.reading, f"{where}.reading")


def annotations(scale: "Scale", corpus: str) -> dict[str, Path]:
    """The annotation files of a corpus by the reader's names for them."""
    declared = scale.corpus(corpus)
    if declared.composer is not None:
        files = dict(reader(scale, corpus).files)
        if composer(scale, corpus).holds_out:
            files[HELD_OUT] = f"{HELD_OUT}.txt"
        return {role: composed(scale, corpus) / path for role, path in files.items()}
    return {role: scale.asset_files([asset])[asset] for role, asset in declared.annotations.items()}


def annotation_files(scale: "Scale", corpus: str) -> list[Path]:
    """What must be there before the annotation files can be read."""
    if scale.corpus(corpus).composer is not None:
        return [composed(scale, corpus) / NOTICE]
    return list(annotations(scale, corpus).values())


# which part is taken


@functools.cache
def sample(scale: "Scale", corpus: str) -> Sample:
    """The part of a corpus that is taken."""
    fraction = round(scale.config.fraction * scale.corpus(corpus).fraction, 12)
    return Sample(limit=scale.config.limit, fraction=fraction, seed=scale.config.sample_seed)


@functools.cache
def shards(scale: "Scale", corpus: str) -> int:
    """Into how many jobs each stage of a corpus is divided: no more than what is taken of it needs."""
    declared, chosen = scale.corpus(corpus), sample(scale, corpus)
    counts = [chosen.share(declared.shards)]
    if chosen.limit is not None:
        counts.append(chosen.limit)
    if declared.records is not None and declared.records.sizes:
        most = files_within_limit(scale, corpus)
        sizes = declared.records.sizes.items()
        counts.append(sum(min(chosen.share(size.files), most.get(part, size.files)) for part, size in sizes))
    return min(counts)


def files_within_limit(scale: "Scale", corpus: str) -> dict[str, int]:
    """How many record files of each part hold, almost surely, as many clips of each split as the limit allows."""
    declared, limit = scale.corpus(corpus).records, scale.config.limit
    if declared is None or limit is None:
        return {}
    wanted, most = limit + 4 * math.sqrt(limit), dict[str, int]()  # four standard deviations of so rare a count more
    for part, size in declared.sizes.items():
        shares = reader(scale, corpus).shares(part).values()
        rarest = min((share for share in shares if share > 0), default=1.0) * size.examples / size.files
        most[part] = min(math.ceil(wanted / rarest), size.files)
    return most


def manifest(scale: "Scale", corpus: str) -> Path:
    return scale.work / "corpora" / corpus / "manifest.parquet"


def records(scale: "Scale", corpus: str, level: str) -> Path:
    """The folder of a corpus's record files at one level, and of the ledgers of them."""
    return scale.work / "media" / corpus / f"records-{level}"
