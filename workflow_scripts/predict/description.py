"""What a trained system is, told without the workflow that trained it: `model.json` of an export."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from workflow_scripts import stamps
from workflow_scripts.errors import UserError
from workflow_scripts.features.plan import extract_features, extractor, feature_shards, reduced
from workflow_scripts.files import read_json
from workflow_scripts.media.plan import download
from workflow_scripts.settings.base import Strict, read_yaml
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.media import Bounds
from workflow_scripts.settings.plugins import EXTRACTORS, FAMILIES, SYSTEMS, plugin
from workflow_scripts.settings.scale import Scale
from workflow_scripts.training import plan as training
from workflow_scripts.training.outputs import folder_of_seed, read_kept, read_params

FILE = "model.json"
OF_FILES = ("audio", "frames", "corpus", "records", "text")  # sources of features that files hold


class Feature(Strict):
    """How a feature is made."""

    extractor: str
    settings: dict[str, Any] = Field({})

    def plugin(self) -> Any:
        """The extractor with its settings."""
        return plugin(EXTRACTORS, self.extractor, FILE).check(self.settings, f"{FILE}: {self.extractor}")


class Description(Strict):
    """A system, one of its seeds, and all that predicting needs beside the weights."""

    scale: str
    paper: str
    experiment: str
    seed: int
    system: str = Field(description="folder in `workflow_scripts/training/systems`")
    settings: dict[str, Any]
    kept: dict[str, Any] = Field({}, description="what training kept of its clips: classes, words, statistics")
    precision: str
    features: dict[str, Feature]
    streams: tuple[Literal["audio", "video"], ...] = Field(description="what a clip's file must hold")
    clip_seconds: float = Field(gt=0)
    threshold: float = Field(0.5, description="above which a frame is part of an event")
    median_filter: int = Field(1, ge=1, description="frames of the filter over decisions about events")
    bounds: Bounds = Bounds()
    reductions: list[str] = Field([], description="what was computed from all of a feature, such as a lexicon")

    def checked(self) -> Any:
        """The system's settings."""
        return plugin(SYSTEMS, self.system, FILE).check(self.settings, f"{FILE}: settings")


class Found(NamedTuple):
    """A description, the folder of its weights, and the files of the assets and reductions that it needs, by id."""

    description: Description
    folder: Path
    assets: dict[str, Path]
    scale: Scale | None  # of a run, none of an export
    reductions: dict[str, Path]
    used: dict[str, "Found"]  # the experiments without which it cannot predict, by role


def find(folder: Path, seed: int | None = None) -> Found:
    """The trained system in the folder of a run, or in that of an export; `seed` is the run's first one by default."""
    if (folder / FILE).exists():
        description = Description.check(read_json(folder / FILE), str(folder / FILE))
        if seed not in (None, description.seed):
            raise UserError(f"{folder}: holds seed {description.seed} only; export seed {seed} of its run as well")
        return of_export(folder, description, {}, {})
    if not (folder / "params.json").exists():
        raise UserError(
            f"{folder}: is neither a run, such as work/mini/training/boes_avsed/SAV/seeds-0-2, nor an export of one; "
            "name a folder with params.json or model.json"
        )
    return of_run(folder, seed)


def of_export(folder: Path, description: Description, assets: dict[str, Path], reductions: dict[str, Path]) -> Found:
    """What an export holds; those that it uses lie in it, and share its `assets` and `reductions`."""
    assets = assets | {path.parent.name: path for path in folder.glob("assets/*/*")}
    reductions = reductions | {path.parent.name: path for path in folder.glob("reductions/*/*")}
    used = {
        path.parent.name: of_export(path.parent, Description.check(read_json(path), str(path)), assets, reductions)
        for path in folder.glob(f"uses/*/{FILE}")
    }
    own = {name: path for name, path in reductions.items() if name in description.reductions}
    return Found(description, folder, assets, None, own, used)


