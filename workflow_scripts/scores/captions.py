"""The command `scores captions`: captions of clips scored against reference captions, from two CSV files."""

import logging
import math
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.files import read_csv
from workflow_scripts.metrics import captions
from workflow_scripts.scores.output import Output, show

log = logging.getLogger(__name__)

COLUMNS = "clip_id", "caption"


def read(path: Path) -> dict[str, list[str]]:
    """The captions of each clip in a CSV file with the columns `clip_id` and `caption`, one caption a row."""
    clips: dict[str, list[str]] = {}
    for line, row in read_csv(path, COLUMNS, exact=True, kept={"caption"}, ids={"clip_id"}):
        if not row["clip_id"]:
            raise UserError(f"{path}, line {line}: the clip_id is missing")
        clips.setdefault(row["clip_id"], []).append(row["caption"])
    if not clips:
        raise UserError(f"{path}: holds no clip")
    return clips


def match(references: Path, predictions: Path) -> tuple[list[str], list[list[str]]]:
    """The predicted caption and the reference captions of every clip, in the order of the references."""
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
    return [ours[clip][0] for clip in theirs], list(theirs.values())


def names(options: list[str] | None) -> list[str]:
    """The metrics asked for, in their usual order; an option may name several between commas."""
    asked = [name.strip() for option in options or [] for name in option.split(",")] or list(captions.METRICS)
    for name in asked:
        if name not in captions.METRICS:
            raise UserError(f"--metrics: there is no metric '{name}'{did_you_mean(name, captions.METRICS)}")
    return [name for name in captions.METRICS if name in asked]


def main(
    references: Annotated[Path, typer.Option(help="CSV: clip_id, caption; as many rows a clip as it has references")],
    predictions: Annotated[Path, typer.Option(help="a system's captions, CSV: clip_id, caption; one row a clip")],
    metrics: Annotated[
        list[str] | None, typer.Option(help="only these, comma-separated or repeated; names as in the output")
    ] = None,
    spice_jars: Annotated[
        Path | None,
        typer.Option(help="folder with the Java libraries that SPICE needs: Stanford CoreNLP 3.6.0, Nashorn"),
    ] = None,
    output: Output = None,
) -> None:
    """Scores captions of clips, as JSON: BLEU-1 to 4, ROUGE-L, METEOR, CIDEr-D, SPICE, SPIDEr, ACC_temp and F1_temp.

    All are from 0 to 1, but CIDEr-D from 0 to 10 and SPIDEr, which is the mean of CIDEr-D and SPICE. They are those of
    the COCO captions evaluation; both files must hold the same clips, and a predicted caption may be empty. ACC_temp
    and F1_temp ask whether a caption has one of the words follow, followed, then and after where a reference has one.
    `spice` and `spider` are null without --spice-jars.
    """
    wanted = names(metrics)
    ours, theirs = match(references, predictions)
    if spice_jars is None and ("spice" in wanted or "spider" in wanted):
        log.info("SPICE is not computed without --spice-jars, so spice and spider are null")
    if len(ours) == 1 and ("cider_d" in wanted or "spider" in wanted):
        log.info("CIDEr-D is 0 by its definition: it needs at least two clips to tell common from rare words")
    jars = sorted(spice_jars.glob("*.jar")) if spice_jars else []
    if spice_jars and not jars:
        raise UserError(f"{spice_jars}: that folder holds no .jar file")
    found = captions.records(ours, theirs, wanted, jars)
    values = {name: float(value[0]) for name, value in captions.scores(found, np.ones((1, len(ours)))).items()}
    show({name: None if math.isnan(values[name]) else values[name] for name in wanted}, output)
