"""How fast downloads ask, and how long they will take."""

import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from workflow_scripts.media import pace as module
from workflow_scripts.media.fetch import estimate
from workflow_scripts.media.pace import Pace, host, share
from workflow_scripts.settings.download import Download

SPAWN = multiprocessing.get_context("spawn")


def test_asks_are_spaced_evenly_over_all_threads(tmp_path: Path) -> None:
    pace = Pace(3600 / 0.05, tmp_path, "a.site")

    def turn(_: int) -> float:
        pace.wait()
        return time.monotonic() - began

    with ThreadPoolExecutor(4) as pool:
        began = time.monotonic()
        turns = sorted(pool.map(turn, range(6)))
    assert all(when >= 0.05 * number - 0.005 for number, when in enumerate(turns))


def test_the_estimate_tells_the_hours() -> None:
    assert "about 166.7 h" in estimate(50_000, Download())
    assert "about 333.3 h" in estimate(50_000, Download(machines=2))


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1e9
        monkeypatch.setattr(module.time, "time", lambda: self.now)
        monkeypatch.setattr(module.time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_jobs_share_the_pace_of_a_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    here, there, elsewhere = (Pace(300, tmp_path, site) for site in ("a.site", "a.site", "b.site"))
    turns = []
    for pace in (here, there, here, there, elsewhere):
        pace.wait()
        turns.append(clock.now - 1e9)
    assert turns == pytest.approx([0, 12, 24, 36, 36], abs=1e-3)
    Pace(None, tmp_path / "none", "a.site").wait()
    assert not (tmp_path / "none").exists()


def test_a_clock_that_is_set_back_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    pace = Pace(300, tmp_path, "a.site")
    pace.wait()
    clock.now -= 86_400
    before = clock.now
    pace.wait()
    assert clock.now == before


def take_turns(folder: Path, turns: int) -> None:
    pace = Pace(3600 / 0.2, folder, "a.site")
    for _ in range(turns):
        pace.wait()


def die_with_the_turn(folder: Path) -> None:
    with Pace(3600, folder, "a.site")._lock:
        os._exit(9)


def test_asks_are_spaced_over_all_processes_and_a_killed_one_holds_up_nobody(tmp_path: Path) -> None:
    dead = SPAWN.Process(target=die_with_the_turn, args=(tmp_path,))
    dead.start()
    dead.join()
    processes = [SPAWN.Process(target=take_turns, args=(tmp_path, 4)) for _ in range(3)]
    began = time.time()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert (tmp_path / "a.site").stat().st_mtime - began >= 11 * 0.2


def test_a_site_is_known_by_its_host() -> None:
    assert host("https://www.youtube.com/watch?v=a") == host("http://me:secret@YouTube.com/b") == "youtube.com"
    assert host("http://127.0.0.1:80/c") == "127.0.0.1:80"


def test_machines_divide_the_pace() -> None:
    assert share(300, Download(machines=2)) == 150
    assert share(None, Download(machines=2)) is None
