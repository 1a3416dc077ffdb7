"""The files of YouTube-8M: records of videos and of their frames, the vocabulary, and the download plan.

A video-level record is a `tf.train.Example` with the id, the labels and the means of the dequantised frame features; a
frame-level record is a `tf.train.SequenceExample` with the id and the labels in its context and one byte string a
second for the image and for the sound. The id's key is `id` in the 2018 edition and `video_id` in that of 2017.
"""

import contextlib
import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

from workflow_scripts.errors import UserError
from workflow_scripts.files import csv_columns, read_csv
from workflow_scripts.formats import tfrecord
from workflow_scripts.shards import shard_of

Part = Literal["train", "validate"]
Decoded = TypeVar("Decoded")

RGB, AUDIO = 1024, 128  # dimensions of the image's and the sound's features
WIDTHS = {"rgb": RGB, "audio": AUDIO}
# Dequantised is q * SCALE + BIAS: the starter code's utils.py adds half a step, which its quantiser does not take off.
LOW, HIGH = -2.0, 2.0
SCALE, BIAS = (HIGH - LOW) / 255, LOW + (HIGH - LOW) / 512
LEVELS = (np.arange(256) * SCALE + BIAS).astype(np.float32)
ID_KEYS = ("id", "video_id")
SPLITS = {"train": ("dev", "train"), "validate": ("test", "validation")}  # source part: hashed share, rest
HASHES = 1 << 32
NAME_COLUMNS = (("Index", "Name"), ("label_id", "label_name"))
NAME, MD5 = re.compile(r"\w[\w.-]*", re.ASCII), re.compile(r"[0-9a-fA-F]{32}")
# TensorFlow's example.proto and feature.proto: field names, numbered from 1, and types (+: repeated). A map is the same
# in a file as repeated pairs of key and value.
MESSAGES = {
    "BytesList": {"value": "bytes+"},
    "FloatList": {"value": "float+"},
    "Int64List": {"value": "int64+"},
    "Feature": {"bytes_list": "BytesList", "float_list": "FloatList", "int64_list": "Int64List"},
    "Features": {"feature": "NamedFeature+"},
    "NamedFeature": {"key": "string", "value": "Feature"},
    "FeatureList": {"feature": "Feature+"},
    "FeatureLists": {"feature_list": "NamedFeatureList+"},
    "NamedFeatureList": {"key": "string", "value": "FeatureList"},
    "Example": {"features": "Features"},
    "SequenceExample": {"context": "Features", "feature_lists": "FeatureLists"},
}
# The same files with the arrays left as bytes, so that they need no Python object for each number or frame: packed
# floats look like a byte string, and so does a message within a message.
RAW = {"FloatList": {"value": "bytes+"}, "NamedFeatureList": {"key": "string", "value": "bytes"}}
FIXED = {1: 8, 5: 4}  # bytes of a number by its wire type


class Video(NamedTuple):
    """A video-level example: float32 `rgb` (1024,) and `audio` (128,)."""

    clip_id: str
    labels: list[int]
    rgb: np.ndarray
    audio: np.ndarray


class Frames(NamedTuple):
    """A frame-level example: uint8 `rgb` (seconds, 1024) and `audio` (seconds, 128), still quantised."""

    clip_id: str
    labels: list[int]
    rgb: np.ndarray
    audio: np.ndarray


class RecordError(UserError):
    """A record has an id and `labels`, and cannot be used: `detail` says why."""

    def __init__(self, place: str, clip_id: str, labels: list[int], detail: str) -> None:
        super().__init__(f"{place}{detail}")
        self.clip_id, self.labels, self.detail = clip_id, labels, detail


class Place(NamedTuple):
    """Where the data of a record lie in its file, bytes."""

    start: int
    length: int


def quantise(features: np.ndarray) -> np.ndarray:
    """Features as uint8: clipped to [-2, 2], which 0 … 255 divide evenly (the starter code's feature extractor)."""
    if np.isnan(features).any():
        raise ValueError("features that are no numbers cannot be quantised")
    return np.rint((np.clip(features, LOW, HIGH) - LOW) * (255 / (HIGH - LOW))).astype(np.uint8)


def dequantise(quantised: np.ndarray) -> np.ndarray:
    """uint8 features as float32 from -1.9922 to 2.0078: a reader's map, no exact inverse of `quantise`."""
    return LEVELS[quantised]


