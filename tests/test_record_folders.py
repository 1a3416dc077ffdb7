"""Record files that one has already."""

from pathlib import Path

import numpy as np
import pytest

from workflow_scripts.corpora.readers.youtube8m import Reader
from workflow_scripts.errors import UserError
from workflow_scripts.formats import tfrecord
from workflow_scripts.formats.youtube8m import AUDIO, RGB, Video, encode_video
from workflow_scripts.media.plan import FetchRecords
from workflow_scripts.settings.records import Records
from workflow_scripts.shards import read


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
