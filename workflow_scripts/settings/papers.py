"""A paper as data: `papers/<paper>/paper.yaml` and the overlays that shrink it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.settings.base import NAME, Name, Strict, overlay, read_yaml
from workflow_scripts.settings.resources import Cost, FeatureCost
from workflow_scripts.settings.tables import MOST_SEEDS, Column, Row, Table

# Each scale is the paper with these files laid over it, in this order.
OVERLAYS = {"full": (), "pilot": ("pilot.yaml",), "mini": ("mini.yaml",), "smoke": ("mini.yaml", "smoke.yaml")}


class Feature(Strict):
    """One kind of features of one corpus."""

    corpus: str = Field(description="The corpus, by this paper's name for it")
    extractor: str = Field(description="File in `workflow_scripts/features/extractors`")
    settings: dict[str, Any] = Field(default={}, description="Settings of the extractor")
    cost: FeatureCost = Field(default=FeatureCost(), description="What extracting it costs")


class Reduction(Strict):
    """One file computed from all shards of a feature: statistics, a lexicon, …"""

    feature: str = Field(description="The feature whose shards are read")
    reducer: str = Field(description="File in `workflow_scripts/features/reducers`")
    settings: dict[str, Any] = Field(default={}, description="Settings of the reducer")


class Experiment(Strict):
    """One setting that is trained with several seeds; tables refer to it by name."""

    like: str | None = Field(default=None, description="Another experiment, of which only what is written here differs")
    recipe: str | None = Field(default=None, description="One of the paper's `recipes`, on which `settings` are laid")
    corpus: str = Field(description="The corpus, by this paper's name for it")
    features: list[str] = Field(default=[], description="The features that the model is given")
    reductions: list[str] = Field(default=[], description="The reductions that the system reads")
    uses: dict[str, str] = Field(
        default={},
        description="Experiments whose weights or predictions it reads, by role; a seed uses the same seed, and a "
        "captioner whose `pretrained` experiment has one seed that one; a scale that does without writes null",
    )
    system: str = Field(description="Folder in `workflow_scripts/training/systems`")
    settings: dict[str, Any] = Field(default={}, description="Settings of the system")
    metrics: str = Field(description="The family of metrics, a file in `workflow_scripts/scores/families`")
    scoring: dict[str, Any] = Field(default={}, description="Settings of the metrics")
    seeds: int = Field(ge=1, le=MOST_SEEDS, description="Number of seeds: 0, 1, …")
    seeds_per_job: int | None = Field(
        default=None, ge=1, description="How many seeds train in one job, one after another; null: by their `cost`"
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] | None = Field(
        default=None, description="Number format of training; null: that of config.yaml"
    )
    cost: Cost = Field(default=Cost(), description="What training it costs")

    @field_validator("uses", mode="before")
    @classmethod
    def without_nulls(cls, uses: Any) -> Any:
        return {role: used for role, used in uses.items() if used is not None} if isinstance(uses, dict) else uses


class Sweep(Strict):
    """A search over one setting of an experiment, to be run on demand."""

    experiment: str = Field(description="The experiment that is varied")
    setting: str = Field(description="The setting's path, with dots")
    values: list[Any] = Field(min_length=1, description="The values that are tried")
    metric: str = Field(description="What is compared")
    split: str = Field(default="validation", description="The clips on which it is compared")
    seeds: int | None = Field(
        default=None, ge=1, description="With how many seeds each value is tried, if the experiment has more; null: all"
    )


class Paper(Strict):
    """What a paper says, as far as it can be run."""

    title: str = Field(description="Title of the paper")
    citation: str = Field(description="Authors, venue, year")
    url: str = Field(description="Where the paper can be read")
    own: bool = Field(
        default=False,
        description="Whether this is a study of one's own and no paper's: it is in `results/table<n>.csv` and the "
        "other files of all papers only where the `papers` of config.yaml name it",
    )
    corpora: dict[Name, str] = Field(description="The paper's name of each corpus and its name in `corpora.yaml`")
    counts: dict[str, dict[str, int]] = Field(
        default={}, description="Clips of each split that the paper had, by the paper's name of the corpus"
    )
    other_data: dict[str, str] = Field(
        default={}, description="By the paper's name of a corpus: why even all of it is not the data of the paper"
    )
    features: dict[Name, Feature] = Field(default={}, description="Features by name")
    reductions: dict[Name, Reduction] = Field(default={}, description="Files computed from whole features, by name")
    defaults: dict[str, Any] = Field(default={}, description="What the experiments have in common")
    recipes: dict[Name, dict[str, Any]] = Field(
        default={}, description="Settings by name that experiments choose between as their `recipe`"
    )
    experiments: dict[Name, Experiment] = Field(description="Experiments by name")
    sweeps: dict[Name, Sweep] = Field(default={}, description="Searches over a setting, made on demand")
    tables: dict[Name, dict[str, Any]] = Field(default={}, description="Tables by name, see `settings/tables.py`")
    figures: dict[Name, dict[str, Any]] = Field(default={}, description="Figures by name, see `settings/figures.py`")
    listening: dict[str, dict[str, Any]] = Field(
        default={}, description="Listening tests by the name of their table, see `settings/listening.py`"
    )

    @model_validator(mode="after")
    def names_agree(self) -> Self:
        """Every name that is referred to exists."""
        for key in ("counts", "other_data"):
            for name in getattr(self, key):
                refer(name, self.corpora, key)
        for name, feature in self.features.items():
            refer(feature.corpus, self.corpora, f"features.{name}.corpus")
        for name, experiment in self.experiments.items():
            refer(experiment.corpus, self.corpora, f"experiments.{name}.corpus")
            for feature_name in experiment.features:
                refer(feature_name, self.features, f"experiments.{name}.features")
            for reduction in experiment.reductions:
                refer(reduction, self.reductions, f"experiments.{name}.reductions")
            for role, used in experiment.uses.items():
                refer(used, self.experiments, f"experiments.{name}.uses.{role}")
            self.refuse_circle(name)
        for name, reduction_of in self.reductions.items():
            refer(reduction_of.feature, self.features, f"reductions.{name}.feature")
        for name, sweep in self.sweeps.items():
            refer(sweep.experiment, self.experiments, f"sweeps.{name}.experiment")
        return self

    def refuse_circle(self, name: str) -> None:
        """An experiment that uses itself, be it through others, raises ValueError."""
        seen: set[str] = set()
        waiting = list(self.experiments[name].uses.values())
        while waiting:
            if (used := waiting.pop()) == name:
                raise ValueError(f"experiments.{name}.uses: it uses itself, directly or through other experiments")
            if used not in seen and used in self.experiments:
                seen.add(used)
                waiting += self.experiments[used].uses.values()

    @classmethod
    def load(cls, folder: Path, scale: str) -> Self:
        """The paper in `folder` at a scale."""
        file = folder / "paper.yaml"
        where = f"{folder.name}/{file.name}"
        values = read_yaml(file)
        for name in OVERLAYS[scale]:
            if (folder / name).exists():
                values = overlay(values, read_yaml(folder / name), by_kind=True)
                where = f"{where} with {name}"
        defaults, experiments = values.get("defaults", {}), values.get("experiments", {})
        if isinstance(defaults, dict) and isinstance(experiments, dict):
            values["experiments"] = {
                name: prepared(overlay(defaults, inherited(experiments, name, place)), values.get("recipes"), place)
                for name in experiments
                for place in [f"{where}: experiments.{name}"]
            }
        return cls.check(values, where)


def prepared(experiment: Any, recipes: Any, where: str) -> Any:
    """What an experiment declares, its settings laid over those of its recipe."""
    if not isinstance(experiment, dict) or (name := experiment.get("recipe")) is None:
        return experiment
    known = recipes if isinstance(recipes, dict) else {}
    if name not in known:
        raise UserError(f"{where}.recipe: there is no '{name}'{did_you_mean(str(name), known)}")
    return {**experiment, "recipe": None, "settings": overlay(known[name], experiment.get("settings", {}))}


def inherited(experiments: dict[str, Any], name: str, where: str) -> Any:
    """What an experiment declares, laid over what the experiment that it is `like` declares, and so on."""
    chain = [name]
    while isinstance(own := experiments[chain[-1]], dict) and (like := own.get("like")) is not None:
        if like not in experiments:
            raise UserError(f"{where}.like: there is no '{like}'{did_you_mean(str(like), experiments.keys() - {name})}")
        if like in chain:
            raise UserError(f"{where}.like: it comes back to '{like}'")
        chain.append(like)
    values: Any = {}
    for step in reversed(chain):
        values = overlay(values, experiments[step] or {})
    return {key: value for key, value in values.items() if key != "like"} if isinstance(values, dict) else values


def refer(name: str, known: dict[str, Any], where: str) -> None:
    if name not in known:
        raise ValueError(f"{where}: there is no '{name}'{did_you_mean(name, known)}")


def swept(paper: Paper, name: str) -> dict[str, Experiment]:
    """The experiments of a sweep, `<sweep>-<value>` each."""
    sweep = paper.sweeps[name]
    base = paper.experiments[sweep.experiment]
    *path, last = sweep.setting.split(".")
    experiments = {}
    for value in sweep.values:
        changes: dict[str, Any] = {last: value}
        for step in reversed(path):
            changes = {step: changes}
        settings = overlay(base.settings, changes)
        seeds = min(base.seeds, sweep.seeds or base.seeds)
        experiments[f"{name}-{value}"] = base.model_copy(update={"settings": settings, "seeds": seeds})
    return experiments


def sweep_table(paper: Paper, name: str) -> Table:
    """The table of a sweep: one row a value, scored on the clips that such a choice is made on."""
    sweep = paper.sweeps[name]
    return Table(
        title=f"{sweep.experiment}: {sweep.metric} on {sweep.split} by {sweep.setting}",
        rows=[Row(label=str(value), experiment=f"{name}-{value}") for value in sweep.values],
        columns=[Column(label=sweep.metric, metric=sweep.metric, split=sweep.split)],
    )


def names(folder: Path) -> list[str]:
    """The papers that are there: the folders of `papers/` with a `paper.yaml`."""
    return sorted(file.parent.name for file in folder.glob("*/paper.yaml"))


def folders(shared: Path, own: Sequence[Path]) -> dict[str, Path]:
    """The folder of each paper, by its name: those of `papers/`, then those of `papers_path`.

    A folder without papers that `papers_path` names, and a name that stands twice, are a `UserError`.
    """
    found: dict[str, Path] = {}
    for folder in dict.fromkeys([shared, *own]):
        if folder != shared and not names(folder):
            raise UserError(f"config.yaml: papers_path: {folder} holds no folder with a paper.yaml")
        for name in names(folder):
            if name in found:
                raise UserError(f"{folder / name}: there is a paper of this name in {found[name]}; rename the folder")
            found[name] = folder / name
    return found


def choose(known: Mapping[str, Path], wanted: list[str] | None) -> list[str]:
    """The papers that the user chose, or all but studies of one's own; an unknown one is a `UserError`."""
    for name in known if wanted is None else wanted:
        if name in known and not NAME.fullmatch(name):
            raise UserError(f"papers/{name}: name the folder with letters, digits and '_' only")
        if name not in known:
            raise UserError(
                f"papers (of config.yaml or --config): there is no folder papers/{name}{did_you_mean(name, known)}"
            )
    return list(
        dict.fromkeys(wanted or [name for name in known if not read_yaml(known[name] / "paper.yaml").get("own")])
    )
