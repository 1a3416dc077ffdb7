"""What people heard of the order of a clip's sounds, which goes before the words of its references (ACC_temp, F1_temp).

The metric's own script (Xie et al. 2023) takes such labels where its file of references has them; the labels of its
authors are not published. They are 0 to 3: 1 is added for sounds at the same time, 2 for sounds after one another.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workflow_scripts.errors import UserError
from workflow_scripts.files import csv_columns, read_csv, read_json

LABEL, SEQUENCE = "human_time_label", 2  # from this one on, sounds follow one another
IDS = ("clip_id", "file_name")  # columns that name clips


def read_time_labels(path: Path) -> dict[str, bool]:
    """Of the labelled clips in a CSV file, or in JSON as that script reads it, whether sounds follow one another.

    CSV: `clip_id` or `file_name`, and `human_time_label`, which may be empty; JSON: `audios`, each with its `audio_id`
    and perhaps its `human_time_label`. Any other file is a `UserError`.
    """
    found = {}
    for place, clip, label in in_json(path) if path.suffix == ".json" else in_csv(path):
        if label in (None, ""):
            continue
        if str(label) not in {"0", "1", "2", "3"}:
            raise UserError(f"{path}, {place}: {LABEL} is {label!r}; it is 0, 1, 2 or 3, or left out")
        if clip in found:
            raise UserError(f"{path}, {place}: the clip '{clip}' stands twice; keep one")
        found[clip] = int(label) >= SEQUENCE
    if not found:
        raise UserError(f"{path}: no clip has a {LABEL}")
    return found


def in_csv(path: Path) -> Iterator[tuple[str, str, Any]]:
    name = id_column(path)
    for line, row in read_csv(path, (name, LABEL), exact=True, kept={"file_name"}, ids={name}):
        yield f"line {line}", row[name], row[LABEL]


def id_column(path: Path) -> str:
    """The column of a CSV file that names clips."""
    return next((name for name in IDS if name in csv_columns(path)), IDS[0])


def in_json(path: Path) -> Iterator[tuple[str, str, Any]]:
    whole = read_json(path)
    audios = whole.get("audios") if isinstance(whole, dict) else None
    if not isinstance(audios, list) or not all(isinstance(one, dict) and "audio_id" in one for one in audios):
        raise UserError(f"{path}: has no `audios`, each with an `audio_id`; give one as that script reads it")
    for one in audios:
        yield f"audio '{one['audio_id']}'", str(one["audio_id"]), one.get(LABEL)
