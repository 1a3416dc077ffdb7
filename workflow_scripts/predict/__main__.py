"""The command `python -m workflow_scripts.predict RUN FILE…`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from workflow_scripts import shards
from workflow_scripts.devices import Device
from workflow_scripts.errors import UserError, run
from workflow_scripts.predict.answers import Form, written


def main(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="folder of a run, work/<scale>/training/<paper>/<experiment>/<seeds>, or of an export"
        ),
    ],
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="files, or folders of them")],
    seed: Annotated[int | None, typer.Option(help="of the run; default: its first")] = None,
    form: Annotated[Form | None, typer.Option("--format", help="default: by the name of --output, else tsv")] = None,
    output: Annotated[Path | None, typer.Option(help="file to write; default: the terminal")] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="also write what the network said, in the form of predictions.parquet")
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="classes that are named; default: 1, of videos 5")] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="of events; default: that of the experiment's scores")
    ] = None,
    device: Annotated[Device, typer.Option(help="where to compute")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="of a CPU")] = 1,
) -> None:
    """Captions, events, tags or classes of files, by a trained system.

    Sounds and videos may be in any format that ffmpeg reads. Recordings that are longer than the clips of the training
    are read in windows of that length. A file that cannot be read is told of, and the others are predicted.
    """
    from workflow_scripts.predict.model import load

    logging.getLogger().setLevel(logging.WARNING)
    if form is None:
        suffix = output.suffix.removeprefix(".") if output else ""
        form = "csv" if suffix == "csv" else "json" if suffix == "json" else "tsv"
    model = load(folder, seed, device, threads)
    found = list(model.rows(files))
    if not found:
        raise UserError("nothing could be predicted of any of the files; see what is said of each above")
    if predictions is not None:
        named = ({**row, "clip_id": name_of(part.file, part.start)} for part, row in found)
        shards.write(predictions, named, model.schema)
    text = written(model.told(found, top, threshold), form)
    if output is None:
        print(text, end="")
    else:
        with shards.atomic(output) as temporary:
            temporary.write_text(text, encoding="utf-8")


def name_of(file: str, start: float) -> str:
    """The name of a clip in the predictions: its file's, and where it starts unless at the beginning."""
    return f"{file}@{start:g}" if start else file


if __name__ == "__main__":
    run(lambda: typer.run(main))
