"""Whether numbers may be compared with the paper's: what differs, by the settings and as measured.

Nothing declares that they may. What differs by the settings is known before anything runs: the scale's overlays, other
corpora, encoders and seeds, a part of the clips. How many clips could be had is counted when a table or figure is made.
"""

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from workflow_scripts.corpora import plan as corpus_plan
from workflow_scripts.corpora.plan import manifest, sample
from workflow_scripts.features import plan as features
from workflow_scripts.media import plan as media
from workflow_scripts.parquet import read_parquet
from workflow_scripts.settings import papers
from workflow_scripts.settings.base import MANNER, Plugin, Strict
from workflow_scripts.settings.listening import ListeningTest
from workflow_scripts.settings.papers import Experiment, Paper
from workflow_scripts.settings.plugins import FAMILIES, REDUCERS, SYSTEMS, plugin
from workflow_scripts.shards import Status

if TYPE_CHECKING:
    from workflow_scripts.settings.scale import Scale

COVERAGE = "coverage"  # the file of values that counts all corpora
NAMED = 4  # settings or assets that a sentence names


class Corpus(Strict):
    """A corpus by the paper's name for it: the files that tell which clips could be had, and what the paper had."""

    name: str
    manifest: Annotated[Path, MANNER]
    clips: Annotated[list[Path], MANNER]
    printed: dict[str, int]


class Basis(Strict):
    """What a table or figure rests on: what differs by the settings, and the corpora whose clips are counted."""

    differs: list[str] = Field([])
    corpora: list[Corpus] = Field([])

    def ledgers(self) -> list[Path]:
        """The files that are read when the clips are counted."""
        return list(dict.fromkeys(path for corpus in self.corpora for path in (corpus.manifest, *corpus.clips)))


def basis(
    scale: "Scale", paper: str, experiments: Iterable[str], values: Iterable[str] = (), features: Iterable[str] = ()
) -> Basis:
    """What experiments, files of values and features of a paper rest on; nothing of these, on nothing."""
    parts = Parts(scale, paper)
    for name in experiments:
        parts.add_experiment(name)
    for name in values:
        parts.add_values(name)
    for name in features:
        parts.add_feature(name)
    return Basis(differs=list(dict.fromkeys(parts.differing())), corpora=list(parts.counted()))


def features_of(scale: "Scale", paper: str, experiments: Iterable[str]) -> list[str]:
    """The features that experiments of a paper need, as they do those of the experiments that they use."""
    parts = Parts(scale, paper)
    for name in experiments:
        parts.add_experiment(name)
    return [name for name in parts.here.features if name in parts.features]


