"""What comes from a network: all that the chosen papers need, so that the rest can be made without one."""

from collections.abc import Iterator

from workflow_scripts.plan.results import Plan


def downloads(plan: Plan) -> list[str]:
    """The files that hold, or tell of, everything that is fetched for the chosen papers; each once."""
    return list(dict.fromkeys(path for paper in plan.papers for path in of_paper(plan, paper)))


def of_paper(plan: Plan, name: str) -> Iterator[str]:
    """Corpora, and the assets of extractors, reducers, systems and metrics, models on the hub."""
    paper = plan.paper(name)
    extractors = {feature: plan.extractor(name, feature) for feature in paper.features}
    reducers = [plan.reducer(name, reduction) for reduction in paper.reductions]
    for asset in [asset for part in [*extractors.values(), *reducers] for asset in part.assets]:
        yield plan.asset_path(asset)
    for extractor in extractors.values():
        yield from plan.hub_models(extractor).values()
    for experiment in paper.experiments:
        yield from map(plan.asset_path, plan.training_assets(name, experiment))
        yield from map(plan.asset_path, plan.scoring_assets(name, experiment))
    for corpus in paper.corpora.values():
        yield from of_corpus(plan, corpus)
    for feature, extractor in extractors.items():
        if extractor.source == "records":
            yield from plan.ledgers_of_records(plan.feature_corpus(name, feature), extractor.level)
        if extractor.source == "text":
            yield from plan.texts(plan.feature_corpus(name, feature))


def of_corpus(plan: Plan, name: str) -> Iterator[str]:
    """What a corpus is composed from, or its annotation files; its clips."""
    corpus = plan.corpus(name)
    assets = plan.composer(name).assets if corpus.composer else corpus.annotations.values()
    yield from map(plan.asset_path, [*assets, *corpus.archives])
    if corpus.link:
        yield from plan.clips(name)
