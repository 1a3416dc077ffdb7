"""The job that rehearses the full scale, and what there is to rehearse: all jobs of all chosen papers, by parts."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from pydantic import Field, SerializeAsAny

from workflow_scripts.assets import plan as assets
from workflow_scripts.comparability import COVERAGE
from workflow_scripts.corpora import plan as corpora
from workflow_scripts.features import plan as features
from workflow_scripts.features.interface import ArrayExtractor, RecordExtractor
from workflow_scripts.figures import plan as figures
from workflow_scripts.jobs import Job
from workflow_scripts.listening import plan as listening
from workflow_scripts.media import plan as media
from workflow_scripts.plan.downloads import of_paper as fetched
from workflow_scripts.plan.resources import asks
from workflow_scripts.scores import plan as scores
from workflow_scripts.settings.assets import Asset
from workflow_scripts.settings.base import MANNER, Strict
from workflow_scripts.settings.figures import Figure
from workflow_scripts.settings.media import Audio
from workflow_scripts.settings.rehearsal import Rehearsal
from workflow_scripts.settings.scale import Scale
from workflow_scripts.tables import plan as tables
from workflow_scripts.training import plan as training
from workflow_scripts.turns import TURNS

# What is published or usual, for what no job can tell before it has run.
RECORD_BYTES = {"video": 5_100, "frame": 250_000}  # of a video: 31 GB and 1.53 TB of 6.1 million, as YouTube-8M states
CLIP_BYTES_A_SECOND = {"audio": 16_000, "video": 80_000}  # 128 kbit/s of sound; with 360 lines of picture, 640 kbit/s
HUB_BYTES = {"microsoft/phi-4": 29_300_000_000}  # huggingface.co: 14.7e9 weights of two bytes
CALLS = {"data_api": 50}  # videos an ask


class Part(Strict):
    """Jobs of one stage of one paper that differ in nothing but their share of the data.

    `items` is what the cost of the largest job grows with, `total` that of all jobs, both in `unit`; of a training job
    these are the clips that a seed learns from in an epoch. `example` is one of the jobs; `benchmarks` are patterns of
    the files that Snakemake has written about finished ones.
    """

    paper: str
    stage: str
    name: str
    jobs: int = Field(ge=1)
    unit: str = "clips"
    items: int = Field(0, ge=0)
    total: int = Field(0, ge=0)
    counts: dict[str, int] = Field({}, description="clips of the corpus by split")
    mem_mb: int
    runtime: int
    turns: int = Field(1, description="how often a job may run for so long: one that is queued again goes on")
    gpu: int = 0
    benchmarks: list[str]
    fetched: int | None = Field(0, description="bytes from a network; null: nobody says")
    stored: int | None = Field(None, description="bytes of all results, before they are packed; null: nobody says")
    note: str = Field("", description="what to know of these numbers")
    source_hours: float | None = Field(
        None, description="of asking all that is asked, at the declared pace, one by one"
    )
    job_hours: float | None = Field(None, description="the same of the largest job")
    example: SerializeAsAny[Job] | None = None
    reader: str = Field("", description="who reads the annotations of the corpus")
    seeds: int = Field(1, description="of an experiment")
    splits: list[str] = Field([], description="that an experiment predicts")
    needs: "dict[str, Part]" = Field({}, description="the parts whose results the example reads, by name")


class Rehearse(Job):
    """What the parts of the full scale cost; `scratch` is for payloads."""

    step = "workflow_scripts.rehearsal.rehearse:rehearse"
    cheap = True
    verbose = True

    parts: list[Part]
    settings: Rehearsal
    scratch: Annotated[Path, MANNER]


def rehearse(scale: Scale) -> Rehearse:
    parts = [part for paper in scale.papers for part in of_paper(scale, paper)]
    return Rehearse(parts=parts, settings=scale.config.rehearsal, scratch=scale.work / "rehearsal")


def of_paper(scale: Scale, paper: str) -> Iterator[Part]:
    """The parts of a paper in the order of the data's way."""
    yield from of_assets(scale, paper)
    for corpus in scale.paper(paper).corpora.values():
        yield from of_corpus(scale, paper, corpus)
    for feature in extracted(scale, paper):
        yield of_feature(scale, paper, feature)
    for reduction in scale.paper(paper).reductions:
        yield of_reduction(scale, paper, reduction)
    for experiment in trained(scale, paper):
        yield of_training(scale, paper, experiment)
    for experiment in scored(scale, paper):
        yield of_scores(scale, paper, experiment)
    yield from of_tables(scale, paper)


