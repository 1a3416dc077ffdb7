"""Fetching again: what is asked another time, the journal, manifests, jobs that are ended."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fetch_files
import pyarrow.parquet as pq
import pytest
from fetch_files import FAST, Corpus, state

from workflow_scripts.errors import UserError

movies, corpus = fetch_files.movies, fetch_files.corpus  # fixtures


def test_a_second_run_asks_only_what_may_have_changed(corpus: Corpus) -> None:
    corpus.add("got", "good.mp4", 1, 2)
    corpus.add("gone", "404/good.mp4")
    corpus.add("later", "503/good.mp4")
    corpus.add("short", "good.mp4", 5, 7)
    first = corpus.fetch()
    corpus.asked.clear()
    second = corpus.fetch()
    assert set(corpus.asked) == {"503/good.mp4"}
    assert [second[name] for name in ("got", "gone", "short")] == [first[name] for name in ("got", "gone", "short")]
    assert second["later"] == first["later"], "what was refused again makes no other ledger"
    assert corpus.journal()[-1]["attempts"] == 6


def test_what_changed_is_asked_again(corpus: Corpus) -> None:
    corpus.add("a", "good.mp4", 1, 2)
    corpus.add("b", "one/same.mp4")
    corpus.add("c", "two/same.mp4")
    corpus.add("d", "good.mp4", 5.5, 6.7)
    assert state(corpus.fetch()["d"]) == ("failed", "too_short")
    corpus.asked.clear()
    corpus.rows[0]["end"] = 3
    (corpus.store / "files" / "b.mp4").write_bytes(b"cut off")
    rows = corpus.fetch(tolerance=1)
    assert [state(row)[0] for row in rows.values()] == ["ok"] * 4
    assert rows["a"]["seconds"] == pytest.approx(2, abs=0.03)
    assert set(corpus.asked) == {"good.mp4", "one/same.mp4"}
    corpus.asked.clear()
    corpus.fetch(tolerance=1, format="b")
    assert set(corpus.asked) == {"good.mp4", "one/same.mp4", "two/same.mp4"}


def test_a_torn_journal_is_read_up_to_the_tear(corpus: Corpus) -> None:
    corpus.add("a", "one/same.mp4")
    corpus.add("b", "two/same.mp4")
    corpus.fetch(concurrent=1)
    journal = corpus.store / "journal-0.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    for _ in range(2):  # what is appended after the tear must be readable in turn
        corpus.asked.clear()
        assert corpus.fetch()["b"]["status"] == "ok"
    assert not corpus.asked


def test_other_numbers_of_shards_share_the_journal(corpus: Corpus) -> None:
    names = [f"clip {i}" for i in range(6)]
    for name in names:
        corpus.add(name, "one/same.mp4")
    parts = [corpus.fetch(shard, 2) for shard in (0, 1)]
    assert sorted([*parts[0], *parts[1]]) == names
    corpus.asked.clear()
    assert {row["status"] for row in corpus.fetch().values()} == {"ok"}
    assert not corpus.asked


def test_a_ledger_is_written_anew_when_a_clip_ends_and_only_then(corpus: Corpus) -> None:
    ledger = corpus.folder / "clips" / "0.parquet"
    corpus.add("got", "one/same.mp4")
    corpus.add("later", "503/good.mp4")
    corpus.fetch(retries=0)
    before = ledger.stat()
    corpus.rows[1]["link"] = corpus.base + "429/good.mp4"
    corpus.fetch(retries=0)
    assert (ledger.stat().st_ino, ledger.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    corpus.rows[1]["link"] = corpus.base + "404/good.mp4"
    assert state(corpus.fetch(retries=0)["later"]) == ("unavailable", "not_found")
    assert ledger.stat().st_ino != before.st_ino


@pytest.mark.parametrize(
    ("clip_id", "link", "words"),
    [
        ("a/b", "http://x/y", "file name"),
        ("..", "http://x/y", "file name"),
        ("ü" * 121, "http://x/y", "file name"),
        ("a", "good.mp4", "--serve"),
    ],
)
def test_manifests_that_cannot_be_asked(corpus: Corpus, clip_id: str, link: str, words: str) -> None:
    corpus.add(clip_id, "http://x/y")
    corpus.rows[0]["link"] = link
    with pytest.raises(UserError, match=words):
        corpus.fetch()


def test_ids_must_be_unique(corpus: Corpus) -> None:
    corpus.add("twice", "good.mp4")
    corpus.add("twice", "one/same.mp4")
    with pytest.raises(UserError, match="'twice' stands 2 times"):
        corpus.fetch()


def command(corpus: Corpus, *options: str) -> list[str]:
    module = [sys.executable, "-m", "workflow_scripts.media.fetch", "--manifest", str(corpus.manifest)]
    return [*module, "--store", str(corpus.store), "--output", str(corpus.folder / "out.parquet"), *options]


def test_a_terminated_job_ends_at_once_and_goes_on_where_it_was(corpus: Corpus) -> None:
    for number in range(8):
        corpus.add(f"clip {number}", f"slow/good.mp4?{number}", 1, 2)
        corpus.rows[-1]["link"] = f"{corpus.base}slow/good.mp4?{number}"
    definition = ["--definition", json.dumps({**FAST, "concurrent": 2})]
    journal = corpus.store / "journal-0.jsonl"
    with subprocess.Popen(command(corpus, *definition), stderr=subprocess.DEVNULL) as job:
        deadline = time.monotonic() + 30
        while not journal.exists() or journal.read_text().count("\n") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        job.send_signal(signal.SIGTERM)
        assert job.wait(3) == 128 + signal.SIGTERM
    done = {entry["clip_id"] for entry in map(json.loads, journal.read_text().splitlines())}
    assert 2 <= len(done) < 8
    assert not (corpus.folder / "out.parquet").exists()
    corpus.asked.clear()
    rows = corpus.fetch()
    assert {row["status"] for row in rows.values()} == {"ok"}
    again = {path.partition("?")[2] for path in corpus.asked}
    assert again == {name.removeprefix("clip ") for name in rows} - {name.removeprefix("clip ") for name in done}


def test_refusals_fail_the_job_unless_the_share_is_accepted(corpus: Corpus) -> None:
    corpus.add("got", "one/same.mp4")
    corpus.add("gone", "404/good.mp4")
    corpus.add("left out", "good.mp4", split="test", status="skipped", reason="beyond_limit")
    for number in range(4):
        corpus.add(f"dead {number}", f"http://127.0.0.1:9/{number}.mp4", split="test" if number else "train")
    output, unfinished = corpus.folder / "out.parquet", corpus.folder / "unfinished-out.parquet"

    def job(**settings: Any) -> subprocess.CompletedProcess[str]:
        chosen = FAST | {"concurrent": 1, "retries": 0, "give_up_after": 2, "min_share": 1.0} | settings
        words = command(corpus, "--definition", json.dumps(chosen))
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)

    done = job()
    assert done.returncode == 1
    assert (
        "7 clips: asked now 4, ok 1; left out: beyond_limit 1; lost for good: not_found 1; "
        "to be asked again: network_error 2, not asked after network_error 2"
    ) in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "error: 1 of 3 clips of train (network_error 1) and 3 of 3 clips of test (not asked after network_error 2, "
        "network_error 1) could not be asked for or were refused for now; run the same command again, which asks for "
        "these only, or accept the loss with `download: {min_share: …}` in config.yaml (now 1); what became of each: "
        f"{unfinished}"
    )
    assert not output.exists()
    assert len(pq.read_table(unfinished)) == len(corpus.rows)
    corpus.asked.clear()
    assert "3 of 3 clips of test" in (middle := job(min_share=0.5)).stderr
    assert "of train" not in middle.stderr.splitlines()[-1], "two thirds of the training clips have an end"
    assert job(min_share=0).returncode == 0
    assert not corpus.asked, "what has an end is not asked for again"
    assert (output.exists(), unfinished.exists()) == (True, False)


def test_jobs_take_turns_at_a_site_and_outlive_killed_ones(corpus: Corpus) -> None:
    corpus.add("one", "one/same.mp4")
    definition = json.dumps({**FAST, "videos_per_hour": 1})
    words = command(corpus, "--definition", definition, "--pace", str(corpus.folder / "pace"))
    subprocess.run(words, capture_output=True, check=True, timeout=60)
    (turn,) = (path for path in (corpus.folder / "pace").iterdir() if path.suffix != ".lock")
    assert turn.name == corpus.base.split("/")[2]
    corpus.asked.clear()
    corpus.add("two", "two/same.mp4")
    with subprocess.Popen(command(corpus, *words[-4:]), stderr=subprocess.PIPE, text=True) as waiting:
        assert any("was asked just now, by another job" in line for line in waiting.stderr), "it asked at once"
        assert not corpus.asked
        waiting.kill()
    os.utime(turn, (0, time.time() - 7200))
    subprocess.run(command(corpus, *words[-4:]), check=True, timeout=60)
    assert corpus.asked["two/same.mp4"]
    assert not corpus.asked["one/same.mp4"]


def test_the_command_serves_a_folder(corpus: Corpus, movies: Path) -> None:
    corpus.add("cut", "good.mp4", 1, 2)
    corpus.rows[-1]["link"] = "good.mp4"
    settings = json.dumps({"proxy": "http://127.0.0.1:9"})  # neither this one nor the environment's is used
    words = command(corpus, "--serve", str(movies), "--definition", settings)
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:9"}
    job = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert job.returncode == 0, job.stderr
    assert "1 clips: asked now 1, ok 1" in job.stderr
    assert pq.read_table(corpus.folder / "out.parquet")["status"].to_pylist() == ["ok"]
