"""The command `scores sed`: sound event detection scored from tab-separated files of events, and of frame scores."""

import csv
import functools
import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.files import read_csv
from workflow_scripts.metrics import psds, sed
from workflow_scripts.scores.output import Output, show
from workflow_scripts.shards import Row

log = logging.getLogger(__name__)

COLUMNS = ("filename", "onset", "offset", "event_label")
table = functools.partial(read_csv, kept=frozenset(), delimiter="\t")  # without the blanks around cells
LATEST = 86_400  # seconds, a day: no recording of events is so long


def read_event(values: dict[str, str], where: str) -> Row | None:
    """The event of one line, or None when the line only names a file."""
    onset, offset, label = (values[name] for name in COLUMNS[1:])
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
    for number, line in table(path, COLUMNS, hint, ids={"filename"}, quoting=csv.QUOTE_NONE):
        where = f"{path}, line {number}"
        if not line["filename"]:
            raise UserError(f"{where}: the file name is missing")
        events = files.setdefault(line["filename"], [])
        event = read_event(line, where)
        if event is not None:
            events.append(event)
    return files


def score(reference: dict[str, list[Row]], estimate: dict[str, list[Row]], labels: list[str]) -> dict[str, Any]:
    """All scores over the reference's files, and `classes`, those of each class that has events.

    A file that the estimate does not name counts as without events.
    """
    shape = len(reference), len(labels)
    theirs = sed.Events.of(list(reference.values()), labels)
    ours = sed.Events.of([estimate.get(name, []) for name in reference], labels)
    clip = sed.tag_counts(theirs.tags(*shape), ours.tags(*shape))
    segment, errors = sed.segment_counts(theirs, ours, *shape)
    counts = {"clip": clip, "segment": segment, "event": sed.event_counts(theirs, ours, *shape)}
    sums = {kind: count.sum(axis=0) for kind, count in counts.items()}
    values = {name: float(value) for name, value in sed.detection_scores(**sums, segment_errors=errors.sum()).items()}
    sed.verify(values, sed.official(theirs, ours, len(reference), labels))
    by_class = {
        label: {
            f"{kind}_{name}": float(function(count[place]))
            for kind, count in sums.items()
            for name, function in sed.CLASS_SCORES.items()
        }
        for place, label in enumerate(labels)
        if sums["event"][place, [0, 2]].any()
    }
    return {**values, "classes": by_class}


def score_frames(
    reference: dict[str, list[Row]], folder: Path, labels: list[str], durations: dict[str, float]
) -> dict[str, float]:
    """PSDS 1 and 2 of the frame scores in a folder, over the reference's files."""
    wanted = {f"{Path(name).stem}.tsv" for name in reference}
    if strange := sorted(path.name for path in folder.glob("*.tsv") if path.name not in wanted):
        log.info("%d files of %s are not of the reference and do not count, '%s' for one",
                 len(strange), folder, strange[0])  # fmt: skip
    clips = []
    for name, events in reference.items():
        times, scores = read_frames(folder / f"{Path(name).stem}.tsv", labels)
        found = np.array([(labels.index(e["label"]), e["onset"], e["offset"]) for e in events]).reshape(-1, 3)
        clips.append(psds.ScoredClip(times, scores, durations.get(name, float(times[-1])), found))
    return {name: float(values[0]) for name, values in psds.psds(clips, np.ones((1, len(clips)))).items()}


def read_frames(path: Path, labels: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Times (frames + 1,) and scores (frames, classes) from a file with the columns `onset offset` and the classes."""
    hint = "; frame scores are one file a recording, tab-separated columns: onset offset and every class"
    times: list[float] = []
    scores = []
    for number, line in table(path, ["onset", "offset", *labels], hint, quoting=csv.QUOTE_NONE):
        where = f"{path}, line {number}"
        try:
            onset, offset, *found = (float(line[name]) for name in ("onset", "offset", *labels))
        except ValueError:
            raise UserError(f"{where}: a time or a score is not a number") from None
        if not (all(map(math.isfinite, found)) and 0 <= onset < offset <= LATEST):
            raise UserError(f"{where}: scores must be finite, and a frame must end after it starts, within a day")
        if times and onset != times[-1]:
            raise UserError(f"{where}: the frame starts at {onset}, but the one before it ends at {times[-1]}")
        times += [offset] if times else [onset, offset]
        scores.append(found)
    if not scores:
        raise UserError(f"{path}: holds no frame")
    return np.array(times), np.array(scores)


def read_durations(path: Path) -> dict[str, float]:
    """The length of each file, seconds, from a tab-separated file with the columns `filename duration`."""
    found = {}
    hint = "; tab-separated columns: filename duration"
    for number, line in table(path, ["filename", "duration"], hint, ids={"filename"}):
        try:
            found[line["filename"]] = float(line["duration"])
        except ValueError:
            found[line["filename"]] = math.nan
        if not 0 < found[line["filename"]] <= LATEST:
            text = line["duration"]
            raise UserError(f"{path}, line {number}: duration '{text}' must be a number of seconds, up to a day")
    return found


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
    estimate: Annotated[Path | None, typer.Option(help="a system's events, the same columns")] = None,
    labels: Annotated[
        list[str] | None, typer.Option(help="classes, comma-separated or repeated; default: those in either file")
    ] = None,
    output: Output = None,
    scores: Annotated[
        Path | None,
        typer.Option(help="folder of frame scores, <file>.tsv each with the columns onset offset and every class"),
    ] = None,
    durations: Annotated[
        Path | None,
        typer.Option(help="lengths of files for PSDS: filename duration; default: the end of a file's last frame"),
    ] = None,
) -> None:
    """Scores detected sound events by clips, 1-second segments and events, as JSON.

    A line with a file name and nothing else says that the file has no events. Files that the reference does not name
    do not count, as in DCASE's baseline. The rules are DCASE's: onset collar
    0.2 s, offset collar the larger of 0.2 s and 20 % of the event's length. `event_macro_f1` gives 0 to a class that
    the system never puts out; `event_macro_f1_observed` leaves it out. `classes` has the scores of each class. All are
    from 0 to 1, but error rates may be above. From `--scores` come `psds1` and `psds2`, with DCASE's parameters since
    2021; smooth the scores yourself, if you would.
    """
    if estimate is None and scores is None:
        raise UserError("give --estimate, a file of events, or --scores, a folder of frame scores, or both")
    theirs, ours = read_events(reference), read_events(estimate) if estimate is not None else {}
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
        log.info("classes, as found in the files of events: %s", ", ".join(classes))
    for label, path in found.items():
        if label not in classes:
            raise UserError(f"{path}: the event label '{label}' is not among --labels{did_you_mean(label, classes)}")
    values: dict[str, Any] = {}
    if scores is not None:
        values = score_frames(theirs, scores, classes, read_durations(durations) if durations is not None else {})
    if estimate is not None:
        silent = len(theirs.keys() - ours.keys())
        if silent:
            log.info("%d of %d files are not named in %s and count as without events", silent, len(theirs), estimate)
        values = score(theirs, ours, classes) | values
    show(values, output)
