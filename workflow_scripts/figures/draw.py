"""Draws one figure of a paper, and writes the numbers that it shows."""

from pathlib import Path

from workflow_scripts.figures.material import Material
from workflow_scripts.figures.plan import DrawFigure
from workflow_scripts.figures.style import save
from workflow_scripts.files import read_json
from workflow_scripts.shards import atomic


def draw_figure(job: DrawFigure, png: Path, svg: Path, data: Path) -> None:
    """Draws one figure in two formats, and writes its numbers as CSV."""
    material = Material(
        job.seed,
        [job.history] if job.history else [],
        [job.predictions] if job.predictions else [],
        job.manifest,
        job.features,
        job.counts,
        [job.weights] if job.weights else [],
        read_json(job.values) if job.values else {},
        {label: [path] for label, path in job.shown.items()},
    )
    numbers = job.settings.data(material)
    with atomic(data) as temporary:
        numbers.to_csv(temporary, index=False, float_format="%.7g", lineterminator="\n")
    save(lambda: job.settings.draw(numbers), job.title, job.note, [png, svg])
