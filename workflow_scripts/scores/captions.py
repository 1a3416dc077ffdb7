"""The command `scores captions`: captions of clips scored against reference captions, from two CSV files."""

import logging
import math
import re
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from workflow_scripts.captions.event_order import counts, written
from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.files import csv_columns, read_csv
from workflow_scripts.metrics import captions
from workflow_scripts.metrics.fluency import Models
from workflow_scripts.scores.output import Output, show
from workflow_scripts.scores.time_labels import id_column, read_time_labels

log = logging.getLogger(__name__)

COLUMNS = "clip_id", "caption"
NUMBERED = re.compile(r"caption_\d+")


def read(path: Path) -> dict[str, list[str]]:
    """The captions of each clip in a CSV file: `clip_id` or `file_name`, and `caption`, one a row.

    Or as Clotho has them: `caption_1`, `caption_2`, …, all in the row of their clip.
    """
    columns, name = csv_columns(path), id_column(path)
    numbered = [column for column in columns if NUMBERED.fullmatch(column)] if "caption" not in columns else []
    captions = numbered or ["caption"]
    clips: dict[str, list[str]] = {}
    for line, row in read_csv(path, (name, *captions), exact=True, kept={"file_name", *captions}, ids={name}):
        if not row[name]:
            raise UserError(f"{path}, line {line}: the {name} is missing")
        if numbered and row[name] in clips:
            raise UserError(f"{path}, line {line}: the {name} '{row[name]}' stands twice; keep one row")
        clips.setdefault(row[name], []).extend(row[column] for column in captions)
    if not clips:
        raise UserError(f"{path}: holds no clip")
    return clips


def match(references: Path, predictions: Path) -> tuple[list[str], list[str], list[list[str]]]:
    """The id, the predicted caption and the reference captions of every clip, in the order of the references."""
    theirs, ours = read(references), read(predictions)
    for path, there, other, here in ((predictions, ours, references, theirs), (references, theirs, predictions, ours)):
        missing = [clip for clip in here if clip not in there]
        if missing:
            raise UserError(f"{path}: the clip '{missing[0]}' of {other} is missing, one of {len(missing)}")
    for clip, found in ours.items():
        if len(found) > 1:
            raise UserError(f"{predictions}: the clip '{clip}' is predicted {len(found)} times; give it one row")
    for clip, found in theirs.items():
        if not all(caption.strip() for caption in found):
            raise UserError(f"{references}: a reference caption of the clip '{clip}' is empty; remove its row")
    return list(theirs), [ours[clip][0] for clip in theirs], list(theirs.values())


def names(options: list[str] | None) -> list[str]:
    """The metrics asked for, in their usual order; an option may name several between commas."""
    asked = [name.strip() for option in options or [] for name in option.split(",")] or list(captions.METRICS)
    for name in asked:
        if name not in captions.METRICS:
            raise UserError(f"--metrics: there is no metric '{name}'{did_you_mean(name, captions.METRICS)}")
    return [name for name in captions.METRICS if name in asked]


def main(
    references: Annotated[
        Path,
        typer.Option(help="CSV: clip_id or file_name, and caption, a row each; or caption_1, … as of Clotho"),
    ],
    predictions: Annotated[Path, typer.Option(help="a system's captions, CSV: clip_id or file_name, and caption")],
    metrics: Annotated[
        list[str] | None, typer.Option(help="only these, comma-separated or repeated; names as in the output")
    ] = None,
    spice_jars: Annotated[
        Path | None,
        typer.Option(help="folder with the Java libraries that SPICE needs: Stanford CoreNLP 3.6.0, Rhino"),
    ] = None,
    fense_models: Annotated[
        Path | None,
        typer.Option(help="folder with model.safetensors, vocab.txt and the .ckpt of the error detector, for FENSE"),
    ] = None,
    time_labels: Annotated[
        Path | None,
        typer.Option(help="CSV: clip_id or file_name, and human_time_label, what people heard; or the metric's JSON"),
    ] = None,
    output: Output = None,
) -> None:
    """Scores captions of clips, as JSON: BLEU, ROUGE-L, METEOR, CIDEr-D, SPICE, SPIDEr, FENSE, and order.

    All are from 0 to 1, but CIDEr-D from 0 to 10 and SPIDEr, which is the mean of CIDEr-D and SPICE. They are those of
    the COCO captions evaluation; both files must hold the same clips, and a predicted caption may be empty. ACC_temp
    and F1_temp ask whether a caption has one of the words follow, followed, then and after where a reference has one,
    or where people have heard sounds after one another (--time-labels: labels of 2 and 3). order_recall and
    order_precision are of pairs of events that words of time set one after the other. `spice` and `spider` are null
    without --spice-jars, `fense` without --fense-models, and `spider_fl` without both.
    """
    wanted = names(metrics)
    clips, ours, theirs = match(references, predictions)
    if spice_jars is None and ("spice" in wanted or "spider" in wanted):
        log.info("SPICE is not computed without --spice-jars, so spice and spider are null")
    if len(ours) == 1 and ("cider_d" in wanted or "spider" in wanted):
        log.info("CIDEr-D is 0 by its definition: it needs at least two clips to tell common from rare words")
    jars = sorted(spice_jars.glob("*.jar")) if spice_jars else []
    if spice_jars and not jars:
        raise UserError(f"{spice_jars}: that folder holds no .jar file")
    heard = read_time_labels(time_labels) if time_labels else {}
    if heard and not heard.keys() & set(clips):
        raise UserError(f"{time_labels}: labels none of the clips of {references}, such as '{clips[0]}'")
    found = captions.records(
        ours,
        theirs,
        wanted,
        jars,
        order=counts(ours, [written(texts, "simultaneous") for texts in theirs], "simultaneous"),
        fluency=models(fense_models) if fense_models else None,
        heard=[heard.get(clip) for clip in clips],
    )
    values = {name: float(value[0]) for name, value in captions.scores(found, np.ones((1, len(ours)))).items()}
    show({name: None if math.isnan(values[name]) else values[name] for name in wanted}, output)


def models(folder: Path) -> Models:
    """The files of FENSE in a folder."""
    found = {name: sorted(folder.glob(name)) for name in ("model.safetensors", "*.ckpt", "vocab.txt")}
    for name, files in found.items():
        if len(files) != 1:
            raise UserError(f"{folder}: holds {len(files)} files {name}, and FENSE needs one: see assets.yaml")
    return Models(*(files[0] for files in found.values()))