@functools.cache
def message(name: str, raw: bool = True) -> Any:
    """The class of a protocol buffer message, built without TensorFlow; its arrays are bytes if `raw`."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", syntax="proto3")
    for defined_name, fields in (MESSAGES | (RAW if raw else {})).items():
        defined = file.message_type.add(name=defined_name)
        for number, (field_name, described) in enumerate(fields.items(), 1):
            kind, repeated = described.removesuffix("+"), described.endswith("+")
            field = defined.field.add(name=field_name, number=number)
            field.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            field.type = kinds.TYPE_MESSAGE if kind in MESSAGES else kinds.Type.Value(f"TYPE_{kind.upper()}")
            if kind in MESSAGES:
                field.type_name = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def parse(
    name: Literal["Example", "SequenceExample", "Features", "FeatureList"], record: bytes, raw: bool = True
) -> Any:
    """A record, or a message in it; `UserError` if it is none."""
    from google.protobuf.message import DecodeError

    try:
        return message(name, raw).FromString(record)
    except DecodeError:
        raise UserError(f"it is no tf.train.{name}") from None


def fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of a message's fields that are messages or strings, without a copy.

    Raises `IndexError` where it is no message; protobuf, which copies all it reads, says the same of it.
    """
    place, size = 0, len(message)
    while place < size:
        tag, place = varint(message, place)
        if tag & 7 == 2:
            length, place = varint(message, place)
            if place + length > size:
                raise IndexError
            yield tag >> 3, message[place : place + length]
            place += length
        elif tag & 7 == 0:
            _, place = varint(message, place)
        else:
            place += FIXED.get(tag & 7, size + 1)
            if place > size:
                raise IndexError


def varint(message: memoryview, place: int) -> tuple[int, int]:
    """The number, seven bits a byte, that begins at a place, and the place behind it."""
    if (value := message[place]) < 128:
        return value, place + 1
    value, shift = value & 127, 7
    while (byte := message[place := place + 1]) > 127:
        value, shift = value | (byte & 127) << shift, shift + 7
    return value | byte << shift, place + 1


def named(entries: Any) -> dict[str, Any]:
    """A message's map as a dict."""
    return {entry.key: entry.value for entry in entries}


def who(features: dict[str, Any]) -> tuple[str, list[int]]:
    """The id and the labels, if any, among a record's features; an id that lacks or is empty is a `UserError`."""
    values = [features[key].bytes_list.value for key in ID_KEYS if key in features]
    if not values or len(values[0]) != 1 or not values[0][0]:
        raise UserError(f"it has no id under the key '{ID_KEYS[0]}' or '{ID_KEYS[1]}'")
    clip_id = values[0][0].decode("utf-8", "replace")
    return clip_id, list(features["labels"].int64_list.value) if "labels" in features else []


@contextlib.contextmanager
def told(clip_id: str, labels: list[int]) -> Iterator[None]:
    """Inside, a fault is one of the record that is known so far."""
    try:
        yield
    except UserError as error:
        raise RecordError("", clip_id, labels, str(error)) from None


def decode_video(record: bytes) -> Video:
    """A video-level record; a missing key or a wrong number of values is a `UserError` that does not know the file."""
    features = named(parse("Example", record).features.feature)
    clip_id, labels = who(features)

    def mean(key: str, size: int) -> np.ndarray:
        if key not in features:
            raise UserError(f"'{clip_id}' has no key '{key}'")
        packed = b"".join(features[key].float_list.value)
        if len(packed) == 4 * size:
            return np.frombuffer(packed, "<f4")
        exact = named(parse("Example", record, raw=False).features.feature)  # floats one by one are valid too
        values = np.array(exact[key].float_list.value, np.float32)
        if len(values) != size:
            raise UserError(f"'{clip_id}' has {len(values)} floats under '{key}' instead of {size}")
        return values

    with told(clip_id, labels):
        return Video(clip_id, labels, mean("mean_rgb", RGB), mean("mean_audio", AUDIO))


@functools.cache
def frame_header(size: int) -> bytes:
    """The bytes before each frame of `size` bytes in a feature list, as everybody writes it: tags and lengths."""
    one = message("FeatureList")()
    one.feature.add().bytes_list.value.append(bytes(size))
    return bytes(one.SerializeToString()[:-size])


def decode_frames(record: bytes) -> Frames:
    """A frame-level record; a missing key or a wrong number of values is a `UserError` that does not know the file.

    The arrays are views of the record.
    """
    context, lists = context_and_lists(record)
    clip_id, labels = who(named(parse("Features", context).feature))
    with told(clip_id, labels):
        rgb, audio = (frames_in(lists, key, clip_id) for key in WIDTHS)
        if len(rgb) != len(audio) or not len(rgb):
            raise UserError(f"'{clip_id}' has {len(rgb)} frames of 'rgb' and {len(audio)} of 'audio'")
    return Frames(clip_id, labels, rgb, audio)