def part(scale: Scale, paper: str, stage: str, name: str, benchmarks: str, /, **others: Any) -> Part:
    """A part with what its jobs ask for at their first attempt."""
    wildcards = {"paper": paper, **others.pop("wildcards", {})}
    found = asks(scale, stage, wildcards, attempt=1)
    asked = {key: int(found.get(key) or 0) for key in ("mem_mb", "runtime", "gpu")}
    if isinstance(example := others.get("example"), Job):
        others["example"] = example.model_copy(update={"threads": getattr(scale.stages, stage).threads})
    return Part(paper=paper, stage=stage, name=name, benchmarks=[str(scale.work / benchmarks)], **asked, **others)


# counts


def counts(scale: Scale, paper: str, corpus: str) -> dict[str, int]:
    """The clips that the paper had of each split of a corpus, as far as they are taken."""
    aliases = [alias for alias, name in scale.paper(paper).corpora.items() if name == corpus]
    printed, chosen = scale.paper(paper).counts.get(aliases[0], {}), corpora.sample(scale, corpus)
    return {split: min(chosen.share(count), chosen.limit or count) for split, count in printed.items()}


def width(kind: pa.DataType) -> int:
    """Bytes of a value; of what has no width of its own, four."""
    return kind.byte_width if pa.types.is_fixed_size_binary(kind) or pa.types.is_primitive(kind) else 4


def share(total: int, jobs: int) -> int:
    """The largest of the parts into which hashes divide `total`: three deviations above the mean."""
    mean = total / jobs
    return total if jobs == 1 else min(total, math.ceil(mean + 3 * math.sqrt(mean)))


def clips(scale: Scale, paper: str, corpus: str, jobs: int | None = None) -> dict[str, Any]:
    """How the clips of a corpus are divided among jobs, by default as many as it has shards."""
    found, jobs = counts(scale, paper, corpus), jobs or corpora.shards(scale, corpus)
    total = sum(found.values())
    known: dict[str, Any] = {"counts": found, "reader": scale.corpus(corpus).reader}
    return {"jobs": jobs, "total": total, "items": share(total, jobs), **known}


# from a network


def of_assets(scale: Scale, paper: str) -> Iterator[Part]:
    """What somebody else made: files of the catalogue, models on the hub, packed archives."""
    folder = scale.config.work_dir
    files = dict.fromkeys(path for path in fetched(scale, paper) if path.is_relative_to(folder / "assets"))
    spared = assets_on_request(scale, paper)
    names = [path.parent.name for path in files if path.parent.name not in spared]
    if names:
        chosen = [scale.asset(name, paper) for name in names]
        size = None if any(asset.bytes is None for asset in chosen) else sum(asset.sizes[1] for asset in chosen)
        known: dict[str, Any] = {
            "jobs": len(names),
            "unit": "files",
            "items": 1,
            "total": len(names),
            "fetched": size,
            "stored": size,
            "note": rough_sizes(chosen),
        }
        found = part(scale, paper, "assets", "files", "", **known)
        yield found.model_copy(update={"benchmarks": [str(folder / "benchmarks" / "assets" / n / "*") for n in names]})
    models = {
        name: revision
        for feature in scale.paper(paper).features
        for name, revision in features.extractor(scale, paper, feature).hub_models.items()
    }
    for name, revision in models.items():
        size = HUB_BYTES.get(name)
        known = {"jobs": 1, "unit": "models", "items": 1, "total": 1, "fetched": size, "stored": size}
        found = part(scale, paper, "assets", name, "", **known)
        path = assets.hub_model(scale, name, revision).parent.relative_to(folder)
        yield found.model_copy(update={"benchmarks": [str(folder / "benchmarks" / path) + ".tsv"]})
    for corpus in scale.paper(paper).corpora.values():
        archive = scale.corpus(corpus).archive
        if archive is not None and archive.packed:
            known = {"jobs": 1, "unit": "archives", "total": len(archive.packed)}
            found = part(scale, paper, "unpacking", corpus, "", **known)
            yield found.model_copy(update={"benchmarks": [str(folder / "benchmarks" / "archives" / f"{corpus}.tsv")]})


