"""Small payloads of true form for the jobs of a part: their real code then runs on a few clips, with nothing fetched.

Values are noise or drawn at random; shapes, types, labels for each clip and numbers of seeds are those of the paper.
"""

import functools
import json
import math
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.comparability import Basis
from workflow_scripts.corpora.annotate import MANIFEST
from workflow_scripts.corpora.interface import INVENTED, CorpusReader, invented_caption
from workflow_scripts.corpora.plan import AnnotateCorpus
from workflow_scripts.features.extract_records import LEADING
from workflow_scripts.features.interface import ArrayExtractor, RecordExtractor, TextExtractor
from workflow_scripts.features.plan import ExtractArrays, ExtractCorpus, ExtractFeatures, ExtractRecords, ReduceFeatures
from workflow_scripts.formats import tfrecord
from workflow_scripts.formats.youtube8m import AUDIO, RGB, Frames, Video, encode_frames, encode_video
from workflow_scripts.jobs import Job
from workflow_scripts.media.plan import DecodeAudio
from workflow_scripts.parquet import read_parquet
from workflow_scripts.rehearsal.plan import Part
from workflow_scripts.scores.plan import Score
from workflow_scripts.settings.base import digest
from workflow_scripts.settings.plugins import READERS, plugin
from workflow_scripts.shards import STATE, Row, array_field, pack, stack, write
from workflow_scripts.tables.plan import CheckClaims, CountClips, CountCoverage, MakeTable
from workflow_scripts.training import outputs

# How many rows stand for one of a size of the settings, by what is computed of a row.
ROWS = {AnnotateCorpus: 125, CountClips: 125, CountCoverage: 125, ExtractCorpus: 25, MakeTable: 125, CheckClaims: 125}
SCORED = {"sed": 4, "captioning": 1}  # otherwise 100
SOUND_RATE = 44_100  # of the files that are decoded
FEW = 16  # predictions behind the resampled scores that tables are made from, and replicates of them

SCORING = threading.Lock()  # METEOR's one Java process answers one thread


class Annotations(CorpusReader):
    """Reads rows that nobody has written."""

    files: ClassVar[dict[str, str]] = {}
    reader: str
    counts: dict[str, int]

    def read(self, files: dict[str, Path]) -> Iterator[Row]:
        return rows(self.reader, self.counts)


def rows(reader: str, counts: Mapping[str, int]) -> Iterator[Row]:
    """As many rows of each split as there are `counts`, annotated as those of a reader."""
    invented, random, place = published(reader).invented, np.random.default_rng(0), 0
    for split, count in counts.items():
        for _ in range(count):
            row = {"clip_id": f"{place:011d}", "video_id": f"{place:011d}", "link": f"{split}/{place // 1000}.tfrecord"}
            yield row | {"start": 0.0, "end": None, "split": split} | invented(split, place, random)
            place += 1


def published(reader: str) -> type[CorpusReader]:
    """The class of a reader, which knows what the published corpus is like."""
    found: type[CorpusReader] = plugin(READERS, reader, "corpora.yaml")
    return found


def captions_a_clip(reader: str, split: str = "train") -> int:
    """How many captions a clip of the published corpus has."""
    return len(published(reader).invented(split, 0, np.random.default_rng(0)).get("captions") or [""])


def divided(counts: Mapping[str, int], size: int) -> dict[str, int]:
    """About `size` clips in the proportions of the splits, two of each at least."""
    total = sum(counts.values()) or 1
    return {split: max(2, round(size * count / total)) for split, count in counts.items()}


def manifest(reader: str, counts: Mapping[str, int], path: Path) -> Path:
    """A manifest of such rows."""
    ok = ({k: v for k, v in row.items() if k != "video_id"} | {"status": "ok"} for row in rows(reader, counts))
    write(path, ok, MANIFEST.with_metadata({"limit": ""}), rows_a_group=4096)
    return path


# features


