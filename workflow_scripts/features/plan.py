"""The jobs that make what the models are given: shards of features, and files computed from all of a feature."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from workflow_scripts.assets.plan import hub_model
from workflow_scripts.captions.plan import RewriteCaptions
from workflow_scripts.corpora.interface import RecordReader
from workflow_scripts.corpora.plan import annotation_files, annotations, manifest, reader, records, shards
from workflow_scripts.devices import Device
from workflow_scripts.errors import UserError
from workflow_scripts.features.interface import (
    AudioExtractor,
    CorpusExtractor,
    FeatureReducer,
    FrameExtractor,
    RecordExtractor,
    TextExtractor,
)
from workflow_scripts.jobs import INPUT, Job, StageJob
from workflow_scripts.media.plan import media
from workflow_scripts.settings.base import MANNER
from workflow_scripts.settings.media import Bounds
from workflow_scripts.settings.plugins import EXTRACTORS, REDUCERS, plugin

if TYPE_CHECKING:
    from workflow_scripts.settings.scale import Scale


class ExtractArrays(StageJob):
    """One array a clip of one shard."""

    expensive = True
    verbose = True

    extractor: str
    clip_seconds: float
    device: Annotated[Device, MANNER] = "auto"
    batch: Annotated[int, MANNER] = 16  # clips at once


class ExtractFeatures(ExtractArrays):
    """Of a clip's sound or its frames, whose files lie in `store`; `clips` is a shard of sound, or of fetched clips."""

    step = "workflow_scripts.features.extract:extract_media"

    settings: AudioExtractor | FrameExtractor
    assets: Annotated[dict[str, Path], INPUT] = Field({})
    clips: Annotated[Path, INPUT]
    store: Annotated[Path, MANNER]
    bounds: Annotated[Bounds, MANNER] = Bounds()


class ExtractCorpus(ExtractArrays):
    """Out of the corpus's own files (`files`, by the reader's names for them)."""

    step = "workflow_scripts.features.extract:extract_corpus"

    settings: CorpusExtractor
    manifest: Annotated[Path, INPUT]
    sources: Annotated[list[Path], INPUT] = Field([])
    files: Annotated[dict[str, Path], MANNER]
    shard: Annotated[int, MANNER] = 0
    shards: int = 1


class ExtractRecords(StageJob):
    """Precomputed features out of the record files of one shard, or words of its texts.

    `source` is a ledger of record files, or a shard of texts; `files` are the annotation files that the reader knows.
    """

    step = "workflow_scripts.features.extract_records:extract_records"
    expensive = True
    verbose = True

    extractor: str
    settings: RecordExtractor | TextExtractor
    assets: Annotated[dict[str, Path], INPUT] = Field({})
    source: Annotated[Path, INPUT]
    manifest: Annotated[Path, INPUT]
    sources: Annotated[list[Path], INPUT] = Field([])
    reading: RecordReader
    files: Annotated[dict[str, Path], MANNER]


def extract_features(scale: "Scale", paper: str, feature: str, shard: str) -> Job:
    """The job of one shard of a feature, by what its extractor reads."""
    settings, corpus = extractor(scale, paper, feature), feature_corpus(scale, paper, feature)
    clips, seconds = manifest(scale, corpus), scale.corpus(corpus).clip_seconds
    losses = scale.config.losses
    part = {"shard": int(shard), "shards": jobs(scale, paper, feature)}
    assets = scale.asset_files(settings.assets)
    if settings.source == "captions":
        models = {name: hub_model(scale, name, revision) for name, revision in settings.hub_models.items()}
        answers = scale.config.work_dir / "answers"
        return RewriteCaptions(
            **part,
            manifest=clips,
            assets=assets,
            models=models,
            temporal=settings,
            answers=answers,
            losses=losses,
            device=scale.config.device,
            gpu_mb=scale.declared(paper, "features", feature).cost.gpu_mb,
        )
    common = {"losses": losses, "extractor": scale.declared(paper, "features", feature).extractor, "settings": settings}
    if settings.source in ("records", "text"):
        folder = media(scale, corpus) / "text" if settings.source == "text" else records(scale, corpus, settings.level)
        return ExtractRecords(
            **common,
            assets=assets,
            source=folder / f"{shard}.parquet",
            manifest=clips,
            sources=annotation_files(scale, corpus),
            reading=reader(scale, corpus),
            files=annotations(scale, corpus),
        )
    common |= {"clip_seconds": seconds, "device": scale.config.device}
    if settings.source == "corpus":
        files = annotations(scale, corpus)
        for role in settings.files:
            if role not in files:
                raise UserError(f"{scale.place(paper)}: features.{feature}: the corpus '{corpus}' has no file '{role}'")
        return ExtractCorpus(
            **common,
            **part,
            manifest=clips,
            sources=annotation_files(scale, corpus),
            files={role: files[role] for role in settings.files},
        )
    store = media(scale, corpus)
    clips = store / (f"audio-{settings.sample_rate}" if settings.source == "audio" else "clips") / f"{shard}.parquet"
    return ExtractFeatures(**common, assets=assets, clips=clips, store=store, bounds=scale.config.bounds)


def extractor(scale: "Scale", paper: str, name: str) -> Any:
    """The extractor of a feature with its settings."""
    feature, where = scale.declared(paper, "features", name), f"{scale.place(paper)} ({scale.name}): features.{name}"
    return plugin(EXTRACTORS, feature.extractor, f"{where}.extractor").check(feature.settings, f"{where}.settings")


def feature_corpus(scale: "Scale", paper: str, name: str) -> str:
    return scale.paper(paper).corpora[scale.declared(paper, "features", name).corpus]


def jobs(scale: "Scale", paper: str, name: str) -> int:
    """In how many jobs a feature is extracted; captions in one, so that a language model is loaded once."""
    one = extractor(scale, paper, name).source == "captions"
    return 1 if one else shards(scale, feature_corpus(scale, paper, name))


@functools.cache
def feature_shards(scale: "Scale", paper: str, name: str) -> list[Path]:
    folder = scale.work / "features" / paper / name
    return [folder / f"{shard}.parquet" for shard in range(jobs(scale, paper, name))]


class ReduceFeatures(Job):
    """One file computed from all shards of a feature, and from the manifest of its corpus."""

    step = "workflow_scripts.features.reduce:reduce_features"
    expensive = True
    verbose = True

    reducer: str
    settings: FeatureReducer
    features: Annotated[list[Path], INPUT]
    manifest: Annotated[Path, INPUT]
    assets: Annotated[dict[str, Path], INPUT] = Field({})


def reduce_features(scale: "Scale", paper: str, reduction: str, suffix: str) -> ReduceFeatures:
    chosen, settings = scale.declared(paper, "reductions", reduction), reducer(scale, paper, reduction)
    return ReduceFeatures(
        reducer=chosen.reducer,
        settings=settings,
        features=feature_shards(scale, paper, chosen.feature),
        manifest=manifest(scale, feature_corpus(scale, paper, chosen.feature)),
        assets=scale.asset_files(settings.assets),
    )


def reducer(scale: "Scale", paper: str, name: str) -> Any:
    """The reducer of a reduction with its settings."""
    chosen, where = scale.declared(paper, "reductions", name), f"{scale.place(paper)} ({scale.name}): reductions.{name}"
    return plugin(REDUCERS, chosen.reducer, f"{where}.reducer").check(chosen.settings, f"{where}.settings")


def reduced(scale: "Scale", paper: str, name: str) -> Path:
    """The file that a reduction makes."""
    return scale.work / "features" / paper / f"{name}{reducer(scale, paper, name).suffix}"