def rough_sizes(chosen: list[Asset]) -> str:
    """How far the sizes of files can be off of which the catalogue says a range only; empty if it says all."""
    rough = [asset for asset in chosen if asset.sizes[0] != asset.sizes[1]]
    if not rough:
        return ""
    least, most = (sum(asset.sizes[end] for asset in chosen if asset.bytes is not None) / 1e9 for end in (0, 1))
    return f"the sizes of {len(rough)} of {len(chosen)} files are estimates: {least:.2f} to {most:.2f} GB in all"


def of_corpus(scale: Scale, paper: str, corpus: str) -> Iterator[Part]:
    """The manifest of a corpus, what is fetched for it, and its sound."""
    whole, declared = clips(scale, paper, corpus), scale.corpus(corpus)
    alone = whole | {"jobs": 1, "items": whole["total"]}
    example: Job = corpora.annotate_corpus(scale, corpus)
    yield part(
        scale, paper, "annotation", corpus, f"benchmarks/corpora/{corpus}/annotate.tsv", example=example, **alone
    )
    own = f"benchmarks/media/{corpus}"
    if declared.has_clips:
        settings, served = media.download(scale, corpus), declared.link is None or media.served(scale, corpus)
        stream = "video" if "video" in settings.streams else "audio"
        size = round(whole["total"] * declared.clip_seconds * CLIP_BYTES_A_SECOND[stream])
        pace = {} if served else paced(settings.videos_per_hour, **whole)
        known: dict[str, Any] = whole | pace | {"fetched": 0 if served else size, "stored": size}
        example = media.fetch_clips(scale, corpus, "0")
        yield part(scale, paper, "downloads", corpus, f"{own}/fetch-*.tsv", example=example, **known)
    for level in tables.levels(scale, paper, corpus):
        size = whole["total"] * RECORD_BYTES[level]
        known = whole | {"fetched": size, "stored": size, "example": media.fetch_records(scale, corpus, level, "0")}
        yield part(scale, paper, "downloads", f"{corpus}, {level} records", f"{own}/records-{level}-*.tsv", **known)
    if declared.text is not None:
        text = declared.text
        hours = 1 / (text.asks_per_hour * CALLS.get(text.source, 1)) if text.asks_per_hour else 0.0
        hours += 1 / text.ids_per_hour if text.ids and text.ids_per_hour else 0.0
        pace = {} if text.source == "release" or not hours else paced(1 / hours, **whole)
        known = whole | pace | {"fetched": None, "example": media.fetch_text(scale, corpus, "0")}
        yield part(scale, paper, "downloads", f"{corpus}, texts", f"{own}/text-*.tsv", **known)
    for rate in rates(scale, paper, corpus):
        example = media.decode_audio(scale, corpus, str(rate), "0")
        size = 2 * Audio(sample_rate=rate, clip_seconds=declared.clip_seconds).samples * whole["total"]
        known = whole | {"stored": size, "example": example}
        yield part(scale, paper, "decoding", f"{corpus}, {rate} Hz", f"{own}/audio-{rate}-*.tsv", **known)


def paced(an_hour: float | None, total: int, items: int, **_: Any) -> dict[str, float]:
    """How long a source is asked, if it is asked at a pace: in all, and by the largest job."""
    return {"source_hours": total / an_hour, "job_hours": items / an_hour} if an_hour else {}


def rates(scale: Scale, paper: str, corpus: str) -> list[int]:
    """The sample rates at which the features of a corpus hear it."""
    own = [name for name in extracted(scale, paper) if features.feature_corpus(scale, paper, name) == corpus]
    extractors = [features.extractor(scale, paper, name) for name in own]
    return sorted({extractor.sample_rate for extractor in extractors if extractor.source == "audio"})


# features


def extracted(scale: Scale, paper: str) -> list[str]:
    """The features of a paper but those that only experiments on request read."""
    chosen, wanted = scale.paper(paper), trained(scale, paper)
    read = {name: set(one.features) for name, one in chosen.experiments.items()}
    on_request = set().union(*read.values()) - set().union(*(read[name] for name in wanted))
    return [name for name in chosen.features if name not in on_request]


def assets_on_request(scale: Scale, paper: str) -> set[str]:
    """The assets of the other features, if nothing else that is made needs them."""
    regular = extracted(scale, paper)
    needed = {asset for name in regular for asset in features.extractor(scale, paper, name).assets}
    needed |= {asset for name in trained(scale, paper) for asset in training.system(scale, paper, name).assets}
    others = (name for name in scale.paper(paper).features if name not in regular)
    return {asset for name in others for asset in features.extractor(scale, paper, name).assets} - needed


