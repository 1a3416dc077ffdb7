"""The command `scores sed`: sound event detection scored from two tab-separated files of events."""

import csv
import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.files import read_csv
from workflow_scripts.metrics import sed
from workflow_scripts.scores.output import Output, show
from workflow_scripts.shards import Row

log = logging.getLogger(__name__)

COLUMNS = ("filename", "onset", "offset", "event_label")
LATEST = 86_400  # seconds, a day: no recording of events is so long


def read_event(values: dict[str, str], where: str) -> Row | None:
    """The event of one line, or None when the line only names a file."""
    onset, offset, label = (values[name].strip() for name in COLUMNS[1:])
    if not (onset or offset or label):
        return None
    if not (onset and offset and label):
        raise UserError(f"{where}: an event needs onset, offset and event_label; a file without events has none")
    times = []
    for name, text in (("onset", onset), ("offset", offset)):
        try:
            times.append(float(text))
        except ValueError:
            raise UserError(f"{where}: {name} '{text}' is not a number") from None
        if not (math.isfinite(times[-1]) and times[-1] >= 0):
            raise UserError(f"{where}: {name} '{text}' must be a finite number of seconds, 0 or more")
        if times[-1] > LATEST:
            raise UserError(f"{where}: {name} '{text}' lies beyond a day; times are seconds from the file's start")
    if times[1] < times[0]:
        raise UserError(f"{where}: offset {offset} lies before onset {onset}")
    return {"onset": times[0], "offset": times[1], "label": label}


def read_events(path: Path) -> dict[str, list[Row]]:
    """The events of each file named in a tab-separated file with the columns `filename onset offset event_label`."""
    files: dict[str, list[Row]] = {}
    hint = f"; tab-separated columns: {' '.join(COLUMNS)}"
    for number, line in read_csv(path, COLUMNS, hint, ids={"filename"}, delimiter="\t", quoting=csv.QUOTE_NONE):
        where = f"{path}, line {number}"
        if not line["filename"]:
            raise UserError(f"{where}: the file name is missing")
        events = files.setdefault(line["filename"], [])
        event = read_event(line, where)
        if event is not None:
            events.append(event)
    return files


def score(reference: dict[str, list[Row]], estimate: dict[str, list[Row]], labels: list[str]) -> dict[str, float]:
    """All scores over the reference's files; a file that the estimate does not name counts as without events."""
    shape = len(reference), len(labels)
    theirs = sed.Events.of(list(reference.values()), labels)
    ours = sed.Events.of([estimate.get(name, []) for name in reference], labels)
    clip = sed.tag_counts(theirs.tags(*shape), ours.tags(*shape))
    segment, event = sed.segment_counts(theirs, ours, *shape), sed.event_counts(theirs, ours, *shape)
    totals = sed.detection_scores(clip.sum(axis=0), segment.sum(axis=0), event.sum(axis=0))
    values = {name: float(value) for name, value in totals.items()}
    sed.verify(values, sed.official(theirs, ours, len(reference), labels))
    return values


def named(text: str, known: Iterable[str]) -> list[str]:
    """The classes in a comma-separated list, of which some may hold commas: quoted, or as they stand in `known`."""
    whole = {",".join(part.strip() for part in label.split(",")): label for label in known}
    parts = [part.strip() for part in next(csv.reader([text], skipinitialspace=True))]
    labels = []
    while parts:
        ends = range(len(parts), 0, -1)
        end = next((end for end in ends if ",".join(parts[:end]) in whole), 1)
        labels.append(whole.get(",".join(parts[:end]), parts[0]))
        del parts[:end]
    return labels


def main(
    reference: Annotated[Path, typer.Option(help="true events, tab-separated: filename onset offset event_label")],
    estimate: Annotated[Path, typer.Option(help="a system's events, the same columns")],
    labels: Annotated[
        list[str] | None, typer.Option(help="classes, comma-separated or repeated; default: those in either file")
    ] = None,
    output: Output = None,
) -> None:
    """Scores detected sound events: clip, 1-second segment and event F1, each from 0 to 1, as JSON.

    A line with a file name and nothing else says that the file has no events. Files that the reference does not name
    do not count, as in DCASE's baseline. The rules are DCASE's: onset collar
    0.2 s, offset collar the larger of 0.2 s and 20 % of the event's length. `event_macro_f1` gives 0 to a class that
    the system never puts out; `event_macro_f1_observed` leaves it out.
    """
    theirs, ours = read_events(reference), read_events(estimate)
    strange = [name for name in ours if name not in theirs]
    if strange and len(strange) == len(ours):
        hint = did_you_mean(strange[0], theirs)[:200]
        raise UserError(f"{estimate}: '{strange[0]}' is not a file of {reference}, and neither is any other{hint}")
    if strange:
        log.info(
            "%d files of %s are not in %s and do not count, '%s' for one", len(strange), estimate, reference, strange[0]
        )
        ours = {name: events for name, events in ours.items() if name in theirs}
    if not any(theirs.values()):
        raise UserError(f"{reference}: holds no event, so no score is defined")
    found = {event["label"]: path for path, files in ((estimate, ours), (reference, theirs))
             for events in files.values() for event in events}  # fmt: skip
    classes = [label for text in labels for label in named(text, found)] if labels else sorted(found)
    for label in classes:
        if alike := [other for other in classes if other != label and other.casefold() == label.casefold()]:
            raise UserError(
                f"{found.get(label, reference)}: the labels '{label}' and '{alike[0]}' differ only in upper and lower "
                "case; write them alike"
            )
    if not labels:
        log.info("classes, as found in the two files: %s", ", ".join(classes))
    for label, path in found.items():
        if label not in classes:
            raise UserError(f"{path}: the event label '{label}' is not among --labels{did_you_mean(label, classes)}")
    silent = len(theirs.keys() - ours.keys())
    if silent:
        log.info("%d of %d files are not named in %s and count as without events", silent, len(theirs), estimate)

    show(score(theirs, ours, classes), output)
