"""What comes from a network: all that the chosen papers need, so that the rest can be made without one."""

from collections.abc import Iterator
from pathlib import Path

from workflow_scripts.assets.plan import hub_model
from workflow_scripts.corpora.plan import composer
from workflow_scripts.features import plan as features
from workflow_scripts.media import plan as media
from workflow_scripts.scores.plan import scorer
from workflow_scripts.settings.scale import Scale
from workflow_scripts.training.plan import system


def downloads(scale: Scale) -> list[Path]:
    """The files that hold, or tell of, everything that is fetched for the chosen papers; each once."""
    return list(dict.fromkeys(path for paper in scale.papers for path in of_paper(scale, paper)))


def of_paper(scale: Scale, name: str) -> Iterator[Path]:
    """Corpora, and the assets of extractors, reducers, systems and metrics, models on the hub."""
    paper = scale.paper(name)
    extractors = {feature: features.extractor(scale, name, feature) for feature in paper.features}
    reducers = [features.reducer(scale, name, reduction) for reduction in paper.reductions]
    systems = [part(scale, name, experiment) for experiment in paper.experiments for part in (system, scorer)]
    for plugin in [*extractors.values(), *reducers, *systems]:
        yield from scale.asset_files(plugin.assets).values()
    for extractor in extractors.values():
        yield from (hub_model(scale, model, revision) for model, revision in extractor.hub_models.items())
    for corpus in paper.corpora.values():
        yield from of_corpus(scale, corpus)
    for feature, extractor in extractors.items():
        corpus = features.feature_corpus(scale, name, feature)
        if extractor.source == "records":
            yield from media.shards(scale, corpus, f"records-{extractor.level}")
        if extractor.source == "text":
            yield from media.shards(scale, corpus, "text")


def of_corpus(scale: Scale, name: str) -> Iterator[Path]:
    """What a corpus is composed from, or its annotation files; its clips."""
    corpus = scale.corpus(name)
    assets = composer(scale, name).assets if corpus.composer else corpus.annotations.values()
    yield from scale.asset_files([*assets, *(corpus.archive.packed if corpus.archive else [])]).values()
    if corpus.has_clips:
        yield from media.clips(scale, name)
