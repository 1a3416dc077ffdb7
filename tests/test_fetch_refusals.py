"""Clips that cannot be fetched: why, and how often they are asked for."""

from pathlib import Path

import fetch_files
import pytest
from fetch_files import Corpus, state

from workflow_scripts.media import fetch
from workflow_scripts.media.probe import measure
from workflow_scripts.settings.media import Bounds
from workflow_scripts.shards import Reason

movies, corpus = fetch_files.movies, fetch_files.corpus  # fixtures


DEAD = [
    ("404/good.mp4", "unavailable", Reason.NOT_FOUND, 1),
    ("410/good.mp4", "unavailable", Reason.NOT_FOUND, 1),
    ("403/good.mp4", "unavailable", Reason.FORBIDDEN, 3),
    ("429/good.mp4", "unavailable", Reason.RATE_LIMITED, 3),
    ("503/good.mp4", "unavailable", Reason.SERVER, 3),
    ("http://127.0.0.1:9/good.mp4", "unavailable", Reason.NETWORK, 3),
    ("absent.mp4", "unavailable", Reason.NOT_FOUND, 1),
    ("random.mp4", "failed", Reason.DECODE, 1),
    ("truncated.mp4", "failed", Reason.DECODE, 1),
    ("scrambled.mp4", "failed", Reason.DECODE, 1),
    ("mute.mp4", "failed", Reason.NO_AUDIO, 1),
    ("blind.mp4", "failed", Reason.NO_VIDEO, 1),
]


def test_every_dead_link_says_why(corpus: Corpus) -> None:
    for number, (link, *_) in enumerate(DEAD):
        corpus.add(f"{number} {link.split('/')[0]}", link)
    rows = corpus.fetch(shards=1)
    found = [(link, *state(row), row["attempts"]) for (link, *_), row in zip(DEAD, rows.values(), strict=True)]
    assert found == [(link, status, str(reason), attempts) for link, status, reason, attempts in DEAD]
    for row in rows.values():
        assert row["detail"]
        assert "http://" not in row["detail"]
        assert "caused by" not in row["detail"]
        assert row["path"] is None
    assert not list((corpus.store / "files").iterdir())
    assert not list(corpus.store.glob("partial*"))


SCRIPTED = [
    ("private", "unavailable", Reason.PRIVATE),
    ("removed", "unavailable", Reason.REMOVED),
    ("terminated", "unavailable", Reason.TERMINATED),
    ("age", "unavailable", Reason.AGE),
    ("login", "unavailable", Reason.LOGIN),
    ("bot", "unavailable", Reason.BOT_CHECK),
    ("limited", "unavailable", Reason.RATE_LIMITED),
    ("geo", "unavailable", Reason.GEO),
    ("list", "unavailable", Reason.UNSUPPORTED),
    ("drm", "unavailable", Reason.NO_FORMAT),
    ("deaf", "unavailable", Reason.NO_FORMAT),
    ("bug", "failed", Reason.UNEXPECTED),
]


def test_a_site_that_refuses_says_why(corpus: Corpus) -> None:
    for case, *_ in SCRIPTED:
        corpus.add(case, f"scripted/{case}", 1, 2)
    rows = corpus.fetch(format="bv", retries=0)
    assert [(name, *state(row)) for name, row in rows.items()] == SCRIPTED
    assert not corpus.asked, "nothing was downloaded"


def test_a_transient_failure_is_asked_again_within_the_run(corpus: Corpus) -> None:
    corpus.add("flaky", "flaky/good.mp4", 1, 2)
    row = corpus.fetch()["flaky"]
    assert (*state(row), row["attempts"]) == ("ok", None, 2)


def test_a_server_that_stalls_is_given_up(corpus: Corpus) -> None:
    corpus.add("cut", "stall/good.mp4", 1, 2)
    corpus.add("whole", "stall/good.mp4")
    rows = corpus.fetch(timeout=0.5, retries=0)
    assert [state(row) for row in rows.values()] == [("unavailable", "network_error")] * 2


def test_asking_stops_when_everything_is_refused(corpus: Corpus) -> None:
    for number in range(8):
        corpus.add(f"clip {number}", f"429/{number}.mp4")
    rows = corpus.fetch(give_up_after=3, concurrent=1, retries=0)
    assert {state(row) for row in rows.values()} == {("unavailable", "rate_limited")}
    assert [row["attempts"] for row in rows.values()] == [1, 1, 1, 0, 0, 0, 0, 0]
    assert [row["fetched_at"] is None for row in rows.values()] == [False] * 3 + [True] * 5
    assert rows["clip 7"]["detail"].startswith("not asked")
    corpus.rows[3]["link"] = corpus.base + "one/same.mp4"  # the site has forgiven
    assert corpus.fetch(give_up_after=3, concurrent=1, retries=0)["clip 3"]["status"] == "ok"


def test_a_refusal_now_and_then_does_not_stop_the_asking(corpus: Corpus) -> None:
    for number in range(3):
        corpus.add(f"refused {number}", f"429/{number}.mp4")
        corpus.add(f"gone {number}", f"404/{number}.mp4")
    rows = corpus.fetch(give_up_after=2, concurrent=1, retries=0)
    assert {row["attempts"] for row in rows.values()} == {1}


def test_the_same_refusals_never_hide_the_other_clips(corpus: Corpus) -> None:
    for number in range(3):
        corpus.add(f"dead {number}", f"http://127.0.0.1:9/{number}.mp4")
    corpus.add("good", "one/same.mp4")
    once = {"give_up_after": 3, "concurrent": 1, "retries": 0}
    assert corpus.fetch(**once)["good"]["detail"].startswith("not asked")
    assert corpus.fetch(**once)["good"]["status"] == "ok"


def test_a_format_that_is_held_back_is_asked_for_again_but_not_at_once(corpus: Corpus) -> None:
    corpus.add("deaf", "scripted/deaf")
    for attempts in (1, 2):
        assert state(corpus.fetch(format="bv")["deaf"]) == ("unavailable", "no_matching_format")
        assert corpus.journal()[-1]["attempts"] == attempts


def measure_oddly(path: Path, bounds: Bounds) -> dict[str, float]:
    """`measure`, which fails at the clip of two seconds."""
    seconds = measure(path, bounds)
    return {"audio": 3, "video": 3 // (round(seconds["video"]) - 2)}


def test_an_error_that_nobody_expects_is_a_row(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus.add("odd", "one/same.mp4")
    corpus.add("good", "two/same.mp4")
    monkeypatch.setattr(fetch, "measure", measure_oddly)
    rows = corpus.fetch(retries=0)
    assert state(rows["odd"]) == ("failed", "unexpected_error")
    assert rows["odd"]["detail"].startswith("ZeroDivisionError")


def test_rows_that_are_not_ok_keep_their_reason(corpus: Corpus) -> None:
    corpus.add("left out", "good.mp4", status="skipped", reason="beyond_limit", detail="limit: 3")
    corpus.add("got", "one/same.mp4")
    row = corpus.fetch()["left out"]
    assert (*state(row), row["detail"]) == ("skipped", "beyond_limit", "limit: 3")
    assert not corpus.asked["good.mp4"]
