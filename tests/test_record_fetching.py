"""Downloads of record files by their plan from a loopback server with scripted faults, and files that one has."""

import logging
import multiprocessing
import time
from pathlib import Path
from typing import Any

import pytest
from record_files import FAST, FILE, NAMES, PLAN, Publisher, Site, md5

from workflow_scripts.errors import UserError
from workflow_scripts.media import server
from workflow_scripts.media.plan import FetchRecords
from workflow_scripts.settings.records import Records
from workflow_scripts.shards import Row, read

SPAWN = multiprocessing.get_context("spawn")
LONG = [bytes([number]) * 4096 for number in range(100)]  # records of a file that comes in several pieces


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path)


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
