"""Single records that cannot be used: counted, told and left out, while the rest of the corpus goes on."""

import json
from pathlib import Path

import pytest
from record_files import NAMES, Publisher, frames, video, vocabulary

from workflow_scripts.corpora.annotate import annotate
from workflow_scripts.corpora.plan import AnnotateCorpus
from workflow_scripts.corpora.readers.youtube8m import Reader
from workflow_scripts.errors import UserError
from workflow_scripts.features.extractors import youtube8m_frames, youtube8m_video
from workflow_scripts.features.plan import ExtractRecords
from workflow_scripts.formats import tfrecord
from workflow_scripts.formats.youtube8m import encode_frames, encode_video
from workflow_scripts.parquet import parquet_schema
from workflow_scripts.settings.sample import Sample
from workflow_scripts.shards import Row, read

ODD = "trainCc.tfrecord"


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    """Files of two levels, with one each of: more image than sound, no label, an unknown label, an id twice."""
    publisher = Publisher(tmp_path)
    videos = [video(clip_id, 1) for clip_id in ("more", "none", "many", "1000", "fine", "fine")]
    videos[1].labels.clear()
    videos[2].labels[:] = [99]
    publisher.publish(ODD, [encode_video(item) for item in videos])
    pictures = [frames("x", 4)._replace(clip_id=item.clip_id, labels=item.labels) for item in videos]
    pictures[0] = pictures[0]._replace(audio=pictures[0].audio[:3])
    publisher.publish(ODD, [encode_frames(item) for item in pictures], "frame")
    publisher.publish(NAMES[1], [encode_frames(frames("x", 4)._replace(clip_id=f"1{i:03}")) for i in range(3)], "frame")
    publisher.publish(NAMES[2], [encode_frames(frames("x", 4)._replace(clip_id=f"2{i:03}")) for i in range(4)], "frame")
    return publisher


def made(publisher: Publisher, sample: Sample | None = None) -> tuple[Path, dict[str, list[Row]]]:
    """The manifest, and the rows of both features."""
    folder, files = publisher.folder, {"vocabulary": vocabulary(publisher.folder, 8)}
    stores = {level: folder / f"records-{level}" for level in ("video", "frame")}
    for level, store in stores.items():
        publisher.store = store
        publisher.fetch(level=level)
    manifest = folder / "manifest.parquet"
    about = {"reader": "youtube8m", "reading": Reader(), "link": None, "files": files, "needed": []}
    annotate(AnnotateCorpus(**about, sample=sample or Sample(), ledgers=[stores["video"] / "0.parquet"]), manifest)
    found = {}
    for level, extractor in (("video", youtube8m_video.Extractor()), ("frame", youtube8m_frames.Extractor())):
        job = ExtractRecords(
            extractor=f"youtube8m_{level}",
            settings=extractor,
            source=stores[level] / "0.parquet",
            manifest=manifest,
            reading=Reader(),
            files=files,
        )
        job.run(folder / "features" / f"{level}.parquet")
        found[level] = list(read(folder / "features" / f"{level}.parquet"))
    return manifest, found


def states(rows: list[Row]) -> dict[str, tuple[str, str | None]]:
    assert len({row["clip_id"] for row in rows}) == len(rows), "every id stands once"
    return {row["clip_id"]: (row["status"], row["reason"]) for row in rows}


def made_with_few_doubles(publisher: Publisher) -> tuple[Path, dict[str, list[Row]]]:
    """Without the record whose id another file has too: two doubles are too many for so small a corpus."""
    for level in ("video", "frame"):
        path = publisher.served / f"2/{level}/train/{ODD}"
        records = list(tfrecord.read(path))
        publisher.publish(ODD, records[:3] + records[4:], level)
    return made(publisher)


def test_odd_records_are_left_out_and_told(publisher: Publisher, caplog: pytest.LogCaptureFixture) -> None:
    publisher.faults[NAMES[0]] = ["always 404"]  # one file of all is lost
    manifest, features = made_with_few_doubles(publisher)
    known = states(list(read(manifest)))
    sound = {clip_id for clip_id, state in known.items() if state == ("ok", None)}
    assert sound == {"more", "fine", *(f"1{i:03}" for i in range(3)), *(f"2{i:03}" for i in range(4))}
    assert {known["none"], known["many"]} == {("failed", "no_label"), ("failed", "unknown_label")}
    assert "2 clips cannot be used: no_label 1, unknown_label 1" in caplog.text
    assert "1 records have the id of another one, such as 'fine'; the first of each is taken" in caplog.text
    assert json.loads(parquet_schema(manifest).metadata[b"doubled"]) == {"fine": f"train/{ODD}"}
    assert states(features["video"]) == known
    assert states(features["frame"]) == known | {"more": ("failed", "decode_error")}


def test_of_an_id_in_two_files_the_first_record_is_taken(publisher: Publisher) -> None:
    for level in ("video", "frame"):
        records = list(tfrecord.read(publisher.served / f"2/{level}/train/{ODD}"))
        publisher.publish(ODD, records[3:5], level)
    manifest, features = made(publisher)
    assert json.loads(parquet_schema(manifest).metadata[b"doubled"]) == {"1000": f"train/{NAMES[1]}"}
    for rows in (list(read(manifest)), *features.values()):
        assert states(rows)["1000"] == ("ok", None)
    (row,) = (row for row in features["frame"] if row["clip_id"] == "1000")
    assert row["path"] == f"files/train/{NAMES[1]}"


def test_many_doubles_or_unknown_labels_stop(publisher: Publisher) -> None:
    with pytest.raises(UserError, match="clip ids must be unique"):
        made(publisher)
    publisher.publish(ODD, [encode_video(video(name, 8)) for name in ("aa", "bb")])
    with pytest.raises(
        UserError, match=r"'aa' has the labels \[8, 7\], .* vocabulary 8 classes; take the vocabulary of"
    ):
        made(publisher)


def test_a_limit_counts_no_odd_records(publisher: Publisher) -> None:
    publisher.publish(ODD, [encode_video(video("none", 1)._replace(labels=[]))])
    publisher.publish(ODD, [encode_frames(frames("x", 4)._replace(clip_id="none", labels=[]))], "frame")
    manifest, features = made(publisher, Sample(limit=5))
    known = states(list(read(manifest)))
    assert known["none"] == ("failed", "no_label")
    assert list(known.values()).count(("ok", None)) == 9, "of two splits no more than there are"
    assert states(features["frame"])["none"] == ("failed", "no_label")
