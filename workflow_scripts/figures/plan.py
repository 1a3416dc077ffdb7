"""The job that draws a figure."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from workflow_scripts.comparability import Basis, basis
from workflow_scripts.corpora.plan import manifest
from workflow_scripts.features.plan import feature_shards, reduced
from workflow_scripts.figures.interface import FigureKind
from workflow_scripts.jobs import INPUT, Job
from workflow_scripts.scores import plan as scores
from workflow_scripts.settings.figures import Figure
from workflow_scripts.settings.plugins import FAMILIES, FIGURES, plugin
from workflow_scripts.training import plan as training

if TYPE_CHECKING:
    from workflow_scripts.settings.scale import Scale

OF_SEED = {
    "history": "history.parquet",
    "predictions": "predictions.parquet",
    "weights": "weights.safetensors",
}  # what a kind of figure may need of the training of one seed


class DrawFigure(Job):
    """One figure: PNG, SVG, and the numbers that it shows as CSV.

    `basis` is what its numbers rest on, which `ledgers` are read for; `history`, `predictions` and `weights` are of the
    job that trained the seed; `shown` are predictions, and `counts` scored clips, by label; `features` are shards by
    stream.
    """

    step = "workflow_scripts.figures.draw:draw_figure"
    cheap = True

    kind: str
    settings: FigureKind
    title: str
    note: str = ""
    basis: Basis = Basis()
    ledgers: Annotated[list[Path], INPUT] = Field([])
    seed: int = 0
    history: Annotated[Path | None, INPUT] = None
    predictions: Annotated[Path | None, INPUT] = None
    weights: Annotated[Path | None, INPUT] = None
    manifest: Annotated[Path | None, INPUT] = None
    shown: Annotated[dict[str, Path], INPUT] = Field({})
    counts: Annotated[dict[str, Path], INPUT] = Field({})
    values: Annotated[Path | None, INPUT] = None
    features: Annotated[dict[str, list[Path]], INPUT] = Field({})
    families: list[str] = Field([])
    labels: list[str] = Field([])  # of `shown` and `counts`

    def modules(self) -> list[str]:
        return [
            *super().modules(),
            f"{FIGURES}.{self.kind}",
            *(f"{FAMILIES}.{family}" for family in self.families),
        ]


def draw_figure(scale: "Scale", paper: str, figure: str) -> DrawFigure:
    chosen, where = declared(scale, paper, figure), f"{scale.place(paper)} ({scale.name}): figures.{figure}"
    settings = kind(chosen, where)
    files: dict[str, Path] = {}
    if chosen.experiment is not None:
        job = training.job_of_seed(scale, paper, chosen.experiment, chosen.seed, f"figures.{figure}")
        files = {name: job / file for name, file in OF_SEED.items()}
    if (experiment := chosen.experiment or next(iter(chosen.shown.values()), None)) is not None:
        files["manifest"] = manifest(scale, training.experiment_corpus(scale, paper, experiment))
    shown = {
        label: training.job_of_seed(scale, paper, name, chosen.seed, f"figures.{figure}.shown")
        for label, name in chosen.shown.items()
    }
    scored = {label: scores.scored(scale, paper, name, "counts.parquet") for label, name in chosen.scores.items()}
    trained = [chosen.experiment] if chosen.experiment else []
    trained += [*chosen.shown.values(), *chosen.scores.values()]
    rests_on = basis(scale, paper, trained, [chosen.values] if chosen.values else [], settings.streams())
    return DrawFigure(
        kind=chosen.kind,
        settings=settings,
        title=chosen.title,
        note=f"scale {scale.name}" + (f", seed {chosen.seed}" if chosen.experiment or chosen.shown else ""),
        basis=rests_on,
        ledgers=rests_on.ledgers(),
        seed=chosen.seed,
        **{name: path for name, path in files.items() if name in settings.needs},
        shown={label: folder / "predictions.parquet" for label, folder in shown.items()},
        counts=scored,
        values=reduced(scale, paper, chosen.values) if chosen.values else None,
        features={stream: feature_shards(scale, paper, stream) for stream in settings.streams()},
        families=sorted({training.declared(scale, paper, name).metrics for name in chosen.scores.values()}),
        labels=[*shown, *scored],
    )


def declared(scale: "Scale", paper: str, name: str) -> Figure:
    """A figure as the paper declares it."""
    return Figure.check(scale.declared(paper, "figures", name), f"{scale.place(paper)} ({scale.name}): figures.{name}")


def kind(figure: Figure, where: str) -> Any:
    """The kind of a figure with its settings."""
    return plugin(FIGURES, figure.kind, f"{where}.kind").check(figure.settings, f"{where}.settings")


def pictures(scale: "Scale", paper: str) -> list[Path]:
    """The pictures of a paper's figures."""
    return [scale.result(paper, f"{name}.png") for name in scale.paper(paper).figures]