def of_feature(scale: Scale, paper: str, feature: str) -> Part:
    corpus, settings = features.feature_corpus(scale, paper, feature), features.extractor(scale, paper, feature)
    jobs = features.jobs(scale, paper, feature)
    whole, stored = clips(scale, paper, corpus, jobs), None
    if isinstance(settings, ArrayExtractor):
        stored = 2 * math.prod(settings.shape(scale.corpus(corpus).clip_seconds)) * whole["total"]
    elif isinstance(settings, RecordExtractor):
        stored = sum(width(field.type) for field in settings.columns()) * whole["total"]
    return part(
        *(scale, paper, "features", feature, f"benchmarks/features/{paper}/{feature}-*.tsv"),
        wildcards={"feature": feature},
        example=features.extract_features(scale, paper, feature, "0"),
        stored=stored,
        **whole,
    )


def of_reduction(scale: Scale, paper: str, reduction: str) -> Part:
    feature = scale.declared(paper, "reductions", reduction).feature
    whole, suffix = clips(scale, paper, features.feature_corpus(scale, paper, feature)), "json"
    suffix = features.reducer(scale, paper, reduction).suffix.removeprefix(".")
    return part(
        *(scale, paper, "reductions", reduction, f"benchmarks/features/{paper}/{reduction}-{suffix}.tsv"),
        example=features.reduce_features(scale, paper, reduction, suffix),
        needs={"feature": of_feature(scale, paper, feature)},
        **whole | {"jobs": 1, "items": whole["total"]},
    )


# experiments


def scored(scale: Scale, paper: str) -> list[str]:
    """The experiments that tables, claims and figures score."""
    chosen = scale.paper(paper)
    shown = [tables.declared(scale, paper, table).experiments() for table in tables.regular(scale, paper)]
    shown += [list(figure(scale, paper, name).scores.values()) for name in chosen.figures]
    return list(dict.fromkeys(name for names in shown for name in names))


def trained(scale: Scale, paper: str) -> list[str]:
    """The experiments that are trained: those that are scored, shown, listened to or reported, and what these use."""
    chosen, wanted = scale.paper(paper), scored(scale, paper)
    for table in tables.regular(scale, paper):
        wanted += tables.declared(scale, paper, table).reporting()
    for name in chosen.figures:
        drawn = figure(scale, paper, name)
        wanted += [*filter(None, [drawn.experiment]), *drawn.shown.values()]
    for name in chosen.listening:
        wanted += listening.declared(scale, paper, name).experiments()
    found = dict.fromkeys(wanted)
    for name in wanted:  # which grows meanwhile
        more = [used for used in chosen.experiments[name].uses.values() if used not in found]
        found |= dict.fromkeys(more)
        wanted += more
    return [name for name in chosen.experiments if name in found]


def figure(scale: Scale, paper: str, name: str) -> Figure:
    return figures.declared(scale, paper, name)


def of_training(scale: Scale, paper: str, experiment: str) -> Part:
    groups = training.seed_groups(scale, paper, experiment)
    group = max(groups, key=lambda name: len(groups[name]))
    settings, found = training.system(scale, paper, experiment), of_experiment(scale, paper, experiment)
    split = getattr(settings, "train_split", "")
    learned = found.get(split, sum(found.values()))
    return part(
        *(scale, paper, "training", experiment, f"benchmarks/training/{paper}/{experiment}-*.tsv"),
        wildcards={"experiment": experiment, "group": group},
        example=training.train(scale, paper, experiment, group),
        **about(scale, paper, experiment),
        needs=needed(scale, paper, experiment),
        **{"jobs": len(groups), "items": learned, "total": learned * sum(map(len, groups.values())), "turns": TURNS},
    )


def of_experiment(scale: Scale, paper: str, experiment: str) -> dict[str, int]:
    """The clips of an experiment's corpus by split."""
    return counts(scale, paper, training.experiment_corpus(scale, paper, experiment))


def about(scale: Scale, paper: str, experiment: str) -> dict[str, Any]:
    """What concerns the clips of an experiment."""
    corpus, groups = (
        training.experiment_corpus(scale, paper, experiment),
        training.seed_groups(scale, paper, experiment),
    )
    return {
        "counts": counts(scale, paper, corpus),
        "reader": scale.corpus(corpus).reader,
        "seeds": sum(map(len, groups.values())),
        "splits": list(training.system(scale, paper, experiment).predict_splits),
    }


