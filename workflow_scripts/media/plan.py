"""The jobs that fetch clips, records and texts, and decode sound."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import Field

from workflow_scripts.assets.plan import unpacked
from workflow_scripts.corpora import plan as corpora
from workflow_scripts.corpora.plan import annotation_files, annotations, composed, manifest, reader, records
from workflow_scripts.jobs import INPUT, Job, StageJob
from workflow_scripts.settings.archive import Archive
from workflow_scripts.settings.base import MANNER, Strict
from workflow_scripts.settings.download import Connection, Download
from workflow_scripts.settings.media import Audio, Bounds
from workflow_scripts.settings.records import Level, Records
from workflow_scripts.settings.sample import Sample
from workflow_scripts.settings.text import Text

if TYPE_CHECKING:
    from workflow_scripts.settings.scale import Scale

S = TypeVar("S", bound=Strict)
REVISION = 1  # raise it when a change of code changes what is fetched or decoded: it is then done anew


class Fetch(Job):
    """What all downloads of a shard share: it is cut by number, and keeps its files and its journal in `store`.

    Composed sources lie in `served`, and are served on loopback meanwhile; `sources` tell that files are there.
    """

    verbose = True

    shard: Annotated[int, MANNER] = 0
    shards: int = 1
    store: Annotated[Path, MANNER]
    served: Annotated[Path | None, MANNER] = None
    sources: Annotated[list[Path], INPUT] = Field([])
    pace: Annotated[Path | None, MANNER] = None
    revision: int = REVISION

    @property
    def turns(self) -> Path:
        """Where jobs that ask the same site take turns."""
        return self.pace or self.store / "pace"


class FetchClips(Fetch):
    """The clips of one shard of a manifest, and the ledger of what became of each.

    What an archive has is read from its folders, or from the `folder` in which it was unpacked.
    """

    step = "workflow_scripts.media.fetch:fetch_clips"

    manifest: Annotated[Path, INPUT]
    download: Download = Download()
    archive: Archive | None = None
    folder: Annotated[Path | None, MANNER] = None
    bounds: Annotated[Bounds, MANNER] = Bounds()
    revision: int = REVISION + 1  # the sound of cuts is kept without loss

    @property
    def folders(self) -> list[Path]:
        """Where the files of the archive lie."""
        return [self.folder] if self.folder else self.archive.folders if self.archive else []


def fetch_clips(scale: "Scale", corpus: str, shard: str) -> FetchClips:
    archive, unpacking = scale.corpus(corpus).archive, unpacked(scale, corpus)
    packed = archive is not None and bool(archive.packed)
    return FetchClips(
        manifest=manifest(scale, corpus),
        download=download(scale, corpus),
        archive=archive,
        folder=unpacking / "files" if packed else None,
        bounds=scale.config.bounds,
        shard=int(shard),
        shards=corpora.shards(scale, corpus),
        store=media(scale, corpus),
        served=served(scale, corpus),
        sources=[unpacking / "unpacked.json"] if packed else [],
        pace=pace(scale),
    )


class FetchRecords(Fetch):
    """The record files of one shard, and the ledger of what became of each; `most` of each part are taken."""

    step = "workflow_scripts.media.records:fetch_records"

    level: Level
    records: Records
    sample: Sample = Sample()
    most: dict[str, int] = Field({})


def fetch_records(scale: "Scale", corpus: str, level: str, shard: str) -> FetchRecords:
    declared = scale.corpus(corpus)
    return FetchRecords(
        level=level,
        records=asked_as_configured(scale, declared.records, f"{corpus}.records"),
        sample=corpora.sample(scale, corpus),
        most=corpora.files_within_limit(scale, corpus),
        shard=int(shard),
        shards=corpora.shards(scale, corpus),
        store=records(scale, corpus, level),
        served=served(scale, corpus),
        sources=annotation_files(scale, corpus) if declared.composer else [],
    )


class FetchText(Fetch):
    """Title and keywords of the videos of one shard of record files; `files` are those of a release, by role."""

    step = "workflow_scripts.media.text:fetch_text"

    manifest: Annotated[Path, INPUT]
    records: Annotated[Path, INPUT]
    text: Text
    files: Annotated[dict[str, Path], MANNER] = Field({})


def fetch_text(scale: "Scale", corpus: str, shard: str) -> FetchText:
    files = annotations(scale, corpus)
    return FetchText(
        manifest=manifest(scale, corpus),
        records=records(scale, corpus, "video") / f"{shard}.parquet",
        text=asked_as_configured(scale, scale.corpus(corpus).text, f"{corpus}.text"),
        files={role: files[role] for role in sorted(reader(scale, corpus).optional) if role in files},
        shard=int(shard),
        store=media(scale, corpus) / "text",
        sources=annotation_files(scale, corpus),
        pace=pace(scale),
    )


class DecodeAudio(StageJob):
    """The sound of one shard of clips, whose files lie in `store`."""

    step = "workflow_scripts.media.audio:decode_audio"
    expensive = True

    clips: Annotated[Path, INPUT]
    store: Annotated[Path, MANNER]
    audio: Audio
    bounds: Annotated[Bounds, MANNER] = Bounds()
    revision: int = REVISION


def decode_audio(scale: "Scale", corpus: str, sample_rate: str, shard: str) -> DecodeAudio:
    return DecodeAudio(
        clips=media(scale, corpus) / "clips" / f"{shard}.parquet",
        store=media(scale, corpus),
        audio=Audio(sample_rate=int(sample_rate), clip_seconds=scale.corpus(corpus).clip_seconds),
        bounds=scale.config.bounds,
        losses=scale.config.losses,
    )


def media(scale: "Scale", corpus: str) -> Path:
    return scale.work / "media" / corpus


def download(scale: "Scale", corpus: str) -> Download:
    """How the clips of a corpus are downloaded."""
    chosen = scale.config.download.model_dump() | scale.corpus(corpus).download
    return Download.check(chosen, f"{scale.corpus_place(corpus)}.download")


def asked_as_configured(scale: "Scale", source: S | None, where: str) -> S | None:
    """A source's settings, with the manners that `download` of config.yaml names and the source itself does not."""
    if source is None:
        return None
    named = scale.config.download.model_dump(include=set(Connection.model_fields), exclude_unset=True)
    fitting = {name: value for name, value in named.items() if name in type(source).model_fields}
    return source.check(fitting | source.model_dump(exclude_unset=True), f"corpora.yaml: {where}")


def pace(scale: "Scale") -> Path:
    """Where all jobs of all scales that ask the same site take turns."""
    return scale.config.work_dir / "pace"


def served(scale: "Scale", corpus: str) -> Path | None:
    """The folder of the sources of a corpus, if they are composed."""
    return composed(scale, corpus) / "sources" if scale.corpus(corpus).composer else None


def shards(scale: "Scale", corpus: str, stage: str) -> list[Path]:
    """The shards of a stage (`clips`, `text`, `audio-<rate>`, `records-<level>`) of a corpus."""
    return [media(scale, corpus) / stage / f"{shard}.parquet" for shard in range(corpora.shards(scale, corpus))]


def clips(scale: "Scale", corpus: str) -> list[Path]:
    """The files that tell which clips could be had; where nothing is fetched, the manifest itself."""
    return shards(scale, corpus, "clips") if scale.corpus(corpus).has_clips else [manifest(scale, corpus)]