def context_and_lists(record: bytes | np.ndarray) -> tuple[bytes, dict[str, memoryview]]:
    """The context of a frame-level record, and its lists of features by their keys, undecoded."""
    context, lists = [], {}
    try:
        for number, content in fields(record.data if isinstance(record, np.ndarray) else memoryview(record)):
            if number == 1:
                context.append(bytes(content))
            elif number == 2:
                for entry in (dict(fields(entry)) for number, entry in fields(content) if number == 1):
                    lists[bytes(entry.get(1, b"")).decode("utf-8", "replace")] = entry.get(2, memoryview(b""))
    except IndexError:
        raise UserError("it is no tf.train.SequenceExample") from None
    return b"".join(context), lists


def frames_in(lists: dict[str, memoryview], key: str, clip_id: str) -> np.ndarray:
    """The frames (seconds, dimensions) of a list of features, uint8; others than of that size are a `UserError`."""
    if key not in lists:
        raise UserError(f"'{clip_id}' has no key '{key}'")
    before, size = frame_header(WIDTHS[key]), WIDTHS[key]
    if len(lists[key]) % (len(before) + size) == 0:
        table = np.frombuffer(lists[key], np.uint8).reshape(-1, len(before) + size)
        if table[:, : len(before)].tobytes() == before * len(table):
            return table[:, len(before) :]
    exact = parse("FeatureList", bytes(lists[key]), raw=False)  # written in another way
    frames = [b"".join(feature.bytes_list.value) for feature in exact.feature]
    for number, frame in enumerate(frames):
        if len(frame) != size:
            raise UserError(f"'{clip_id}' has {len(frame)} bytes in frame {number} of '{key}' instead of {size}")
    return np.frombuffer(b"".join(frames), np.uint8).reshape(-1, size)


def read(path: Path, decode: Callable[[bytes], Decoded]) -> Iterator[tuple[Place, Decoded | RecordError]]:
    """The decoded records of a file and where they are, or what is wrong with one whose id is known.

    Any other fault is a `UserError` with the file, the record's number and the key.
    """
    for number, (start, record) in enumerate(tfrecord.located(path)):
        where, place = f"{path}: record {number}: ", Place(start, len(record))
        try:
            yield place, decode(record)
        except RecordError as error:
            yield place, RecordError(where, error.clip_id, error.labels, error.detail)
        except UserError as error:
            raise UserError(f"{where}{error}") from None


def sound(found: Iterator[tuple[Place, Decoded | RecordError]]) -> Iterator[Decoded]:
    """The decoded records; one that cannot be used is raised."""
    for _, record in found:
        if isinstance(record, RecordError):
            raise record
        yield record


def read_videos(path: Path) -> Iterator[Video]:
    """The examples of a video-level file, all of which must be sound."""
    return sound(read(path, decode_video))


def read_frames(path: Path) -> Iterator[Frames]:
    """The examples of a frame-level file, all of which must be sound."""
    return sound(read(path, decode_frames))