class Parts:
    """The experiments, features, reductions and corpora of a table or figure, here and in the paper's setting."""

    def __init__(self, scale: "Scale", paper: str) -> None:
        self.scale, self.name = scale, paper
        self.here, self.there = scale.paper(paper), in_its_setting(scale, paper)
        self.experiments: dict[str, Experiment] = {}
        self.features: set[str] = set()
        self.reductions: set[str] = set()
        self.aliases: set[str] = set()

    def add_values(self, name: str) -> None:
        """The coverage, a reduction, or the ratings of a listening test."""
        if name == COVERAGE:
            self.aliases |= self.here.corpora.keys()
        elif name in self.here.reductions:
            self.add_reduction(name)
        elif name in self.here.listening:
            test = ListeningTest.check(self.here.listening[name], f"papers/{self.name}: listening.{name}")
            self.aliases |= test.clips.keys()
            for experiment in test.experiments():
                self.add_experiment(experiment)

    def add_experiment(self, name: str) -> None:
        """An experiment, what it is given, and the experiments that it uses."""
        if name in self.experiments:
            return
        found = self.experiments[name] = experiments(self.scale, self.name)[name]
        self.aliases.add(found.corpus)
        for feature in found.features:
            self.add_feature(feature)
        for reduction in found.reductions:
            self.add_reduction(reduction)
        for used in found.uses.values():
            self.add_experiment(used)

    def add_feature(self, name: str) -> None:
        self.features.add(name)
        self.aliases.add(self.here.features[name].corpus)

    def add_reduction(self, name: str) -> None:
        self.reductions.add(name)
        self.add_feature(self.here.reductions[name].feature)

    def differing(self) -> Iterator[str]:
        """What differs from the paper's setting, each in a few words."""
        for alias in (alias for alias in self.here.corpora if alias in self.aliases):
            yield from other_data(self.scale, self.there, alias, self.here.corpora[alias])
        if self.here is not self.there:
            yield from self.stand_ins()
            if names := list(dict.fromkeys(self.settings())):
                yield f"other settings than the paper's ({listed(names)})"
        papers_own = experiments_in_its_setting(self.scale, self.name)
        for name, experiment in self.experiments.items():
            ours, theirs = self.scale.config.seeds or experiment.seeds, papers_own.get(name, experiment).seeds
            if ours != theirs:
                yield f"{counted(ours, 'seed')} in the place of {theirs}"
        if self.experiments and (precision := self.scale.config.precision) != "32-true":
            yield f"precision {precision}"

    def stand_ins(self) -> Iterator[str]:
        """The encoders, weights, word vectors and programs in the place of others, or that others have."""
        for name in sorted(self.features & self.there.features.keys()):
            ours, theirs = self.here.features[name], self.there.features[name]
            if ours.extractor != theirs.extractor:
                yield f"{ours.extractor} in the place of {theirs.extractor}"
            else:
                yield from exchanged(*both_features(self.scale, self.name, name))
        for name in sorted(self.reductions & self.there.reductions.keys()):
            yield from exchanged(*both_reductions(self.scale, self.name, name))
        papers_own = experiments_in_its_setting(self.scale, self.name)
        for name, experiment in self.experiments.items():
            for pair in both_experiments(self.scale, self.name, name):
                yield from exchanged(*pair)
            uses = papers_own.get(name, experiment).uses
            yield from (f"{name} without {used}" for role, used in uses.items() if role not in experiment.uses)

    def settings(self) -> Iterator[str]:
        """The names of the settings that differ, of features with the same encoder, reductions and experiments."""
        for name in sorted(self.features & self.there.features.keys()):
            if self.here.features[name].extractor == self.there.features[name].extractor:
                changed = differences(*both_features(self.scale, self.name, name))
                yield from (f"{name}.{key}" for key in changed)
        for name in sorted(self.reductions & self.there.reductions.keys()):
            changed = differences(*both_reductions(self.scale, self.name, name))
            yield from (f"{name}.{key}" for key in changed)
        for name in self.experiments:
            yield from changed_experiment(self.scale, self.name, name)

    def counted(self) -> Iterator[Corpus]:
        """The corpora whose clips the paper counts too: no composed ones, and no recordings of one's own."""
        for alias, corpus in self.here.corpora.items():
            own = self.scale.corpus(corpus).composer is not None or corpus_plan.reader(self.scale, corpus).own_data
            if alias in self.aliases and not own:
                clips = media.clips(self.scale, corpus)
                printed = self.there.counts.get(alias, {})
                yield Corpus(name=alias, manifest=manifest(self.scale, corpus), clips=clips, printed=printed)


@functools.cache
def in_its_setting(scale: "Scale", paper: str) -> Paper:
    """A paper in its own setting, whatever the scale is."""
    return scale.paper(paper) if scale.name == "full" else Paper.load(scale.folder(paper), "full")


@functools.cache
def experiments(scale: "Scale", paper: str) -> dict[str, Experiment]:
    """The experiments of a paper, those of its sweeps among them."""
    return with_sweeps(scale.paper(paper))


@functools.cache
def experiments_in_its_setting(scale: "Scale", paper: str) -> dict[str, Experiment]:
    return with_sweeps(in_its_setting(scale, paper))


def with_sweeps(paper: Paper) -> dict[str, Experiment]:
    return paper.experiments | {n: e for sweep in paper.sweeps for n, e in papers.swept(paper, sweep).items()}


def other_data(scale: "Scale", paper: Paper, alias: str, corpus: str) -> Iterator[str]:
    """How a corpus differs from the paper's; `paper` is in its own setting."""
    if alias not in paper.corpora:
        yield f"{corpus}, which the paper does not have"
        return
    ours, theirs = scale.corpus(corpus), scale.corpus(paper.corpora[alias])
    part = sample(scale, corpus)
    if corpus_plan.reader(scale, corpus).own_data:
        yield f"on other data than the paper's: recordings of one's own ({corpus})"
    elif ours.composer is not None:
        caveat = f", {ours.caveat}" if ours.caveat else ""
        yield f"composed clips ({corpus}) in the place of {alias}{caveat}"
    elif ours.model_copy(update={"fraction": theirs.fraction}) != theirs:
        yield f"{corpus} in the place of {paper.corpora[alias]}"
    elif alias in paper.other_data:
        yield f"{alias}: {paper.other_data[alias]}"
    if part.fraction < 1:
        yield f"a fraction of {part.fraction:g} of {alias}"
    if part.limit is not None:
        yield f"at most {counted(part.limit, 'clip')} of each split"