def shard(example: Job | None, reader: str, counts: Mapping[str, int], path: Path) -> Path:
    """A shard of features as the job `example` makes them: noise, or words, or temporal captions."""
    settings = getattr(example, "settings", None) or getattr(example, "temporal", None)
    random = np.random.default_rng(0)
    ids = [(row["clip_id"], row) for row in rows(reader, counts)]
    state = {"status": "ok"}
    if isinstance(example, ExtractArrays) and isinstance(settings, ArrayExtractor):
        seconds = example.clip_seconds
        column = array_field("features", "float16", settings.shape(seconds))
        noise = [random.standard_normal(settings.shape(seconds)).astype(np.float16) for _ in range(4)]
        found = (
            {"clip_id": name, "seconds": seconds, "features": pack(noise[place % 4], column), **state}
            for place, (name, _) in enumerate(ids)
        )
        fields = [pa.field("clip_id", pa.string(), nullable=False), pa.field("seconds", pa.float64()), column, *STATE]
        write(path, found, pa.schema(fields), rows_a_group=64)
        return path
    if isinstance(settings, RecordExtractor | TextExtractor):
        columns = settings.columns()
        leading = ({"clip_id": n, "split": r["split"], "labels": [int(x) for x in r["labels"]]} for n, r in ids)
        found = (row | {c.name: value(c, random) for c in columns} | state for row in leading)
        names = json.dumps([f"class {number}" for number in published(reader).published_classes["class"]])
        schema = pa.schema([*LEADING, *columns, *STATE], metadata={"classes": names})
        write(path, found, schema, rows_a_group=settings.rows_a_group)
        return path
    from workflow_scripts.captions.rewrite import SCHEMA

    text = "a dog barks: 1; rain falls: 2; a bell rings: 2"
    found = (
        {"clip_id": n, "caption_index": place, "caption": caption, "temporal": text, "source": "rules", "events": 3}
        | {"orders": 2, **state}
        for n, row in ids
        for place, caption in enumerate(row["captions"])
    )
    about = {"backend": settings.backend.kind, "ties": settings.ties} if settings else {}
    write(path, found, SCHEMA.with_metadata(about))
    return path