def frames_at(
    path: Path, places: Sequence[tuple[int, int]], seconds: Sequence[int], memory: tfrecord.Memory
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The image's and the sound's frames of the records at some places (start, length) of a frame-level file.

    They were decoded when the places were noted, and had so many `seconds`, or more if these were cut.
    """
    for record, number in zip(tfrecord.read_at(path, places, memory), seconds, strict=True):
        if (found := known_frames(record, number)) is None:
            _, lists = context_and_lists(record)
            found = frames_in(lists, "rgb", path.name), frames_in(lists, "audio", path.name)
        yield found


def known_frames(record: np.ndarray, seconds: int) -> tuple[np.ndarray, np.ndarray] | None:
    """The frames of the image and the sound in a record that has so many; None if it is written in another way.

    What stands before a list tells its length, which leaves no room for anything but the frames.
    """
    for order in (("rgb", "audio"), ("audio", "rgb")):
        found, end = {}, len(record)
        for key in order:
            entry, before, frame = written(key, seconds)
            start = end - seconds * frame
            if start < entry or record[start - len(before) : start].tobytes() != before:
                break
            found[key], end = record[start:end].reshape(seconds, frame)[:, frame - WIDTHS[key] :], start - entry
        else:
            return found["rgb"], found["audio"]
    return None


@functools.cache
def written(key: str, seconds: int) -> tuple[int, bytes, int]:
    """How many bytes stand before a list's frames, the last of those, and the bytes of a frame, as everybody writes it.

    The first count is with the header of the list's entry, which stands before the second.
    """
    lists, frame = message("FeatureLists")(), len(frame_header(WIDTHS[key])) + WIDTHS[key]
    entry = lists.feature_list.add(key=key, value=bytes(seconds * frame))
    own = entry.SerializeToString()
    return lists.ByteSize() - seconds * frame, bytes(own[: len(own) - seconds * frame]), frame


def identify(features: Any, clip_id: str, labels: list[int], id_key: str) -> None:
    """Writes id and labels into a message's features."""
    features.feature.add(key=id_key).value.bytes_list.value.append(clip_id.encode())
    features.feature.add(key="labels").value.int64_list.value.extend(labels)


def encode_video(video: Video, id_key: Literal["id", "video_id"] = "id") -> bytes:
    """The record of a video-level example."""
    example = message("Example")()
    identify(example.features, video.clip_id, video.labels, id_key)
    for key, values, size in (("mean_rgb", video.rgb, RGB), ("mean_audio", video.audio, AUDIO)):
        packed = values.astype("<f4").reshape(size).tobytes()
        example.features.feature.add(key=key).value.float_list.value.append(packed)
    return example.SerializeToString()


def encode_frames(frames: Frames, id_key: Literal["id", "video_id"] = "id") -> bytes:
    """The record of a frame-level example."""
    example = message("SequenceExample")()
    identify(example.context, frames.clip_id, frames.labels, id_key)
    for key, values, size in (("rgb", frames.rgb, RGB), ("audio", frames.audio, AUDIO)):
        if values.dtype != np.uint8 or values.shape[1:] != (size,):
            raise ValueError(f"'{key}' must be uint8 (seconds, {size}), found {values.dtype} {values.shape}")
        before = np.frombuffer(frame_header(size) * len(values), np.uint8).reshape(len(values), len(frame_header(size)))
        example.feature_lists.feature_list.add(key=key).value = np.hstack([before, values]).tobytes()
    return example.SerializeToString()


def split_of(part: str, clip_id: str, dev: float, test: float) -> str:
    """The split of a video: shares of the train files are `dev`, of the validate files `test`, by a hash of the id.

    The paper's own division of the train files is not known, and the labels of the test files were never given out.
    """
    if part not in SPLITS:
        raise UserError(f"'{part}' is no part of YouTube-8M with labels: known: {', '.join(SPLITS)}")
    held_out, rest = SPLITS[part]
    share = dev if part == "train" else test
    return held_out if shard_of(clip_id, HASHES) < share * HASHES else rest


def vocabulary(path: Path) -> list[str]:
    """The names of the classes by their number, from the file of 2018 or of 2017; several may have the same name.

    An entity without a name goes by its identifier in the knowledge graph. Raises `UserError` when the file has other
    columns, or numbers that are not 0, 1, 2 …
    """
    names: dict[int, str] = {}
    found = csv_columns(path)
    columns = next((pair for pair in NAME_COLUMNS if set(pair) <= set(found)), None)
    if columns is None:
        raise UserError(f"{path}: its columns must be Index and Name, or label_id and label_name")
    number, name = columns
    for line, row in read_csv(path):
        where = f"{path}, line {line}"
        if not row[number].isdecimal():
            raise UserError(f"{where}: '{row[number]}' is no class number")
        if int(row[number]) in names:
            raise UserError(f"{where}: the class {row[number]} stands twice")
        names[int(row[number])] = row[name] or row.get("KnowledgeGraphId", "")
    holes = set(range(len(names))) - names.keys()
    if holes or not names:
        raise UserError(f"{path}: {len(names)} classes, and none has the number {min(holes, default=0)}")
    return [names[index] for index in range(len(names))]


def plan_files(plan: dict[str, Any], m: int, n: int) -> dict[str, str]:
    """Names and MD5 of the files in part `m` (1 … n) of a download plan divided into `n`, by name.

    As in the official downloader, the MD5 of a file's *name* decides in which part it is. Raises `UserError` when the
    plan is none.
    """
    files = plan.get("files") if isinstance(plan, dict) else None
    if not isinstance(files, dict) or not files:
        raise UserError("the download plan has no 'files'")
    for name, checksum in files.items():
        if not NAME.fullmatch(name) or not isinstance(checksum, str) or not MD5.fullmatch(checksum):
            raise UserError(f"the download plan has '{name}': {checksum!r}, which is no file name with an MD5")
    return {name: files[name].lower() for name in taken(files, m, n)}


def taken(names: Iterable[str], m: int, n: int) -> list[str]:
    """The names of files in part `m` (1 … n) of `n`, in order."""
    return [name for name in sorted(names) if place(name) % n == m - 1]


def place(name: str) -> int:
    return int(hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(), 16)