@functools.cache
def both_features(scale: "Scale", paper: str, name: str) -> tuple[Plugin, Plugin]:
    """The settings of a feature's encoder here, and in the paper's setting with the same encoder."""
    ours, theirs = features.extractor(scale, paper, name), in_its_setting(scale, paper).features[name].settings
    return ours, type(ours).check(theirs, f"papers/{paper}: features.{name}")


@functools.cache
def both_reductions(scale: "Scale", paper: str, name: str) -> tuple[Plugin, Plugin]:
    """The settings of a reduction here and in the paper's setting."""
    ours, theirs = scale.paper(paper).reductions[name], in_its_setting(scale, paper).reductions[name]
    kind = plugin(REDUCERS, ours.reducer, name)
    return kind.check(ours.settings, name), kind.check(theirs.settings, name)


@functools.cache
def both_experiments(scale: "Scale", paper: str, name: str) -> list[tuple[Plugin, Plugin]]:
    """The settings of an experiment's training and of its scoring, here and in the paper's setting, if of one kind."""
    ours, theirs = experiments(scale, paper)[name], experiments_in_its_setting(scale, paper).get(name)
    if theirs is None or ours.system != theirs.system or ours.metrics != theirs.metrics:
        return []
    where = f"papers/{paper}: experiments.{name}"
    pairs = (
        (plugin(SYSTEMS, ours.system, where), ours.settings, theirs.settings),
        (plugin(FAMILIES, ours.metrics, where), ours.scoring, theirs.scoring),
    )
    return [(kind.check(one, where), kind.check(other, where)) for kind, one, other in pairs]


@functools.cache
def changed_experiment(scale: "Scale", paper: str, name: str) -> list[str]:
    """The settings of an experiment's training and scoring that differ from the paper's."""
    pairs = both_experiments(scale, paper, name)
    if not pairs:
        return [f"experiment {name}"]
    ours, theirs = experiments(scale, paper)[name], experiments_in_its_setting(scale, paper)[name]
    found = [key for one, other in pairs for key in differences(one, other)]
    return found + [key for key in ("features", "precision") if getattr(ours, key) != getattr(theirs, key)]


def exchanged(ours: Plugin, theirs: Plugin) -> Iterator[str]:
    """What other assets and models of a hub settings are given than the paper's."""
    here, there = ([*each.assets, *getattr(each, "hub_models", ())] for each in (ours, theirs))
    added, gone = ([name for name in some if name not in other] for some, other in ((here, there), (there, here)))
    if added and gone:
        yield f"{listed(added)} in the place of {listed(gone)}"
    elif added or gone:
        yield f"with {listed(added)}" if added else f"without {listed(gone)}"


def listed(names: list[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def differences(ours: Strict, theirs: Strict) -> Iterator[str]:
    """The names of the settings that differ, manners aside, steps joined with dots."""

    def compare(one: Any, other: Any, path: tuple[str, ...]) -> Iterator[str]:
        if isinstance(one, dict) and isinstance(other, dict):
            for key in [*one, *(key for key in other if key not in one)]:
                yield from compare(one.get(key), other.get(key), (*path, key))
        elif one != other:
            yield ".".join(path)

    return compare(ours.identity(), theirs.identity(), ())


# what was measured


def beside_the_paper(differs: str) -> str:
    """What tables, pictures and figures say of their numbers beside the paper's, given what `differing` found."""
    return f"not directly comparable with the paper's numbers: {differs}" if differs else "on the data of the paper"


def differing(rests_on: Basis) -> str:
    """What makes numbers and the paper's incomparable, as one text; empty where nothing does."""
    found = [part for corpus in rests_on.corpora if (part := missing(corpus))]
    return "; ".join([*rests_on.differs, *found])


def missing(corpus: Corpus) -> str:
    """The clips that could be had of a corpus beside those of the paper, of the splits that differ."""
    if not corpus.printed:
        return f"the paper does not say how many clips of {corpus.name} it had"
    had = clips_had(corpus)
    parts = [
        f"{had.get(split, 0)} of {printed} {split}"
        for split, printed in corpus.printed.items()
        if had.get(split, 0) != printed
    ]
    return f"clips of {corpus.name}: {', '.join(parts)}" if parts else ""


def clips_had(corpus: Corpus) -> dict[str, int]:
    """How many clips of each split could be had."""
    ok = pc.field("status") == Status.OK.value
    if corpus.clips == [corpus.manifest]:
        had = read_parquet(corpus.manifest, ["split"], ok)
    else:
        ids = pa.chunked_array([read_parquet(path, ["clip_id"], ok)["clip_id"] for path in corpus.clips], pa.string())
        had = read_parquet(corpus.manifest, ["split"], pc.field("clip_id").isin(ids.combine_chunks()))
    return {item["values"]: item["counts"] for item in had["split"].value_counts().to_pylist()}


def counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
