"""The command `scores youtube8m`: ranked labels of videos scored from two Parquet files, or a Kaggle submission."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import typer

from workflow_scripts.errors import UserError
from workflow_scripts.files import read_csv
from workflow_scripts.metrics import multilabel
from workflow_scripts.parquet import read_parquet
from workflow_scripts.scores.output import Output, show

log = logging.getLogger(__name__)

KAGGLE = ("VideoId", "LabelConfidencePairs")  # the columns of a submission
MOST = 1 << 24  # classes: far more than any vocabulary has, and few enough for a table in memory


@dataclass(frozen=True)
class Videos:
    """A file with lists of each video; each video stands once."""

    path: Path
    ids: pa.ChunkedArray
    table: pa.Table

    @classmethod
    def read(cls, path: Path, *columns: str) -> "Videos":
        """The file with the column `video_id` and these columns of lists."""
        table = submission(path) if path.suffix == ".csv" else read_parquet(path, ("video_id", *columns))
        if not len(table):
            raise UserError(f"{path}: holds no video")
        if not any(kind(table["video_id"].type) for kind in (pa.types.is_string, pa.types.is_large_string)):
            raise UserError(
                f"{path}: the column 'video_id' does not hold text but {table['video_id'].type}; write ids as text"
            )
        ids = table["video_id"].cast(pa.string())
        if ids.null_count:
            raise UserError(f"{path}: a row has no video_id")
        counts = pc.value_counts(ids)
        twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
        if len(twice):
            raise UserError(f"{path}: the video '{twice[0]}' stands twice; give it one row")
        return cls(path, ids, table)

    def lengths(self, name: str) -> np.ndarray:
        """How long the list of each video is."""
        column = self.table[name]
        kinds = pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list
        if not any(kind(column.type) for kind in kinds):
            raise UserError(f"{self.path}: the column '{name}' holds {column.type}; it must hold lists of numbers")
        if column.null_count:
            video = self.ids.filter(pc.is_null(column))[0]
            raise UserError(
                f"{self.path}: the video '{video}' has no '{name}'; where there are none, give an empty list"
            )
        return pc.list_value_length(column).to_numpy()

    def values(self, name: str, wanted: pa.DataType) -> np.ndarray:
        """The numbers of all lists, end to end."""
        try:
            values = pc.list_flatten(self.table[name]).cast(wanted)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise UserError(f"{self.path}: the lists of '{name}' are not all of type {wanted} ({error})") from None
        if values.null_count:
            raise UserError(f"{self.path}: the lists of '{name}' hold null in place of a number")
        return values.to_numpy()

    def classes(self, name: str, row: np.ndarray) -> np.ndarray:
        """The class numbers of all lists; `row` is the video of each. No number may stand twice in a list."""
        classes = self.values(name, pa.int64())
        wrong = np.flatnonzero((classes < 0) | (classes >= MOST))
        if len(wrong):
            video, found = self.ids[row[wrong[0]]], classes[wrong[0]]
            raise UserError(f"{self.path}: the video '{video}' names class {found}; classes are 0 to {MOST - 1}")
        pairs = np.sort(row * MOST + classes)
        again = np.flatnonzero(pairs[1:] == pairs[:-1])
        if len(again):
            place, found = divmod(int(pairs[again[0]]), MOST)
            raise UserError(f"{self.path}: the video '{self.ids[place]}' names class {found} twice in '{name}'")
        return classes

    def within(self, classes: np.ndarray, row: np.ndarray, count: int) -> None:
        """Refuses class numbers that are not below `count`."""
        beyond = np.flatnonzero(classes >= count)
        if len(beyond):
            video, found = self.ids[row[beyond[0]]], classes[beyond[0]]
            raise UserError(f"{self.path}: the video '{video}' names class {found}, but --classes is {count}")


def submission(path: Path) -> pa.Table:
    """The lists of a Kaggle submission: a video a line, its classes and their scores in turn, with blanks between."""
    ids, classes, scores = [], [], []
    for line, row in read_csv(path, KAGGLE, "give a submission as Kaggle takes it", exact=True, kept=frozenset()):
        ids.append(row[KAGGLE[0]])
        pairs = row[KAGGLE[1]].split()
        try:
            if len(pairs) % 2:
                raise ValueError("a class has no score")
            classes.append([int(label) for label in pairs[::2]])
            scores.append([float(value) for value in pairs[1::2]])
        except ValueError as error:
            raise UserError(f"{path}, line {line}: not pairs of a class number and a score ({error})") from None
    types = {"video_id": pa.string(), "classes": pa.list_(pa.int64()), "scores": pa.list_(pa.float64())}
    return pa.table([ids, classes, scores], schema=pa.schema(list(types.items())))


def positions(of: Videos, among: Videos) -> np.ndarray:
    """Where each video of one file stands in the other."""
    found = pc.index_in(of.ids, value_set=among.ids.combine_chunks())
    if found.null_count:
        missing = of.ids.filter(pc.is_null(found))
        raise UserError(f"{among.path}: the video '{missing[0]}' of {of.path} is missing, one of {len(missing)}")
    return found.to_numpy()


def score(labels: Path, predictions: Path, top_k: int, classes: int | None) -> dict[str, float]:
    """The scores of two files, or what is wrong with them."""
    if labels.suffix == ".csv":
        raise UserError(f"{labels}: a submission holds predictions; give the true labels as Parquet")
    theirs, ours = Videos.read(labels, "labels"), Videos.read(predictions, "classes", "scores")
    place = positions(theirs, ours)
    positions(ours, theirs)

    clip = np.repeat(np.arange(len(theirs.ids)), theirs.lengths("labels"))
    truth = multilabel.Truth(place[clip], theirs.classes("labels", clip))

    lengths, others = ours.lengths("classes"), ours.lengths("scores")
    uneven = np.flatnonzero(lengths != others)
    if len(uneven):
        first = uneven[0]
        counts = f"{lengths[first]} classes and {others[first]} scores"
        raise UserError(f"{predictions}: the video '{ours.ids[first]}' has {counts}; give each class one score")
    row = np.repeat(np.arange(len(ours.ids)), lengths)
    named, scores = ours.classes("classes", row), ours.values("scores", pa.float64())
    if np.isnan(scores).any():
        video = ours.ids[row[np.argmax(np.isnan(scores))]]
        raise UserError(f"{predictions}: the video '{video}' has a score that is not a number (NaN)")

    if classes is None:
        classes = 1 + max((int(found.max()) for found in (truth.label, named) if len(found)), default=0)
        log.info("classes: %d, up to the largest number in the two files; --classes states another count", classes)
    theirs.within(truth.label, clip, classes)
    ours.within(named, row, classes)
    if not len(truth.label):
        log.info("no video has a label, so every score is 0")
    found = multilabel.outcome(multilabel.Ranked.of(row, named, scores), truth, len(ours.ids), classes, top_k)
    values = multilabel.scores(found, np.ones((1, len(ours.ids))))
    return {name: float(value[0]) for name, value in values.items()}


def main(
    labels: Annotated[Path, typer.Option(help="true labels, Parquet: video_id, labels (list of class numbers)")],
    predictions: Annotated[
        Path,
        typer.Option(
            help="a system's predictions, Parquet: video_id, classes (list), scores (list, as long); or a .csv as "
            "Kaggle takes it: VideoId,LabelConfidencePairs"
        ),
    ],
    top_k: Annotated[int, typer.Option(min=1, help="best predictions of a video that enter GAP and mAP")] = 20,
    classes: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="number of classes; default: largest number found, plus 1")
    ] = None,
    output: Output = None,
) -> None:
    """Scores ranked labels of videos: GAP, mAP, Hit@1 and PERR, each from 0 to 1, as JSON.

    Class numbers count from 0. The lists may be in any order and of any length; an empty one says that there is no
    label or no prediction. Both files must hold the same videos. `map` is the mean over all classes, of which one
    without labels counts 0, `map_positive_classes` over those with labels. A video without labels counts 0 in Hit@1
    and PERR. Equal scores share their place; within a video the lower class number comes first.
    """
    show(score(labels, predictions, top_k, classes), output)
