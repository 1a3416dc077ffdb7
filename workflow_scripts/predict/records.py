"""From record files of YouTube-8M's form and from texts of videos, none of which are media, to what a tagger reads."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.features.extract_records import LEADING
from workflow_scripts.formats import tfrecord, youtube8m
from workflow_scripts.parquet import open_parquet
from workflow_scripts.predict.clips import Part, tell
from workflow_scripts.predict.description import Description
from workflow_scripts.predict.texts import SUFFIXES, read_texts
from workflow_scripts.shards import STATE, ClipError, Row, Status
from workflow_scripts.training.stream import Block
from workflow_scripts.training.systems.video_tagger.data import Records, means

if TYPE_CHECKING:
    from workflow_scripts.training.predictor import Predictor

SUFFIX = ".tfrecord"
BATCH = 1024  # videos at once
Blocks = tuple[Iterator[Block], dict[str, Part]]


def record_blocks(
    description: Description,
    predictor: "Predictor",
    files: Mapping[str, Path],
    folder: Path,
    assets: Mapping[str, Path],
) -> Blocks:
    """The features and the words of videos, as `rows` of a tagger reads them, and what each of them is.

    Videos are those of the record files, or those of the files of texts where nothing but texts is read. Records of the
    other level are passed over. Several files may hold records of the same id. Files of another kind, or none of those
    that are needed, are a `UserError`.
    """
    features = {feature.plugin().source: feature.plugin() for feature in description.features.values()}
    records = {name: path for name, path in files.items() if path.suffix == SUFFIX}
    tables = {name: path for name, path in files.items() if path.suffix in SUFFIXES}
    told = "record files (….tfrecord)" if "records" in features else ""
    if "text" in features:
        told += f"{told and ' and '}the videos' texts: a table (.csv, .tsv, .jsonl) of id, title and keywords"
    if others := [name for name in files if name not in records and name not in tables]:
        raise UserError(
            f"{others[0]}: no video or sound of one's own can be tagged by its picture and sound, because the last "
            "step of YouTube-8M's features, a projection, only its publishers can compute: give "
            f"{told}; systems that read titles and keywords tag any video by these"
        )
    words = Words(description, predictor, tables, assets) if "text" in features else None
    if words and "records" not in features:
        return words.alone(labels_in(records))
    reading = features["records"]
    own = {name: path for name, path in records.items() if level(path) in (None, reading.level)}
    if not own:
        raise UserError(f"it reads {reading.level}-level records, and the files hold none: give {told}")
    made, parts = dict[str, Path](), dict[str, Part]()
    about = {"records": ".", "classes": json.dumps(description.kept.get("classes", []))}
    columns = [*reading.columns(), *(words.columns if words else ())]
    schema = pa.schema([*LEADING, *columns, *STATE], metadata=about)
    for number, (name, path) in enumerate(own.items()):
        rows = []
        for row in reading.read(path.resolve()):
            clip_id = fresh(row["clip_id"], parts)
            parts[clip_id] = Part(f"{name}#{row['clip_id']}", 0.0, 0.0)
            if row.get("status", Status.OK) != Status.OK:
                tell(parts[clip_id].file, row["reason"], row["detail"])
                continue
            known = words.of(row["clip_id"], parts[clip_id].file, row["labels"]) if words else {}
            if known is not None:
                state = {"status": Status.OK, "split": "files", "path": str(path.resolve())}
                rows.append(state | row | known | {"clip_id": clip_id})
        made[name] = folder / f"{number}.parquet"
        shards.write(made[name], rows, schema, rows_a_group=reading.rows_a_group)
    return blocks(list(made.values()), reading.level, predictor.texts if words else ()), parts


def fresh(name: str, known: Mapping[str, Any]) -> str:
    """The id of a video, or, if another has it, the same with a number."""
    numbered = (f"{name} ({number})" for number in count(2))
    return next(own for own in chain([name], numbered) if own not in known)


def level(path: Path) -> str | None:
    """Whether a file's records are of whole videos or of frames; None where the first one does not tell."""
    try:
        _, record = next(tfrecord.located(path), (0, b""))
    except UserError:  # who reads the file says what is wrong with it
        return None
    for name, decode in (("video", youtube8m.decode_video), ("frame", youtube8m.decode_frames)):
        with contextlib.suppress(UserError):
            decode(record)
            return name
    return None


