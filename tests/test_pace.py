"""How fast downloads ask, and how long they will take."""

import time
from concurrent.futures import ThreadPoolExecutor

from workflow_scripts.media.fetch import estimate
from workflow_scripts.media.pace import Pace
from workflow_scripts.settings.download import Download


def test_asks_are_spaced_evenly_over_all_threads() -> None:
    pace = Pace(3600 / 0.05)

    def turn(_: int) -> float:
        pace.wait()
        return time.monotonic() - began

    with ThreadPoolExecutor(4) as pool:
        began = time.monotonic()
        turns = sorted(pool.map(turn, range(6)))
    assert all(when >= 0.05 * number - 0.005 for number, when in enumerate(turns))


def test_the_estimate_tells_the_hours() -> None:
    assert "about 166.7 h" in estimate(50_000, Download())
