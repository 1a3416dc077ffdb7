"""TFRecord files and YouTube-8M's records, beside the `tfrecord` package."""

import re
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import tfrecord as package
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.errors import UserError
from workflow_scripts.formats import tfrecord
from workflow_scripts.formats.youtube8m import (
    AUDIO,
    RGB,
    Frames,
    Video,
    decode_frames,
    decode_video,
    dequantise,
    encode_frames,
    encode_video,
    plan_files,
    quantise,
    read_frames,
    read_videos,
    split_of,
    vocabulary,
)

RECORDS = [b"first", b"", b"third record"]
LABELS = st.lists(st.integers(0, 10_000), max_size=5)
IDS = st.text(min_size=1, max_size=11)


def video(clip_id: str = "abcd", labels: tuple[int, ...] = (3, 1000), seed: int = 0) -> Video:
    random = np.random.default_rng(seed)
    return Video(clip_id, list(labels), random.normal(size=RGB).astype("f4"), random.normal(size=AUDIO).astype("f4"))


def frames(clip_id: str = "abcd", labels: tuple[int, ...] = (3, 1000), seconds: int = 7, seed: int = 0) -> Frames:
    random = np.random.default_rng(seed)
    rgb, audio = (random.integers(0, 256, (seconds, size)).astype(np.uint8) for size in (RGB, AUDIO))
    return Frames(clip_id, list(labels), rgb, audio)


def same(one: Video | Frames, other: Video | Frames) -> bool:
    return one[:2] == other[:2] and all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(one[2:], other[2:], strict=True)
    )


def by_package(path: Path, item: Video | Frames, id_key: str = "id") -> Path:
    """Writes one example with the package, as TensorFlow would."""
    writer = package.TFRecordWriter(str(path))
    about = {id_key: (item.clip_id.encode(), "byte"), "labels": (item.labels, "int")}
    if isinstance(item, Video):
        writer.write(about | {"mean_rgb": (item.rgb, "float"), "mean_audio": (item.audio, "float")})
    else:
        lists = {key: ([frame.tobytes() for frame in getattr(item, key)], "byte") for key in ("rgb", "audio")}
        writer.write(about, lists)
    writer.close()
    return path


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_what_is_written_is_read(records: list[bytes]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.tfrecord"
        tfrecord.write(path, records)
        assert list(tfrecord.read(path)) == records


def test_the_bytes_are_those_of_the_format(tmp_path: Path) -> None:
    tfrecord.write(tmp_path / "ours", [encode_video(video())])
    by_package(tmp_path / "theirs", video())
    (record,) = tfrecord.read(tmp_path / "theirs")
    tfrecord.write(tmp_path / "again", [record])
    assert (tmp_path / "again").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert len((tmp_path / "ours").read_bytes()) == len((tmp_path / "theirs").read_bytes())  # the order may differ


def test_a_failed_writing_leaves_nothing(tmp_path: Path) -> None:
    def records() -> object:
        yield b"one"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        tfrecord.write(tmp_path / "a.tfrecord", records())
    assert not list(tmp_path.iterdir())


@given(st.data())
def test_no_damage_goes_unnoticed(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.tfrecord"
        tfrecord.write(path, RECORDS)
        content = bytearray(path.read_bytes())
        if data.draw(st.booleans(), "truncated"):
            ends = [0, *np.cumsum([16 + len(record) for record in RECORDS])]
            content = content[: data.draw(st.integers(1, len(content) - 1).filter(lambda size: size not in ends))]
        else:
            content[data.draw(st.integers(0, len(content) - 1), "place")] ^= data.draw(st.integers(1, 255), "change")
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"a\.tfrecord: record \d, at byte \d+: .*fetch it again"):
            list(tfrecord.read(path))


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (21 + 5, "record 1, at byte 21: the file ends in the record's header"),
        (21 + 16 + 12 + 3, "record 2, at byte 37: it should have 12 bytes and the file ends before"),
        (21 + 16 + 12 + 12, "record 2, at byte 37: the file ends before the record's checksum"),
    ],
)
def test_where_a_file_ends_is_said(tmp_path: Path, kept: int, said: str) -> None:
    path = tmp_path / "a.tfrecord"
    tfrecord.write(path, RECORDS)
    path.write_bytes(path.read_bytes()[:kept])
    found = []
    with pytest.raises(UserError, match=said):
        found.extend(tfrecord.read(path))
    reader = tfrecord.read(path)
    assert next(reader) == RECORDS[0], "what is before the damage is read"


def test_a_length_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    length = (1 << 60).to_bytes(8, "little")
    path.write_bytes(length + tfrecord.masked_crc(length).to_bytes(4, "little") + b"data and checksum")
    with pytest.raises(UserError, match=f"it should have {1 << 60} bytes"):
        list(tfrecord.read(path))
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(UserError, match="the checksum of its length"):
        list(tfrecord.read(path))
    with pytest.raises(UserError, match="absent: cannot be read"):
        list(tfrecord.read(tmp_path / "absent"))


