"""Downloads of record files by their plan from a loopback server with scripted faults, and what is read from them."""

import hashlib
import json
import logging
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.corpora.readers.youtube8m import Reader
from workflow_scripts.errors import UserError
from workflow_scripts.features.extractors import youtube8m_frames, youtube8m_video
from workflow_scripts.features.plan import ExtractRecords
from workflow_scripts.formats import tfrecord
from workflow_scripts.formats.youtube8m import AUDIO, RGB, Frames, Video, encode_frames, encode_video, read_videos
from workflow_scripts.media import server
from workflow_scripts.media.plan import FetchRecords
from workflow_scripts.media.records import SCHEMA, fetch
from workflow_scripts.settings.records import Records
from workflow_scripts.shards import Row, array_spec, read, write
from workflow_scripts.training.systems.video_tagger.data import Records as FrameRecords
from workflow_scripts.training.systems.video_tagger.data import chosen_frames

PLAN, FILE = "2/download_plans/{level}_{part}.json", "2/{level}/{part}/{name}"
FAST = {"min_share": 0, "plan": PLAN, "file": FILE, "retry_wait": 0, "retries": 3, "give_up_after": 20}
NAMES = ("trainAA.tfrecord", "trainBb.tfrecord", "validate09.tfrecord")

SPAWN = multiprocessing.get_context("spawn")
LONG = [bytes([number]) * 4096 for number in range(100)]  # records of a file that comes in several pieces


