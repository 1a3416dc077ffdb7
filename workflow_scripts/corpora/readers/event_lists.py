"""Lists of one's own recordings as DCASE writes them, tab-separated, one for each split: `<split>.tsv` in a folder.

Its header tells how a list is annotated: strongly, `filename onset offset event_label` (a recording without events is a
row whose other fields are empty), weakly, `filename event_labels` (with commas between them), or not, `filename`.
`durations.tsv`, with `filename duration`, tells how long recordings are.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from workflow_scripts.corpora.interface import CorpusReader, Found, seconds, table
from workflow_scripts.corpora.readers.audio_folder import clip_id
from workflow_scripts.errors import UserError
from workflow_scripts.files import csv_columns

DURATIONS = "durations"
STRONG, WEAK = ("onset", "offset", "event_label"), ("event_labels",)


class Reader(CorpusReader):
    """The splits are the names of the lists: those that the experiments name, such as `weak` and `test`."""

    files: ClassVar[dict[str, str]] = {}
    folder: Path = Field(description="The folder of the lists")
    clip_seconds: float = Field(
        default=10, gt=0, description="As the corpus's: a recording that lasts longer is refused, if its length is told"
    )

    @property
    def own_files(self) -> tuple[Path, ...]:
        return tuple(sorted(self.folder.glob("*.tsv")))

    def read(self, files: dict[str, Path]) -> Iterator[Found]:
        """The rows of recordings, whose video_id is the path in the list.

        A folder without lists, a recording that `durations.tsv` leaves out, and one or an event that is too long are a
        `UserError`.
        """
        lists = {path.stem: path for path in self.own_files}
        lengths = self.durations(lists.pop(DURATIONS)) if DURATIONS in lists else None
        if not lists:
            raise UserError(f"{self.folder}: no list of recordings; write one for each split, such as weak.tsv")
        for split, path in lists.items():
            for name, found in recordings(path).items():
                if lengths is not None and name not in lengths:
                    raise UserError(f"{found.where}: '{name}' has no line in {self.folder / DURATIONS}.tsv; add one")
                length = lengths[name] if lengths is not None else None
                if "events" in found:
                    found["events"] = [within(event, length, found.where) for event in found["events"]]
                about = {"clip_id": clip_id(name), "video_id": name, "start": 0.0, "end": length, "split": split}
                yield Found(found.where, {**about, **found})

    def durations(self, path: Path) -> dict[str, float]:
        """How long each recording lasts."""
        found = {}
        for line, row in table(path, "a list of durations", "filename", "duration", delimiter="\t", ids={"filename"}):
            where, length = f"{path}, line {line}", seconds(row["duration"])
            if not length:
                raise UserError(f"{where}: duration '{row['duration']}' must be a number of seconds above 0")
            if length > self.clip_seconds + 0.5:
                raise UserError(
                    f"{where}: '{row['filename']}' lasts {length:g} s, and a clip {self.clip_seconds:g} s; cut it, or "
                    "raise clip_seconds of the corpus and of its reading"
                )
            found[row["filename"]] = length
        return found


def recordings(path: Path) -> dict[str, Found]:
    """What a list tells of each recording, in order of first mention: its labels and events, if it is annotated."""
    columns = csv_columns(path, delimiter="\t")
    kind = next((kind for kind in (STRONG, WEAK) if set(kind) & set(columns)), ())
    found: dict[str, Found] = {}
    for line, row in table(path, "a list of recordings", "filename", *kind, delimiter="\t", ids={"filename"}):
        where, name = f"{path}, line {line}", row["filename"]
        if not name:
            raise UserError(f"{where}: the file name is missing")
        if name in found and kind != STRONG:
            raise UserError(f"{where}: '{name}' stands twice in the list; remove all but one")
        about = found.setdefault(name, Found(where, {}))
        if kind == WEAK:
            about["labels"] = [label.strip() for label in row["event_labels"].split(",") if label.strip()]
            if not about["labels"]:
                raise UserError(
                    f"{where}: '{name}' has no label; name recordings without labels in a list of their own"
                )
        if kind == STRONG:
            events = about.setdefault("events", [])
            if any(row[key] for key in STRONG):
                events.append(event(row, where))
            about["labels"] = sorted({one["label"] for one in events})
    return found


def event(row: dict[str, str], where: str) -> dict[str, Any]:
    """The event of a line."""
    onset, offset = seconds(row["onset"]), seconds(row["offset"])
    if onset is None or offset is None or not row["event_label"]:
        raise UserError(f"{where}: an event needs onset, offset and event_label; a recording without events has none")
    if onset >= offset:
        raise UserError(f"{where}: an event from {onset:g} to {offset:g} s cannot be")
    return {"onset": onset, "offset": offset, "label": row["event_label"]}


def within(event: dict[str, Any], length: float | None, where: str) -> dict[str, Any]:
    """An event up to the end of its recording; one after it is a `UserError`."""
    if length is None:
        return event
    if event["onset"] >= length:
        raise UserError(f"{where}: an event of '{event['label']}' starts at {event['onset']:g} s, after the end")
    return {**event, "offset": min(event["offset"], length)}