@given(IDS, LABELS, st.integers(0, 9), st.sampled_from(["id", "video_id"]))
def test_videos_come_back(clip_id: str, labels: list[int], seed: int, id_key: str) -> None:
    item = video(clip_id, tuple(labels), seed)
    assert same(decode_video(encode_video(item, id_key)), item)


@given(IDS, LABELS, st.integers(1, 20), st.sampled_from(["id", "video_id"]))
def test_frames_come_back(clip_id: str, labels: list[int], seconds: int, id_key: str) -> None:
    item = frames(clip_id, tuple(labels), seconds)
    assert same(decode_frames(encode_frames(item, id_key)), item)


@pytest.mark.parametrize("id_key", ["id", "video_id"])
def test_the_package_and_we_read_each_other(tmp_path: Path, id_key: str) -> None:
    assert same(next(read_videos(by_package(tmp_path / "video", video(), id_key))), video())
    assert same(next(read_frames(by_package(tmp_path / "frame", frames(), id_key))), frames())
    tfrecord.write(tmp_path / "video", [encode_video(video(), id_key)])
    (found,) = package.tfrecord_loader(str(tmp_path / "video"), None)
    assert (bytes(found[id_key]), list(found["labels"])) == (b"abcd", [3, 1000])
    assert np.array_equal(found["mean_rgb"], video().rgb)
    assert np.array_equal(found["mean_audio"], video().audio)
    tfrecord.write(tmp_path / "frame", [encode_frames(frames(), id_key)])
    ((about, lists),) = package.reader.sequence_loader(str(tmp_path / "frame"), None)
    assert (bytes(about[id_key]), list(about["labels"])) == (b"abcd", [3, 1000])
    assert b"".join(lists["rgb"]) == frames().rgb.tobytes()
    assert b"".join(lists["audio"]) == frames().audio.tobytes()


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protocol buffer message."""
    size, head = len(content), b""
    while size > 127:
        head, size = head + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + head + bytes([size]) + content


def feature(key: str, kind: int, content: bytes) -> bytes:
    return field(1, field(1, key.encode()) + field(2, field(kind, content)))


def test_numbers_may_be_written_one_by_one() -> None:
    item = video(labels=(3, 100))
    floats = {
        key: b"".join(b"\x0d" + value.tobytes() for value in values)
        for key, values in (("mean_rgb", item.rgb), ("mean_audio", item.audio))
    }
    features = feature("id", 1, field(1, b"abcd")) + feature("labels", 3, b"\x08\x03\x08\x64")
    record = field(1, features + b"".join(feature(key, 2, content) for key, content in floats.items()))
    assert same(decode_video(record), item)


def test_frames_may_be_written_in_another_way() -> None:
    item = frames(seconds=3)
    about = feature("id", 1, field(1, b"abcd")) + feature("labels", 3, field(1, bytes([3, 0xE8, 0x07])))
    unknown = b"\x28\x07"  # a field 5 that a later version of the format may have
    lists = b"".join(
        field(1, field(1, key) + field(2, b"".join(field(1, unknown + field(1, field(1, f.tobytes()))) for f in rows)))
        for key, rows in ((b"rgb", item.rgb), (b"audio", item.audio))
    )
    assert same(decode_frames(field(1, about) + field(2, lists)), item)


ID, CLASSES = feature("id", 1, field(1, b"abcd")), feature("labels", 3, field(1, b"\x03"))


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (CLASSES, "it has no id under the key 'id' or 'video_id'"),
        (feature("video_id", 1, field(1, b"")) + CLASSES, "it has no id under"),
        (ID, "'abcd' has no key 'mean_rgb'"),
        (ID + CLASSES, "'abcd' has no key 'mean_rgb'"),
        (ID + CLASSES + feature("mean_rgb", 2, field(1, bytes(40))), "'abcd' has 10 floats under 'mean_rgb' instead"),
        (b"\xff\xff", "it is no tf.train.Example"),
    ],
)
def test_an_unfit_video_is_named(tmp_path: Path, features: bytes, said: str) -> None:
    path = tmp_path / "a.tfrecord"
    tfrecord.write(path, [encode_video(video()), field(1, features)])
    with pytest.raises(UserError, match=re.escape(f"a.tfrecord: record 1: {said}")):
        list(read_videos(path))


def test_unfit_frames_are_named(tmp_path: Path) -> None:
    path, item = tmp_path / "a.tfrecord", frames()
    for record, said in [
        (encode_video(video()), "'abcd' has no key 'rgb'"),
            (b"\xff\xff", "it is no tf.train.SequenceExample"),
        (encode_frames(item._replace(audio=item.audio[:-1])), "'abcd' has 7 frames of 'rgb' and 6 of 'audio'"),
        (encode_frames(frames(seconds=0)), "'abcd' has 0 frames of 'rgb' and 0"),
        (encode_frames(item).replace(b"audio", b"sound"), "'abcd' has no key 'audio'"),
        (field(1, ID + CLASSES) + field(2, field(1, field(1, b"rgb") + field(2, field(1, field(1, field(1, b"xy")))))),
         "'abcd' has 2 bytes in frame 0 of 'rgb' instead of 1024"),
    ]:  # fmt: skip
        tfrecord.write(path, [record])
        with pytest.raises(UserError, match=f"a.tfrecord: record 0: {said}"):
            list(read_frames(path))
    with pytest.raises(ValueError, match="'rgb' must be uint8"):
        encode_frames(item._replace(rgb=item.rgb.astype("f4")))


def test_frames_of_unequal_size_do_not_make_up_for_each_other() -> None:
    rows = b"".join(field(1, field(1, field(1, bytes(size)))) for size in (RGB - 1, RGB + 1))
    record = field(1, ID + CLASSES) + field(2, field(1, field(1, b"rgb") + field(2, rows)))
    with pytest.raises(UserError, match="'abcd' has 1023 bytes in frame 0 of 'rgb' instead of 1024"):
        decode_frames(record)


def test_the_two_maps_of_the_quantiser() -> None:
    values = dequantise(np.array([0, 255], np.uint8))
    assert values.dtype == np.float32
    assert values == pytest.approx([-1.9921875, 2.0078125], abs=1e-6)
    assert quantise(np.array([-9, -2, -2 + 4 / 255, 0.001, 2, 9])).tolist() == [0, 0, 1, 128, 255, 255]
    every = np.arange(256, dtype=np.uint8)
    values = every.astype(float) * 4 / 255 - 2
    assert quantise(values).tolist() == every.tolist()
    assert dequantise(every) - values == pytest.approx(4 / 512, abs=1e-6)  # half a step, always
    with pytest.raises(ValueError, match="no numbers"):
        quantise(np.array([np.nan]))


@given(st.text(max_size=11))
def test_a_larger_share_only_adds_videos(clip_id: str) -> None:
    shares = [0, 0.1, 0.2039, 0.3333, 0.9, 1]
    for part, held_out, rest in (("train", "dev", "train"), ("validate", "test", "validation")):
        splits = [split_of(part, clip_id, share, share) for share in shares]
        taken = splits.count(held_out)
        assert splits == [rest] * (len(shares) - taken) + [held_out] * taken
        assert (splits[0], splits[-1]) == (rest, held_out)


def test_the_shares_are_met() -> None:
    ids = [f"{number:x}" for number in range(20_000)]
    train = Counter(split_of("train", name, 0.2039, 1 / 3) for name in ids)
    validate = Counter(split_of("validate", name, 0.2039, 1 / 3) for name in ids)
    assert train["dev"] / len(ids) == pytest.approx(0.2039, abs=0.01)
    assert validate["test"] / len(ids) == pytest.approx(1 / 3, abs=0.01)
    with pytest.raises(UserError, match="'test' is no part of YouTube-8M with labels"):
        split_of("test", "abcd", 0.2, 0.3)


def test_the_real_names_of_2017(shared: Path) -> None:
    (path,) = (shared / "data" / "metadata").rglob("label_names.csv")
    names = vocabulary(path)
    assert len(names) == 4716
    assert sum(count for count in Counter(names).values() if count > 1) == 166


def test_the_names_of_2018(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.csv"
    header = "Index,TrainVideoCount,KnowledgeGraphId,Name,WikiUrl,Vertical1,Vertical2,Vertical3,WikiDescription\n"
    path.write_text(
        header + '1,5,/m/01,"Sonic, the Hedgehog",,Games,,,"Two\nlines"\n0,9,/m/02,Game,,,,,\n2,1,/m/03,,,,,,\n'
    )
    assert vocabulary(path) == ["Game", "Sonic, the Hedgehog", "/m/03"]
    for content, said in [
        ("Index,Name\n0,a\n2,b\n", "none has the number 1"),
        ("Index,Name\n", "0 classes"),
        ("Index,Name\n0,a\n0,b\n", "line 3: the class 0 stands twice"),
        ("Index,Name\nx,a\n", "line 2: 'x' is no class number"),
        ("Number,Title\n0,a\n", "its columns must be"),
    ]:
        path.write_text(content)
        with pytest.raises(UserError, match=said):
            vocabulary(path)


@given(st.sets(st.from_regex(r"train[a-zA-Z0-9]{2}\.tfrecord", fullmatch=True), min_size=1), st.integers(1, 7))
def test_every_file_is_in_one_part_of_a_plan(names: set[str], n: int) -> None:
    plan = {"files": {name: f"{number:032x}" for number, name in enumerate(names)}}
    parts = [plan_files(plan, m, n) for m in range(1, n + 1)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert {name: checksum for part in parts for name, checksum in part.items()} == plan["files"]
    assert all(list(part) == sorted(part) for part in parts)


@pytest.mark.parametrize(
    "plan", [[], {}, {"files": []}, {"files": {"../a": "0" * 32}}, {"files": {"a": "0" * 31}}, {"files": {"a": None}}]
)
def test_what_is_no_plan(plan: object) -> None:
    with pytest.raises(UserError, match="the download plan has"):
        plan_files(plan, 1, 1)