def value(column: pa.Field, random: np.random.Generator) -> Any:
    """Something that fits into a column of records."""
    if pa.types.is_fixed_size_binary(column.type):
        if b"uint8" in column.metadata[b"dtype"]:
            return random.bytes(column.type.byte_width)
        return random.standard_normal(column.type.byte_width // 2).astype(np.float16).tobytes()
    if pa.types.is_list(column.type):
        return list(random.choice(INVENTED, 8))
    return 300 if pa.types.is_integer(column.type) else None


# jobs by their kinds


def rows_a_size(job: Job) -> int:
    """How many items stand for one of a size of the settings."""
    if isinstance(job, Score):
        return SCORED.get(job.family, 100)
    if isinstance(job, ExtractRecords):
        return 1 if isinstance(job.settings, RecordExtractor) and job.settings.level == "frame" else 12
    if isinstance(job, ReduceFeatures):
        return 1 if job.reducer == "feature_statistics" else 125
    return ROWS.get(type(job), 1)


@functools.singledispatch
def payload(job: Job | None, part: Part, size: int, folder: Path) -> Job | None:
    """The job with inputs of `size` items in `folder`; None where its stage cannot be run without a source or a GPU."""
    return None


@payload.register
def _(job: AnnotateCorpus, part: Part, size: int, folder: Path) -> Job:
    reading = Annotations(reader=part.reader, counts=divided(part.counts, size))
    return job.model_copy(update={"reading": reading, "names": [], "files": {}, "needed": [], "ledgers": []})


@payload.register
def _(job: DecodeAudio, part: Part, size: int, folder: Path) -> Job:
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    seconds = job.audio.clip_seconds
    noise = np.random.default_rng(0).standard_normal((round(seconds * SOUND_RATE), 2)) / 10
    soundfile.write(folder / "sound.ogg", noise, SOUND_RATE)
    fields = [
        pa.field("clip_id", pa.string()),
        pa.field("path", pa.string()),
        pa.field("seconds", pa.float64()),
        *STATE,
    ]
    found = ({"clip_id": str(n), "path": "sound.ogg", "seconds": seconds, "status": "ok"} for n in range(size))
    write(folder / "clips.parquet", found, pa.schema(fields))
    return job.model_copy(update={"clips": folder / "clips.parquet", "store": folder})


@payload.register
def _(job: ExtractFeatures, part: Part, size: int, folder: Path) -> Job | None:
    if job.settings.source != "audio" or job.settings.uses_gpu:
        return None
    column = array_field("audio", "int16", (job.settings.samples(job.clip_seconds),))
    noise = np.random.default_rng(0).integers(-3000, 3000, column.type.byte_width // 2).astype(np.int16).tobytes()
    fields = [pa.field("clip_id", pa.string(), nullable=False), pa.field("seconds", pa.float64()), column, *STATE]
    row = {"seconds": job.clip_seconds, "audio": noise, "status": "ok"}
    write(folder / "clips.parquet", ({"clip_id": str(n), **row} for n in range(size)), pa.schema(fields), 64)
    return job.model_copy(update={"clips": folder / "clips.parquet", "store": folder, "device": "cpu"})


@payload.register
def _(job: ExtractRecords, part: Part, size: int, folder: Path) -> Job | None:
    if not isinstance(job.settings, RecordExtractor):
        return None
    random = np.random.default_rng(0)
    ids = [(row["clip_id"], [int(label) for label in row["labels"]]) for row in rows(part.reader, {"train": size})]
    if job.settings.level == "frame":
        visual, sound = (random.integers(0, 256, (300, width)).astype(np.uint8) for width in (RGB, AUDIO))
        records = (encode_frames(Frames(name, labels, visual, sound)) for name, labels in ids)
    else:
        means = [random.standard_normal(width).astype(np.float32) for width in (RGB, AUDIO)]
        records = (encode_video(Video(name, labels, *means)) for name, labels in ids)
    folder.mkdir(parents=True, exist_ok=True)
    tfrecord.write(folder / "videos.tfrecord", records)
    fields = [pa.field(name, pa.string()) for name in ("name", "part", "path")]
    ledger = {"name": "videos.tfrecord", "part": "train", "path": "videos.tfrecord", "status": "ok"}
    write(folder / "ledger.parquet", [ledger], pa.schema([*fields, *STATE]))
    vocabulary = folder / "vocabulary.csv"
    names = "".join(f"{number},class {number}\n" for number in published(part.reader).published_classes["class"])
    vocabulary.write_text(f"Index,Name\n{names}", encoding="utf-8")
    update = {"source": folder / "ledger.parquet", "files": {"vocabulary": vocabulary}, "sources": [], "assets": {}}
    return job.model_copy(
        update=update | {"manifest": manifest(part.reader, {"train": 2}, folder / "manifest.parquet")}
    )


@payload.register
def _(job: ReduceFeatures, part: Part, size: int, folder: Path) -> Job | None:
    if job.assets:
        return None
    counts, example = divided(part.counts, size), part.needs["feature"].example
    update: dict[str, Any] = {"manifest": manifest(part.reader, counts, folder / "manifest.parquet")}
    if example is not None and job.reducer != "class_index":  # which reads the manifest alone
        update["features"] = [shard(example, part.reader, counts, folder / "features.parquet")]
    return job.model_copy(update=update)


@payload.register
def of_score(job: Score, part: Part, size: int, folder: Path) -> Score:
    counts = divided({name: part.counts[name] for name in part.splits}, math.ceil(size / part.seeds))
    predicted = folder / "predictions.parquet"
    schema, values = predictions(job.family, part)
    clips = list(rows(part.reader, counts))
    found = (
        {"seed": seed, "clip_id": row["clip_id"], "split": row["split"], "seconds": 10.0, **values(place)}
        for seed in range(part.seeds)
        for place, row in enumerate(clips)
    )
    write(predicted, found, schema, rows_a_group=1024)
    off = {"spice": False, "fense": False, "time_labels": None} if job.family == "captioning" else {}
    settings = job.settings.model_copy(update=off)
    path = manifest(part.reader, counts, folder / "manifest.parquet")
    return job.model_copy(update={"settings": settings, "manifest": path, "predictions": [predicted], "assets": {}})


def predictions(family: str, part: Part) -> tuple[pa.Schema, Any]:
    """The schema of what a system predicts, and the function from a clip's place to the values of its row."""
    random = np.random.default_rng(0)
    heads = published(part.reader).published_classes
    names = next(iter(heads.values()))
    if family == "captioning":
        return outputs.caption_schema(), lambda place: {"caption": invented_caption(random)}
    if family == "sed":
        schema = outputs.prediction_schema(names, 151, 0.0662)
    elif family == "multilabel":
        schema = outputs.ranking_schema(names, 100)
    elif family == "top_k":
        schema = outputs.heads_schema(heads)
    else:
        schema = outputs.logit_schema(names)
    columns = [field for field in schema if pa.types.is_fixed_size_binary(field.type)]

    def values(place: int) -> dict[str, bytes]:
        return {field.name: drawn(field, len(names), random) for field in columns}

    return schema, values


def drawn(field: pa.Field, classes: int, random: np.random.Generator) -> bytes:
    """One clip's numbers: different classes, scores that fall, or probabilities."""
    shape = json.loads(field.metadata[b"shape"])
    if field.name == "classes":
        return pack(random.choice(classes, shape, replace=False).astype(np.int32), field)
    numbers = random.random(shape)
    return pack(-np.sort(-numbers) if field.name == "scores" else numbers, field)


@payload.register
def _(job: MakeTable, part: Part, size: int, folder: Path) -> Job | None:
    if not part.needs:
        return None
    (folder / "nothing.json").parent.mkdir(parents=True, exist_ok=True)
    (folder / "nothing.json").write_text("{}", encoding="utf-8")
    empty: dict[str, Any] = {"values": dict.fromkeys(job.values, folder / "nothing.json")}
    empty["facts"] = {name: [folder / "nothing.json"] for name in job.facts}
    return job.model_copy(update={**replicated(part, size, folder), "basis": Basis(), "ledgers": [], **empty})


@payload.register
def _(job: CheckClaims, part: Part, size: int, folder: Path) -> Job | None:
    if not part.needs:
        return None
    return job.model_copy(update={**replicated(part, size, folder), "basis": {}, "ledgers": []})


def replicated(part: Part, size: int, folder: Path) -> dict[str, dict[str, Path]]:
    """The resampled scores of all experiments of a part and what they are of; experiments that score alike share them.

    `size` predictions are behind all of them together.
    """
    made: dict[str, dict[str, Path]] = {}
    found: dict[str, dict[str, Path]] = {"replicates": {}, "counts": {}, "manifests": {}}
    for name, scored in part.needs.items():
        job = scored.example
        if isinstance(job, Score):
            key = digest(
                [job.family, job.settings.identity(), job.replicates, scored.reader, scored.seeds, scored.splits]
            )
            if key not in made:
                made[key] = resampled(job, scored, max(FEW, size // len(part.needs)), folder / key)
            for kind, path in made[key].items():
                found[kind][name] = path
    return found


def resampled(job: Score, part: Part, size: int, folder: Path) -> dict[str, Path]:
    """The scores that `job` would resample, made by scoring itself of some predictions of one seed, seldom resampled.

    There are as many resampled scores as in truth; their values repeat.
    """
    one_seed = part.model_copy(update={"seeds": 1})
    few = of_score(job.model_copy(update={"replicates": FEW}), one_seed, max(FEW, size // part.seeds), folder)
    with SCORING:
        few.run(*(folder / f"{file}.parquet" for file in ("scores", "counts", "replicates")))
    path = folder / "replicates.parquet"
    one = read_parquet(path)
    field, values = array_field("replicates", "float64", (job.replicates,)), stack(one, "replicates")
    packed = [pack(np.resize(row, job.replicates), field) for row in values]
    one = one.set_column(one.schema.get_field_index("replicates"), field, pa.array(packed, field.type))
    place = one.schema.get_field_index("seed")
    every = [one.set_column(place, "seed", pa.array([seed] * len(one), pa.int32())) for seed in range(part.seeds)]
    pq.write_table(pa.concat_tables(every), path)
    return {"replicates": path, "counts": folder / "counts.parquet", "manifests": few.manifest}


@payload.register
def _(job: CountCoverage, part: Part, size: int, folder: Path) -> Job:
    path = manifest(part.reader, {"train": size}, folder / "manifest.parquet")
    ledger = job.ledgers[0].model_copy(update={"manifest": path, "clips": [path]})
    return job.model_copy(update={"ledgers": [ledger], "needed": []})
