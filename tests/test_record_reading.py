"""What the reader makes of ledgers of record files."""

from pathlib import Path

import pytest
from record_files import NAMES, Publisher, vocabulary

from workflow_scripts.corpora.readers.youtube8m import Reader
from workflow_scripts.errors import UserError


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path)


def test_the_reader_gives_the_videos_of_the_ledgers(publisher: Publisher, tmp_path: Path) -> None:
    publisher.faults[NAMES[0]] = ["404"]
    publisher.fetch(0, 2)  # trainAA, which is not there, and validate09
    publisher.fetch(1, 2)
    files, ledgers = {"vocabulary": vocabulary(tmp_path, 8)}, [publisher.store / f"{n}.parquet" for n in range(2)]
    clips = list(Reader().read(files, ledgers))
    assert [clip["clip_id"] for clip in clips] == [*(f"2{i:03}" for i in range(4)), *(f"1{i:03}" for i in range(3))]
    assert [clip["link"] for clip in clips] == [f"validate/{NAMES[2]}"] * 4 + [f"train/{NAMES[1]}"] * 3
    assert [clip["labels"] for clip in clips] == [["2", "7"]] * 4 + [["1", "7"]] * 3
    assert {clip["split"] for clip in clips[:4]} <= {"validation", "test"}
    assert {clip["split"] for clip in clips[4:]} <= {"train", "dev"}
    assert clips[0] | {"split": ""} == {
        "clip_id": "2000", "video_id": "2000", "start": 0.0, "end": None, "split": "", "labels": ["2", "7"],
        "link": f"validate/{NAMES[2]}",
    }  # fmt: skip
    assert {clip["split"] for clip in Reader(dev=0, test=0).read(files, ledgers)} == {"train", "validation"}
    assert Reader().classes(files)[7] == "class 7"


def test_the_reader_refuses_what_does_not_belong_together(publisher: Publisher, tmp_path: Path) -> None:
    publisher.fetch()
    with pytest.raises(UserError, match=r"trainAA.tfrecord: '0000' has the labels \[0, 7\], and the vocabulary 7"):
        list(Reader().read({"vocabulary": vocabulary(tmp_path, 7)}, [publisher.store / "0.parquet"]))
    with pytest.raises(UserError, match="no ledger names a record file"):
        list(Reader().read({"vocabulary": vocabulary(tmp_path, 7)}))
