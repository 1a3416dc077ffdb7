"""Features out of record files, and what training reads of them."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_files import Publisher, frame_shard, frames, video, vocabulary

from workflow_scripts.corpora.readers.youtube8m import Reader
from workflow_scripts.errors import UserError
from workflow_scripts.features.extractors import youtube8m_video
from workflow_scripts.formats import tfrecord
from workflow_scripts.formats.youtube8m import AUDIO, RGB, Frames, encode_frames, encode_video, read_videos
from workflow_scripts.shards import array_spec, read
from workflow_scripts.training.systems.video_tagger.data import Records as FrameRecords
from workflow_scripts.training.systems.video_tagger.data import chosen_frames


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path)


def test_means_become_one_row_each(publisher: Publisher) -> None:
    path = publisher.publish("trainZZ.tfrecord", [encode_video(video("aa")), encode_video(video("bb", 3))])
    extractor = youtube8m_video.Extractor()
    (column,) = extractor.columns()
    assert array_spec(column) == (np.dtype("float16"), (1, RGB + AUDIO))
    rows = list(extractor.read(path))
    assert [(row["clip_id"], row["labels"]) for row in rows] == [("aa", [0, 7]), ("bb", [3, 7])]
    for row, item in zip(rows, read_videos(path), strict=True):
        found = np.frombuffer(row["features"], np.float16)
        assert np.array_equal(found[:RGB], item.rgb.astype(np.float16))
        assert np.array_equal(found[RGB:], item.audio.astype(np.float16))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_a_mean_that_half_precision_cannot_hold_fails_alone(publisher: Publisher, value: float) -> None:
    bad = video("aa")
    bad.rgb[3] = value
    path = publisher.publish("trainZZ.tfrecord", [encode_video(bad), encode_video(video("bb"))])
    first, second = youtube8m_video.Extractor().read(path)
    assert (first["status"], first["reason"], "features" in first) == ("failed", "unexpected_error", False)
    assert "half precision" in first["detail"]
    assert "features" in second


@given(seconds=st.integers(1, 12), most=st.integers(1, 8))
def test_frames_stay_in_their_record_file(seconds: int, most: int) -> None:
    """A shard tells where they are; read from there they are cut, and zeros where a place is behind the end."""
    random = np.random.default_rng(seconds)
    videos = [
        Frames(name, [1], *(random.integers(1, 256, (n, size)).astype(np.uint8) for size in (RGB, AUDIO)))
        for name, n in (("aa", seconds), ("bb", 3))
    ]
    with tempfile.TemporaryDirectory() as folder:
        shard = frame_shard(Path(folder), [encode_frames(item) for item in videos], most)
        records = FrameRecords(shard)
        table = pq.read_table(shard)
        assert table["num_frames"].to_pylist() == [min(seconds, most), min(3, most)]
        block = records(table)
        places = np.array([[0, 1, 20, 0], [2, 20, 1, 0]])
        found = chosen_frames(block, places)
    for item, own, chosen in zip(videos, found, places, strict=True):
        whole = np.zeros((30, RGB + AUDIO), np.uint8)
        whole[: min(len(item.rgb), most)] = np.hstack([item.rgb, item.audio])[:most]
        assert np.array_equal(own, whole[chosen])


def test_frames_take_no_disk_twice(tmp_path: Path) -> None:
    shard = frame_shard(tmp_path, [encode_frames(frames(name)) for name in ("a", "bb", "ccc")])
    assert shard.stat().st_size < 0.02 * sum(path.stat().st_size for path in tmp_path.rglob("*.tfrecord"))


def test_a_record_with_more_image_than_sound_fails_alone(tmp_path: Path) -> None:
    odd = encode_frames(frames("odd", 7)._replace(audio=frames("odd", 6).audio))
    shard = frame_shard(tmp_path, [encode_frames(frames("good", 7)), odd, encode_frames(frames("other", 7))])
    rows = {row["clip_id"]: row for row in read(shard)}
    assert {name: (row["status"], row["num_frames"]) for name, row in rows.items()} == {
        "good": ("ok", 7), "odd": ("failed", None), "other": ("ok", 7)
    }  # fmt: skip
    assert (rows["odd"]["reason"], rows["odd"]["detail"]) == (
        "decode_error",
        "'odd' has 7 frames of 'rgb' and 6 of 'audio'",
    )


def test_a_mean_of_another_size_fails_alone(publisher: Publisher, tmp_path: Path) -> None:
    """And stays in the manifest."""
    record = encode_video(video("aa", 3)).replace(b"mean_rgb", b"mean_rgx")
    path = publisher.publish("trainAA.tfrecord", [record, encode_video(video("bb", 3))])
    first, second = youtube8m_video.Extractor().read(path)
    assert (first["clip_id"], first["labels"], first["status"]) == ("aa", [3, 7], "failed") and "features" in second
    assert first["detail"] == "'aa' has no key 'mean_rgb'"
    publisher.fetch()
    clips = Reader().read({"vocabulary": vocabulary(tmp_path, 8)}, [publisher.store / "0.parquet"])
    assert {"aa", "bb"} <= {clip["clip_id"] for clip in clips}


def test_records_that_changed_since_are_refused(tmp_path: Path) -> None:
    shard = frame_shard(tmp_path, [encode_frames(frames("a", 7)), encode_frames(frames("b", 7))])
    (path,) = tmp_path.rglob("*.tfrecord")
    tfrecord.write(path, [encode_frames(frames("a", 8))])
    with pytest.raises(UserError, match=r"a.tfrecord: its record at byte 12 is not the one .* fetch it again"):
        FrameRecords(shard)(pq.read_table(shard))
    path.unlink()
    with pytest.raises(UserError, match=r"a.tfrecord: cannot be read"):
        FrameRecords(shard)(pq.read_table(shard))