def labels_in(records: Mapping[str, Path]) -> dict[str, list[int]]:
    """The labels of the videos in record files."""
    found: dict[str, list[int]] = {}
    for path in records.values():
        decode: Any = youtube8m.decode_frames if level(path) == "frame" else youtube8m.decode_video
        found |= {video.clip_id: video.labels for _, video in youtube8m.read(path, decode)}
    return found


class Words:
    """The words of videos' texts, as training's extractor finds them.

    A video without a word that must have one is told of. What is read without the words of labels is so only of videos
    whose labels are known.
    """

    def __init__(
        self, description: Description, predictor: "Predictor", tables: Mapping[str, Path], assets: Mapping[str, Path]
    ) -> None:
        if not tables:
            raise UserError("it reads texts of videos: give a table (.csv, .tsv, .jsonl) of id, title and keywords too")
        (settings,) = (own for own in (one.plugin() for one in description.features.values()) if own.source == "text")
        self.extract = settings.load(dict(assets), description.kept.get("classes", []))
        self.texts, self.required = list(predictor.texts), predictor.required
        self.columns = [field for field in settings.columns() if field.name in self.texts]
        self.rows: dict[str, Row] = {}
        for name, path in tables.items():
            for row in read_texts(name, path):
                self.rows[row["id"]] = {"file": name} | self.rows.get(row["id"], {}) | row

    def of(self, video: str, told: str, labels: list[int]) -> Row | None:
        """The columns of words of a video; None if it cannot be predicted, which is told."""
        texts = {"title": "", "keywords": []} | self.rows.get(video, {})
        try:
            found = self.extract(texts | {"clip_id": video, "labels": labels})
        except ClipError as error:
            tell(told, error.reason, error.detail)
            return None
        for column in self.required:
            if not found[column]:
                name = column.removesuffix("_filtered")
                tell(told, found[f"{name}_reason"] or "no_text", f"no word of its {name} can be used")
                return None
        return {name: found[name] for name in self.texts}

    def alone(self, labels: Mapping[str, list[int]]) -> Blocks:
        """The videos that have texts, some at a time, and what each is."""
        parts = {video: Part(f"{row['file']}#{video}", 0.0, 0.0) for video, row in self.rows.items()}
        found = ((video, self.of(video, part.file, labels.get(video, []))) for video, part in parts.items())
        usable = [(video, words) for video, words in found if words is not None]

        def blocks() -> Iterator[Block]:
            for start in range(0, len(usable), BATCH):
                ids, words = zip(*usable[start : start + BATCH], strict=True)
                yield {"clip_id": objects(ids)} | {name: objects([row[name] for row in words]) for name in self.texts}

        return blocks(), parts


def objects(values: Iterable[Any]) -> np.ndarray:
    """An array of anything, lists too."""
    listed = list(values)
    found = np.empty(len(listed), object)
    found[:] = listed
    return found


def blocks(made: list[Path], level: str, texts: Iterable[str]) -> Iterator[Block]:
    """The records of shards, a row group at a time."""
    for shard in made:
        decode = Records(shard) if level == "frame" else means
        with open_parquet(shard) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                if table.num_rows:
                    words = {name: objects(table[name].to_pylist()) for name in texts}
                    yield {"clip_id": objects(table["clip_id"].to_pylist())} | decode(table) | words


def member_blocks(members: Mapping[str, Iterable[tuple[Part, Row]]]) -> Blocks:
    """What an ensemble's members say of the videos that all of them predict, and what each of these is."""
    rows = {role: {row["clip_id"]: (part, row) for part, row in own} for role, own in members.items()}
    parts = {clip_id: part for own in reversed(rows.values()) for clip_id, (part, _) in own.items()}
    for clip_id, part in parts.items():
        if lacking := [role for role, own in rows.items() if clip_id not in own]:
            tell(
                part.file,
                "not_there",
                f"its members {', '.join(lacking)} do not predict it; give records of both levels",
            )
    common = [clip_id for clip_id in parts if all(clip_id in own for own in rows.values())]

    def blocks() -> Iterator[Block]:
        for start in range(0, len(common), BATCH):
            some = common[start : start + BATCH]
            block: Block = {"clip_id": objects(some)}
            for role, own in rows.items():
                for name, dtype in (("classes", np.int32), ("scores", np.float32)):
                    block[f"{role}.{name}"] = np.stack([np.frombuffer(own[one][1][name], dtype) for one in some])
            yield block

    return blocks(), parts
