"""Kinetics, and Kinetics-Sounds: the classes of Kinetics-400 that are heard as well as seen.

Two files with a header, label,youtube_id,time_start,time_end,split: the train part, and the validation part, which is
what papers on Kinetics-Sounds test with.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from workflow_scripts.corpora.interface import CorpusReader, Found, numbers, seconds, table
from workflow_scripts.errors import UserError
from workflow_scripts.settings.base import read_yaml
from workflow_scripts.shards import Row

LISTS = Path(__file__).with_name("kinetics_sounds.yaml")
COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
NAMED = {"train": {"train"}, "test": {"val", "validate", "test"}}  # the split column's words, which differ by release

PARTS = {"train": "train", "test": "val"}  # by split the folder of the data set's mirror


class Reader(CorpusReader):
    """Reads the clips of the chosen classes."""

    files: ClassVar[dict[str, str]] = {"train": "train.csv", "test": "val.csv"}
    fields = frozenset({"part"})
    published_classes: ClassVar[dict[str, list[str]]] = {"class": numbers(32)}

    classes: Literal["ks31", "ks32", "ks34", "all"] = Field(
        default="ks32",
        description="Which classes: a list of Kinetics-Sounds, or all that the files have. 31 classes with at most 50 "
        "test clips each cannot give the 1,585 that papers report, 32 can",
    )

    def chosen(self) -> list[str] | None:
        """The names of the classes in their order; None: all."""
        if self.classes == "all":
            return None
        lists = read_yaml(LISTS)
        return sorted([*lists["released"], *lists["added"][self.classes]])

    def read(self, files: dict[str, Path]) -> Iterator[Row]:
        """The rows of clips; a file without a clip of a chosen class is a `UserError`."""
        chosen = self.chosen()
        for split in self.files:
            found = set()
            for line, row in table(files[split], "a file of Kinetics", *COLUMNS, ids={"youtube_id"}):
                where = f"{files[split]}, line {line}"
                if row["split"] not in NAMED[split]:
                    raise UserError(f"{where}: a row of the split '{row['split']}'; give the {split} part's file")
                found.add(row["label"])
                if chosen is None or row["label"] in chosen:
                    about = {"split": split, "part": PARTS[split], "labels": [row["label"]]}
                    yield Found(where, {**clip(where, row), **about})
            for label in chosen or []:
                if label not in found:
                    raise UserError(f"{files[split]}: no clip of '{label}'; give Kinetics-400's file, or classes: all")


def clip(where: str, row: dict[str, str]) -> Row:
    """The clip of a row, named as the files of the data set's mirrors: id, first and last second."""
    start, end = seconds(row["time_start"]), seconds(row["time_end"])
    if start is None or end is None or start >= end or not row["youtube_id"]:
        raise UserError(
            f"{where}: '{row['youtube_id']}' from '{row['time_start']}' to '{row['time_end']}' is no section of a video"
        )
    name = f"{row['youtube_id']}_{start:06.0f}_{end:06.0f}"
    return {"clip_id": name, "video_id": row["youtube_id"], "start": start, "end": end}
