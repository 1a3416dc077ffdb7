"""Record files that one has already."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from record_files import NAMES, Publisher, video

from workflow_scripts.corpora.readers.youtube8m import Reader
from workflow_scripts.errors import UserError
from workflow_scripts.formats import tfrecord
from workflow_scripts.formats.youtube8m import AUDIO, RGB, Video, encode_video
from workflow_scripts.media.plan import FetchRecords
from workflow_scripts.settings.records import Records
from workflow_scripts.shards import read


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path)


def test_records_of_a_folder_that_download_py_left(tmp_path: Path) -> None:
    """Files of both parts side by side, one of them a link, a damaged one, and what else the script leaves there."""
    there, disk = tmp_path / "yt8m/video", tmp_path / "disk"
    rgb, audio = np.zeros(RGB, np.float32), np.zeros(AUDIO, np.float32)
    for folder, name in ((there, "train0000"), (disk, "train0001"), (there, "validate0000")):
        folder.mkdir(parents=True, exist_ok=True)
        tfrecord.write(folder / f"{name}.tfrecord", [encode_video(Video(name[-6:], [1], rgb, audio))])
    (there / "train0001.tfrecord").symlink_to(disk / "train0001.tfrecord")
    (there / "train0002.tfrecord").write_bytes((there / "train0000.tfrecord").read_bytes()[:-9])
    (there / "2_video_train_download_plan.json").write_text("{}")
    store, output = tmp_path / "store", tmp_path / "store" / "0.parquet"
    records = {"folder": str(tmp_path / "yt8m/{level}")}
    job = FetchRecords(level="video", records=records, store=store)
    job.run(output)
    rows = {row["name"]: row for row in read(output)}
    states = {name: (row["part"], row["status"], row["reason"]) for name, row in rows.items()}
    assert states == {
        "train0000.tfrecord": ("train", "ok", None),
        "train0001.tfrecord": ("train", "ok", None),
        "train0002.tfrecord": ("train", "failed", "decode_error"),
        "validate0000.tfrecord": ("validate", "ok", None),
    }
    assert (there / "train0002.tfrecord").exists()  # what somebody has is never thrown away
    vocabulary = tmp_path / "vocabulary.csv"
    vocabulary.write_text("Index,Name\n0,Game\n1,Car\n")
    clips = Reader().read({"vocabulary": vocabulary}, [output])
    assert {clip["link"] for clip in clips} == {f"{row['part']}/{name}" for name, row in rows.items() if row["path"]}
    (there / "train0002.tfrecord").write_bytes((there / "train0000.tfrecord").read_bytes())
    job.run(output)
    assert {row["status"] for row in read(output)} == {"ok"}
    with pytest.raises(UserError, match=r"no file such as train0000\.tfrecord in .*frame"):
        FetchRecords(level="frame", records=records, store=store).run(output)
    with pytest.raises(UserError, match="a folder, or a plan and a file"):
        Records.check({"plan": "http://x.org/{part}"}, "records")


def own(publisher: Publisher, *names: str) -> Path:
    """A folder as download.py leaves it, with some of the published files."""
    folder = publisher.folder / "own"
    folder.mkdir(exist_ok=True)
    for name in names:
        (found,) = publisher.served.rglob(name)
        shutil.copy(found, folder / name)
    return folder


def test_own_files_and_the_mirror_make_up_one_corpus(publisher: Publisher, caplog: pytest.LogCaptureFixture) -> None:
    """What is whole is taken; what ends early, has another byte, or is not there is fetched."""
    publisher.publish("trainCc.tfrecord", [encode_video(video("3000", 3))])
    folder = own(publisher, NAMES[0], NAMES[1], NAMES[2])
    (folder / NAMES[1]).write_bytes((folder / NAMES[1]).read_bytes()[:-100])
    content = bytearray((folder / NAMES[2]).read_bytes())
    content[-50] ^= 1
    (folder / NAMES[2]).write_bytes(content)
    rows = publisher.fetch(folder=str(folder))
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert {name: row["origin"] for name, row in rows.items()} == {
        NAMES[0]: str(folder.resolve() / NAMES[0]),
        NAMES[1]: f"2/video/train/{NAMES[1]}",
        "trainCc.tfrecord": "2/video/train/trainCc.tfrecord",
        NAMES[2]: f"2/video/validate/{NAMES[2]}",
    }
    assert {name for name in publisher.asked if name.endswith("tfrecord")} == {*NAMES[1:], "trainCc.tfrecord"}
    assert f"{NAMES[1]}: it is not used, and fetched: record 2, at byte" in caplog.text
    assert f"{NAMES[2]}: it is not used, and fetched: its MD5 is" in caplog.text
    assert (folder / NAMES[1]).exists() and [row["attempts"] for row in rows.values()] == [0, 1, 1, 1]
    publisher.asked.clear()
    assert publisher.fetch(folder=str(folder)) == rows
    assert not {name for name in publisher.asked if name.endswith("tfrecord")}, "all are known"


def test_an_own_file_that_goes_is_fetched_and_one_that_comes_spares_a_lost_one(publisher: Publisher) -> None:
    folder = own(publisher, NAMES[0])
    publisher.faults[NAMES[1]] = ["always 404"]
    rows = publisher.fetch(folder=str(folder))
    assert (rows[NAMES[0]]["attempts"], rows[NAMES[1]]["reason"]) == (0, "not_found")
    (folder / NAMES[0]).unlink()
    own(publisher, NAMES[1])
    rows = publisher.fetch(folder=str(folder))
    assert (rows[NAMES[0]]["status"], rows[NAMES[0]]["attempts"]) == ("ok", 1)
    assert (rows[NAMES[1]]["status"], rows[NAMES[1]]["origin"]) == ("ok", str(folder.resolve() / NAMES[1]))


def test_numbers_of_files_and_records_are_checked(publisher: Publisher, caplog: pytest.LogCaptureFixture) -> None:
    """Without a plan a file that ends between two records shows by having too few."""
    sizes = {"train": {"files": 2, "examples": 20}, "validate": {"files": 3, "examples": 9}}
    publisher.fetch(sizes=sizes)
    assert "video_validate.json: 1 files of validate, and records.sizes says 3" in caplog.text
    assert "files of train" not in caplog.text
    folder = own(publisher, *NAMES)
    job = FetchRecords(level="video", records={"folder": str(folder), "sizes": sizes}, store=publisher.folder / "alone")
    job.run(publisher.folder / "alone.parquet")
    rows = {row["name"]: (row["status"], row["detail"]) for row in read(publisher.folder / "alone.parquet")}
    assert rows[NAMES[0]] == ("failed", "it has 2 records, and files of train about 10; it ends early")
    assert rows[NAMES[2]] == ("ok", None)


def test_a_plan_goes_with_a_file(tmp_path: Path) -> None:
    for odd in ({}, {"folder": "x", "plan": "http://x.org/{part}"}):
        with pytest.raises(UserError, match="a folder, or a plan and a file, or all three"):
            Records.check(odd, "records")
