"""Draws one figure of a paper, and writes the numbers that it shows."""

from pathlib import Path

from workflow_scripts.comparability import beside_the_paper, differing
from workflow_scripts.figures.material import Material
from workflow_scripts.figures.plan import DrawFigure
from workflow_scripts.figures.style import save
from workflow_scripts.files import read_json
from workflow_scripts.shards import atomic


def draw_figure(job: DrawFigure, png: Path, svg: Path, data: Path) -> None:
    """Draws one figure in two formats, and writes its numbers as CSV."""
    material = Material(
        seed=job.seed,
        history=job.history,
        predictions=job.predictions,
        weights=job.weights,
        manifest=job.manifest,
        features=job.features,
        scores=job.counts,
        shown=job.shown,
        values=read_json(job.values) if job.values else {},
    )
    numbers = job.settings.data(material)
    with atomic(data) as temporary:
        numbers.to_csv(temporary, index=False, float_format="%.7g", lineterminator="\n")
    note = f"{job.note}: {beside_the_paper(differing(job.basis))}"
    save(lambda: job.settings.draw(numbers), job.title, note, [png, svg])