class Site(server.Handler):
    """The served folder with a list of faults for each file name, one a request; the last one stays if it says so."""

    asked: Counter[str]
    ranges: list[str]
    faults: dict[str, list[str]]

    def answer(self, body: bool) -> None:
        name = self.path.rsplit("/", 1)[-1]
        self.asked[name] += 1
        if "Range" in self.headers:
            self.ranges.append(self.headers["Range"])
        faults = self.faults.get(name, [])
        self.fault = faults[min(self.asked[name], len(faults)) - 1] if faults else "none"
        if self.asked[name] > len(faults) and not self.fault.startswith("always "):
            self.fault = "none"
        self.fault = self.fault.removeprefix("always ")
        if self.fault.isdigit():
            self.send_error(HTTPStatus(int(self.fault)))
        else:
            super().answer(body)

    def send(self, path: Path, start: int, end: int) -> None:
        if self.fault == "breaks":
            end, self.close_connection = (start + end) // 2, True
        elif self.fault == "stalls":
            self.wfile.write(path.read_bytes()[start : (start + end) // 2])
            self.wfile.flush()
            time.sleep(60)
        elif self.fault == "lies":
            self.wfile.write(bytes(end - start))
            return
        super().send(path, start, end)


class Publisher:
    """A folder of record files and plans, its site, and a store to fill."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked, self.ranges, self.faults = Counter[str](), list[str](), dict[str, list[str]]()
        self.served, self.store = folder / "served", folder / "records-video"
        for number, name in enumerate(NAMES):
            videos = [video(f"{number}{i:03}", number) for i in range(number + 2)]
            self.publish(name, [encode_video(item) for item in videos])

    def publish(self, name: str, records: list[bytes], level: str = "video") -> Path:
        part = "train" if name.startswith("train") else "validate"
        path = self.served / f"2/{level}/{part}/{name}"
        tfrecord.write(path, records)
        self.plan(part, level)
        return path

    def plan(self, part: str, level: str = "video", **changes: str) -> None:
        files = {path.name: md5(path) for path in (self.served / f"2/{level}/{part}").glob("*")}
        path = self.served / PLAN.format(level=level, part=part)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"files": files | changes}))

    def fetch(self, shard: int = 0, shards: int = 1, level: Any = "video", **settings: Any) -> dict[str, Row]:
        chosen = FAST | settings
        job = FetchRecords(level=level, records=chosen, shard=shard, shards=shards, store=self.store)
        output = self.store / f"{shard}.parquet"
        handler = type("ScriptedSite", (Site,), {"asked": self.asked, "ranges": self.ranges, "faults": self.faults})
        with server.serve(self.served, handler) as base:
            fetch(job, output, base)
        return {row["name"]: row for row in read(output)}


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def video(clip_id: str, label: int = 0) -> Video:
    random = np.random.default_rng(int(clip_id, 36))
    return Video(clip_id, [label, 7], random.normal(size=RGB).astype("f4"), random.normal(size=AUDIO).astype("f4"))


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    yield Publisher(tmp_path)


def outcome(row: Row) -> tuple[str, str | None, int]:
    return row["status"], row["reason"], row["attempts"]


def test_the_plan_is_fetched_and_the_examples_counted(publisher: Publisher) -> None:
    rows = publisher.fetch()
    assert [(row["part"], row["name"], row["examples"]) for row in rows.values()] == [
        ("train", "trainAA.tfrecord", 2),
        ("train", "trainBb.tfrecord", 3),
        ("validate", "validate09.tfrecord", 4),
    ]
    for name, row in rows.items():
        assert outcome(row) == ("ok", None, 1)
        assert row["path"] == f"files/{row['part']}/{name}"
        path = publisher.store / row["path"]
        assert (row["md5"], row["bytes"]) == (md5(path), path.stat().st_size)
        assert row["detail"] is None
        assert row["fetched_at"].startswith("20")


def test_shards_and_takes_divide_the_files(publisher: Publisher) -> None:
    by_shard = [list(publisher.fetch(shard, 2)) for shard in range(2)]
    assert by_shard == [[NAMES[0], NAMES[2]], [NAMES[1]]]
    by_take = [list(publisher.fetch(take=(m, 3))) for m in (1, 2, 3)]
    assert sorted(name for names in by_take for name in names) == sorted(NAMES)
    assert list(publisher.fetch(5, 6)) == []


FAULTS = [
    (["404"], ("unavailable", "not_found", 1)),
    (["always 503"], ("unavailable", "server_error", 4)),
    (["always 429"], ("unavailable", "rate_limited", 4)),
    (["403"], ("unavailable", "forbidden", 1)),
    (["always lies"], ("failed", "unexpected_error", 2)),
    (["503"], ("ok", None, 2)),
    (["lies"], ("ok", None, 2)),
    (["breaks"], ("ok", None, 2)),
    (["breaks", "503", "breaks"], ("ok", None, 4)),
]


@pytest.mark.parametrize(("faults", "expected"), FAULTS)
def test_faults_of_the_network(publisher: Publisher, faults: list[str], expected: tuple[str, str | None, int]) -> None:
    publisher.faults[NAMES[1]] = faults
    publisher.publish(NAMES[1], LONG)
    rows = publisher.fetch()
    assert outcome(rows[NAMES[1]]) == expected
    if expected[0] == "ok":
        assert md5(publisher.store / rows[NAMES[1]]["path"]) == rows[NAMES[1]]["md5"]
    else:
        assert rows[NAMES[1]]["detail"]
        assert "http://" not in rows[NAMES[1]]["detail"]
        assert rows[NAMES[1]]["path"] is None
    assert {outcome(rows[name]) for name in (NAMES[0], NAMES[2])} == {("ok", None, 1)}
    assert bool(publisher.ranges) == ("breaks" in faults), "what broke is continued"


def test_no_server_at_all(publisher: Publisher) -> None:
    publisher.faults["video_train.json"] = ["503"]
    assert len(publisher.fetch()) == 3, "a plan is asked for again too"
    rows = publisher.fetch(file="http://127.0.0.1:9/{part}/{name}", take=(1, 1), level="video")
    assert {row["status"] for row in rows.values()} == {"ok"}, "what is there need not be asked for"
    for path in (publisher.store / "files").rglob("*.tfrecord"):
        path.unlink()
    rows = publisher.fetch(file="http://127.0.0.1:9/{part}/{name}", retries=1, give_up_after=2)
    assert [outcome(row)[:2] for row in rows.values()] == [("unavailable", "network_error")] * 3
    assert [row["attempts"] for row in rows.values()][2] == 1, "not asked after two refusals: as before"
    assert "not asked" in list(rows.values())[2]["detail"]


def test_the_wrong_file_is_not_kept(publisher: Publisher) -> None:
    publisher.plan("train", **{NAMES[0]: "0" * 32})
    row = publisher.fetch()[NAMES[0]]
    assert outcome(row) == ("failed", "unexpected_error", 2)
    assert row["detail"].endswith(f"and the plan says {'0' * 32}")
    assert not list((publisher.store / "files/train").glob("*AA*"))


def test_a_file_that_is_published_damaged(publisher: Publisher) -> None:
    path = publisher.served / f"2/video/train/{NAMES[0]}"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    publisher.plan("train")
    row = publisher.fetch()[NAMES[0]]
    assert outcome(row) == ("failed", "decode_error", 1)
    assert row["detail"].startswith("record 1, at byte ")
    publisher.asked.clear()
    assert publisher.fetch()[NAMES[0]] == row
    assert NAMES[0] not in publisher.asked, "it would be the same"
    path.write_bytes(whole)
    publisher.plan("train")
    assert outcome(publisher.fetch()[NAMES[0]]) == ("ok", None, 1), "the plan has another file now"


def test_a_second_run_asks_only_what_may_have_changed(publisher: Publisher) -> None:
    publisher.faults = {NAMES[0]: ["always 503"], NAMES[1]: ["404"]}
    first = publisher.fetch()
    publisher.asked.clear()
    publisher.faults = {}
    second = publisher.fetch()
    assert {name for name in publisher.asked if name in NAMES} == {NAMES[0]}
    assert outcome(second[NAMES[0]]) == ("ok", None, 5)
    assert [second[name] for name in NAMES[1:]] == [first[name] for name in NAMES[1:]]
    publisher.asked.clear()
    (publisher.store / second[NAMES[0]]["path"]).unlink()
    publisher.fetch()
    assert publisher.asked[NAMES[0]] == 1, "a file that is gone is asked for again"


def test_refusals_fail_the_job_and_the_same_one_goes_on(publisher: Publisher) -> None:
    publisher.faults = {NAMES[0]: ["always 503"], NAMES[1]: ["404"]}
    strict = {"min_share": 1.0, "retries": 0}
    words = r"^1 of 2 record files of train \(server_error 1\) could not .* run the same command again"
    with pytest.raises(UserError, match=words):
        publisher.fetch(**strict)
    assert not (publisher.store / "0.parquet").exists()
    assert len(list(read(publisher.store / "unfinished-0.parquet"))) == 3
    publisher.faults.pop(NAMES[0])
    publisher.asked.clear()
    rows = publisher.fetch(**strict)
    assert [outcome(row)[:2] for row in rows.values()] == [("ok", None), ("unavailable", "not_found"), ("ok", None)]
    assert {name for name in publisher.asked if name in NAMES} == {NAMES[0]}
    assert not (publisher.store / "unfinished-0.parquet").exists()


def test_files_that_are_there_without_a_journal_are_checked_and_kept(publisher: Publisher) -> None:
    publisher.fetch()
    for journal in publisher.store.glob("journal-*"):
        journal.unlink()
    (publisher.store / "files/train" / NAMES[1]).write_bytes(b"something else")
    publisher.asked.clear()
    rows = publisher.fetch()
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert {name for name in publisher.asked if name in NAMES} == {NAMES[1]}
    assert rows[NAMES[0]]["examples"] == 2


def test_a_plan_of_an_earlier_run_serves(publisher: Publisher) -> None:
    publisher.fetch()
    publisher.faults = {"video_train.json": ["always 503"], "video_validate.json": ["404"]}
    assert {row["status"] for row in publisher.fetch().values()} == {"ok"}


@pytest.mark.parametrize("content", ["{", "[]", '{"files": {"../../x": "' + "0" * 32 + '"}}', '{"files": {"a": "b"}}'])
def test_a_bad_plan_is_said(publisher: Publisher, content: str) -> None:
    (publisher.served / PLAN.format(level="video", part="train")).write_text(content)
    with pytest.raises(UserError, match=r"video_train\.json: "):
        publisher.fetch()


def test_no_plan_and_no_level_and_no_folder(publisher: Publisher, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"download plan .*frame_train.json cannot be fetched \(HTTP 404"):
        publisher.fetch(level="frame")
    with pytest.raises(UserError, match="has no level 'frame', only video"):
        publisher.fetch(level="frame", levels={"video": "video"})
    with pytest.raises(UserError, match=r"'2/download_plans/video_train\.json' is no URL; a path is for"):
        FetchRecords(level="video", records=FAST, store=tmp_path / "x").run(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"take": [0, 1]}, r"1 <= m <= n, found \[0, 1\]"),
        ({"take": [3, 2]}, r"1 <= m <= n, found \[3, 2\]"),
        ({"plan": "plans/{level}.json"}, "plan: the placeholders must be {level}, {part}, with {part}"),
        ({"file": "{part}/{name}/{shard}"}, "file: the placeholders must be"),
        ({"file": "{part"}, "file: "),
        ({"levels": {"sound": "s"}}, "levels"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Records.check(FAST | changes, "records")


def test_a_killed_job_goes_on_where_it_was(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher.faults[NAMES[1]] = ["stalls"]
    path = publisher.publish(NAMES[1], LONG)
    handler = type("ScriptedSite", (Site,), {"asked": publisher.asked, "ranges": [], "faults": publisher.faults})
    with server.serve(publisher.served, handler) as base:
        settings = FAST | {"plan": base + PLAN, "file": base + FILE}
        job = FetchRecords(level="video", records=settings, store=publisher.store)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        process = SPAWN.Process(target=job.run, args=(publisher.store / "0.parquet",), daemon=True)
        process.start()
        partial = publisher.store / "files/train" / f".{NAMES[1]}.part"
        deadline = time.monotonic() + 30
        while not (partial.exists() and partial.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
        process.join()
    assert not (publisher.store / "0.parquet").exists()
    publisher.asked.clear()
    publisher.faults = {}
    done = partial.stat().st_size
    assert 0 < done < path.stat().st_size
    rows = publisher.fetch()
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert publisher.asked[NAMES[0]] == 0, "it was in the journal"
    assert publisher.ranges == [f"bytes={done}-"]


def test_the_job_serves_a_folder(publisher: Publisher, caplog: pytest.LogCaptureFixture) -> None:
    settings = {"level": "video", "records": FAST, "shard": 1, "shards": 2, "store": publisher.store}
    with caplog.at_level(logging.INFO):
        FetchRecords(**settings, served=publisher.served).run(publisher.store / "1.parquet")
    assert "1 record files with 3 examples: ok 1" in caplog.text
    assert [row["name"] for row in read(publisher.store / "1.parquet")] == [NAMES[1]]
    with pytest.raises(UserError, match="absent is not there"):
        FetchRecords(**settings, served=publisher.folder / "absent").run(publisher.store / "1.parquet")


def vocabulary(folder: Path, classes: int) -> Path:
    path = folder / "vocabulary.csv"
    path.write_text("Index,Name\n" + "".join(f"{number},class {number}\n" for number in range(classes)))
    return path


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


def frame_shard(folder: Path, records: list[bytes], most: int = 300) -> Path:
    """The shard that the feature stage makes of one frame-level record file."""
    store = folder / "media" / "records-frame"
    tfrecord.write(store / "files" / "train" / "a.tfrecord", records)
    row = {"name": "a.tfrecord", "part": "train", "path": "files/train/a.tfrecord", "md5": "", "status": "ok"}
    lost = {"name": "b.tfrecord", "part": "train", "md5": "", "status": "unavailable", "reason": "not_found"}
    write(store / "0.parquet", [lost, row], SCHEMA)
    write(folder / "manifest.parquet", [], pa.schema([("clip_id", pa.string())]))
    job = ExtractRecords(
        extractor="youtube8m_frames",
        settings=youtube8m_frames.Extractor(max_frames=most),
        source=store / "0.parquet",
        manifest=folder / "manifest.parquet",
        reading=Reader(),
        files={"vocabulary": vocabulary(folder, 8)},
    )
    job.run(folder / "features" / "frames" / "0.parquet")
    return folder / "features" / "frames" / "0.parquet"


def frames(name: str, seconds: int = 200) -> Frames:
    random = np.random.default_rng(len(name))
    return Frames(name, [1], *(random.integers(0, 256, (seconds, size)).astype(np.uint8) for size in (RGB, AUDIO)))


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