def needed(scale: Scale, paper: str, experiment: str) -> dict[str, Part]:
    """The features and reductions that an experiment reads, and by their roles the experiments that it uses."""
    chosen = training.declared(scale, paper, experiment)
    own = {name: of_feature(scale, paper, name) for name in chosen.features}
    own |= {name: of_reduction(scale, paper, name) for name in chosen.reductions}
    return own | {role: of_training(scale, paper, name) for role, name in chosen.uses.items()}


def predicted(scale: Scale, paper: str, experiment: str) -> int:
    """How many clips all seeds of an experiment predict."""
    found, settings = of_experiment(scale, paper, experiment), training.system(scale, paper, experiment)
    own = sum(found.get(split, 0) for split in settings.predict_splits)
    return own * sum(map(len, training.seed_groups(scale, paper, experiment).values()))


def of_scores(scale: Scale, paper: str, experiment: str) -> Part:
    predictions = predicted(scale, paper, experiment)
    known: dict[str, Any] = {"jobs": 1, "unit": "predictions", "items": predictions, "total": predictions}
    return part(
        *(scale, paper, "scores", experiment, f"benchmarks/scores/{paper}/{experiment}.tsv"),
        wildcards={"experiment": experiment},
        example=scores.score(scale, paper, experiment),
        **about(scale, paper, experiment),
        **known,
    )


# what people look at


def of_tables(scale: Scale, paper: str) -> Iterator[Part]:
    """Tables and their pictures, claims, coverage, figures, listening tests, tracking."""
    chosen, own = scale.paper(paper), f"benchmarks/tables/{paper}"
    for table in tables.regular(scale, paper):
        example = tables.make_table(scale, paper, table)
        known = evidence(scale, paper, example.replicates)
        yield part(scale, paper, "tables", table, f"{own}-{table}.tsv", example=example, **known)
    doors = [name for name in tables.front_doors(scale) if name in chosen.tables]
    drawn = [name for name in doors if tables.declared(scale, paper, name).scores()]
    if drawn:
        known = {"jobs": len(drawn), "unit": "tables", "items": 1, "total": len(drawn)}
        yield part(scale, paper, "tables", "pictures", f"{own}-*-picture.tsv", **known)
    if doors:
        known = {"jobs": len(doors), "unit": "tables", "items": 1, "total": len(doors)}
        yield part(scale, paper, "tables", "claims of one table", f"{own}-table*_claims.tsv", **known)
    claims = tables.check_claims(scale, paper)
    known = evidence(scale, paper, claims.replicates)
    yield part(scale, paper, "tables", "claims", f"{own}-claims.tsv", example=claims, **known)
    total = sum(sum(counts(scale, paper, corpus).values()) for corpus in chosen.corpora.values())
    coverage = tables.count_coverage(scale, paper)
    known = {"jobs": 1, "items": total, "total": total, "reader": "kinetics"}
    yield part(scale, paper, "tables", "coverage", f"{own}-coverage.tsv", example=coverage, **known)
    shown = [tables.declared(scale, paper, table) for table in tables.regular(scale, paper)]
    if any(COVERAGE in table.files_of_values() for table in shown):
        clips = tables.count_clips(scale, paper)
        yield part(scale, paper, "tables", "clips", f"{own}-clips.tsv", example=clips, **known)
    if chosen.listening:
        tests = len(chosen.listening)
        known = {"jobs": 2 * tests, "unit": "tests", "items": 1, "total": tests}
        yield part(scale, paper, "tables", "listening", f"benchmarks/listening/{paper}-*.tsv", **known)
    if chosen.figures:
        known = {"jobs": len(chosen.figures), "unit": "figures", "items": 1, "total": len(chosen.figures)}
        yield part(scale, paper, "figures", "figures", f"benchmarks/figures/{paper}-*.tsv", **known)
    if scale.config.tracking_uri is not None:
        runs = sum(len(training.seed_groups(scale, paper, name)) for name in scored(scale, paper))
        known = {"jobs": 1, "unit": "training jobs", "items": runs, "total": runs}
        yield part(scale, paper, "tracking", "MLflow", f"benchmarks/tracking/{paper}.tsv", **known)


def evidence(scale: Scale, paper: str, names: Iterable[str]) -> dict[str, Any]:
    """What a table or claims are computed from: the predictions of all their experiments."""
    experiments = list(names)
    total = sum(predicted(scale, paper, name) for name in experiments)
    needs = {name: of_scores(scale, paper, name) for name in experiments}
    return {"jobs": 1, "unit": "predictions", "items": total, "total": total, "needs": needs}