def of_run(folder: Path, seed: int | None) -> Found:
    """The system that a training job left; its paper's settings must still be those of the training."""
    scale, paper, experiment = place(folder)
    params, chosen = read_params(folder), training.declared(scale, paper, experiment)
    seeds: list[int] = params["seeds"]
    if seed is not None and seed not in seeds:
        raise UserError(f"{folder}: seed {seed} was not trained there; choose one of {', '.join(map(str, seeds))}")
    settings = training.system(scale, paper, experiment)
    trained = type(settings).check(params["definition"], f"{folder / 'params.json'}: definition")
    if chosen.system != params["system"] or trained.identity() != settings.identity():
        raise UserError(
            f"{folder}: the settings of '{experiment}' in papers/{paper} are no longer those that were trained; "
            "train it anew, or undo the change"
        )
    corpus = training.experiment_corpus(scale, paper, experiment)
    read = getattr(settings, "predicts_from", getattr(settings, "streams", chosen.features))
    extractors = {name: extractor(scale, paper, name) for name in read if name in chosen.features}
    extractors = {name: own for name, own in extractors.items() if own.source in OF_FILES}
    for name in extractors:
        refuse_other(scale, paper, name)
    sources = {own.source for own in extractors.values()}
    scorer = plugin(FAMILIES, chosen.metrics, experiment).check(chosen.scoring, f"{experiment}.scoring")
    decision = {name: getattr(scorer, name) for name in ("threshold", "median_filter") if hasattr(scorer, name)}
    reductions = chosen.reductions if any(own.source == "text" for own in extractors.values()) else []
    number = seeds[0] if seed is None else seed
    used = {
        role: of_run(folder_of_seed(training.outputs(scale, paper, own, "params.json"), number), number)
        for role, own in (chosen.uses.items() if getattr(settings, "predicts_with_used", False) else ())
    }
    description = Description(
        scale=scale.name,
        paper=paper,
        experiment=experiment,
        seed=number,
        system=chosen.system,
        settings=trained.model_dump(mode="json"),
        kept=read_kept(folder),
        precision=params["precision"],
        features={
            name: Feature(extractor=scale.declared(paper, "features", name).extractor, settings=own.model_dump())
            for name, own in extractors.items()
        },
        streams=download(scale, corpus).streams if "frames" in sources else ("audio",),
        clip_seconds=scale.corpus(corpus).clip_seconds,
        bounds=scale.config.bounds,
        reductions=list(reductions),
        **decision,
    )
    needed = [asset for own in extractors.values() for asset in own.assets]
    if getattr(getattr(trained, "captioner", None), "pretrained", None):
        needed += trained.assets  # its pieces of words, and its sizes
    files = {name: reduced(scale, paper, name) for name in reductions}
    return Found(description, folder, scale.asset_files(needed), scale, files, used)


def place(folder: Path) -> tuple[Scale, str, str]:
    """The scale, the paper and the experiment whose run lies in a folder <work_dir>/<scale>/training/<paper>/…"""
    above = folder.resolve().parents
    if len(above) < 5 or above[2].name != "training":
        raise UserError(
            f"{folder}: a run is known by its place, work/<scale>/training/<paper>/<experiment>/<seeds>; to take it "
            "elsewhere, export it where it was trained"
        )
    roots = (above[4].parent, Path.cwd(), Path(__file__).parents[2])
    root = next((own for own in roots if (own / "papers").is_dir() and (own / "config.yaml").exists()), roots[-1])
    config = Config.check(read_yaml(root / "config.yaml"), str(root / "config.yaml"))
    config = config.model_copy(update={"work_dir": above[4], "papers": []})
    return Scale(root, config, above[3].name), above[1].name, above[0].name


def refuse_other(scale: Scale, paper: str, name: str) -> None:
    """A feature that was made in another way than its settings say now is a `UserError`, if its first shard tells."""
    shard = feature_shards(scale, paper, name)[0]
    made, job = stamps.read(shard) if shard.exists() else None, extract_features(scale, paper, name, "0")
    known = all(Path(path).exists() for paths in job.inputs().values() for path in paths)
    if made is not None and known and made["key"] != stamps.key(job):
        raise UserError(
            f"{shard}: was made with other settings of '{name}', or of other clips, than papers/{paper} and the corpus "
            "have now; train anew, or undo the change"
        )
