"""What the same command does next about a clip that was not got, for each reason of the vocabulary."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from media_files import write_movie

from workflow_scripts.errors import UserError
from workflow_scripts.media import server
from workflow_scripts.media.fetch import key
from workflow_scripts.media.plan import FetchClips
from workflow_scripts.settings.download import Download
from workflow_scripts.shards import Reason, Row

AGAIN, LOST = "asks again, and fails while it is refused", "leaves it, and goes on without"
NEXT = {
    Reason.PRIVATE: LOST,
    Reason.REMOVED: LOST,
    Reason.TERMINATED: LOST,
    Reason.GEO: LOST,
    Reason.AGE: LOST,
    Reason.LOGIN: LOST,
    Reason.NOT_FOUND: LOST,
    Reason.UNSUPPORTED: LOST,
    Reason.NO_FORMAT: AGAIN,
    Reason.FORBIDDEN: AGAIN,
    Reason.BOT_CHECK: AGAIN,
    Reason.RATE_LIMITED: AGAIN,
    Reason.NETWORK: AGAIN,
    Reason.SERVER: AGAIN,
    Reason.CUT_FAILED: LOST,
    Reason.TOO_SHORT: LOST,
    Reason.TOO_LARGE: LOST,
    Reason.SILENT: LOST,
    Reason.NO_AUDIO: LOST,
    Reason.NO_VIDEO: LOST,
    Reason.DECODE: LOST,
    Reason.CHECKSUM: LOST,
    Reason.CRASHED: LOST,
    Reason.BOUNDS: LOST,
    Reason.MISSING: AGAIN,
    Reason.DAMAGED: AGAIN,
    Reason.NO_LABEL: LOST,
    Reason.UNKNOWN_LABEL: LOST,
    Reason.EMBEDDING_DISABLED: LOST,
    Reason.NO_TEXT: LOST,
    Reason.NOT_ENGLISH: LOST,
    Reason.NO_VECTOR: LOST,
    Reason.LIMIT: LOST,
    Reason.NOT_SAMPLED: LOST,
    Reason.UNEXPECTED: AGAIN,
}
MANIFEST = pa.schema(
    [(name, pa.string()) for name in ("clip_id", "link", "status", "reason", "detail", "split")]
    + [("start", pa.float64()), ("end", pa.float64())]
)
SETTINGS = Download(videos_per_hour=None, retries=0, retry_wait=0, give_up_after=99)


class Site(server.Handler):
    """Counts what is asked for; refuses all while it is `closed`."""

    asked: Counter[str]
    closed: list[bool]

    def answer(self, body: bool) -> None:
        name = self.path.partition("?")[2]
        self.asked[name] += 1
        if self.closed[0]:
            self.send_error(503)
        else:
            self.path = "/good.mp4"
            super().answer(body)


class Run:
    """A shard with one clip for each reason, which stands in the journal; the site has them all by now."""

    def __init__(self, folder: Path, base: str, site: type[Site]) -> None:
        self.site, self.folder = site, folder
        self.rows = [
            {"clip_id": reason, "link": f"{base}?{reason}", "status": "ok", "split": reason} for reason in Reason
        ]
        (folder / "store").mkdir()
        with (folder / "store" / "journal-0.jsonl").open("w") as journal:
            for row in self.rows:
                asked = {"start": None, "end": None, **row}
                told = {"status": "unavailable", "reason": row["clip_id"], "detail": "as before", "attempts": 1}
                entry = {"key": key(asked, SETTINGS), "fetched_at": "2020-01-01", "most": SETTINGS.largest_file, **told}
                journal.write(json.dumps({"clip_id": row["clip_id"], **entry}) + "\n")

    def fetch(self, closed: bool, *reasons: Reason) -> dict[str, Row]:
        """The ledger by clip."""
        self.site.asked.clear()
        self.site.closed[0] = closed
        chosen = [row for row in self.rows if row["clip_id"] in reasons]
        pq.write_table(pa.Table.from_pylist(chosen, schema=MANIFEST), self.folder / "manifest.parquet")
        places = {"manifest": self.folder / "manifest.parquet", "store": self.folder / "store"}
        FetchClips(**places, download=SETTINGS).run(self.folder / "0.parquet")
        return {row["clip_id"]: row for row in pq.read_table(self.folder / "0.parquet").to_pylist()}


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Run]:
    write_movie(tmp_path / "served" / "good.mp4", 1)
    site = type("CountingSite", (Site,), {"asked": Counter(), "closed": [False]})
    with server.serve(tmp_path / "served", site) as base:
        yield Run(tmp_path, base, site)


def test_every_reason_has_its_row() -> None:
    assert set(NEXT) == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_what_the_same_command_does_next(command: Run, reason: Reason) -> None:
    if NEXT[reason] == LOST:
        row = command.fetch(False, reason)[reason]
        assert (row["reason"], row["detail"]) == (reason, "as before")
        assert not command.site.asked
        return
    with pytest.raises(UserError, match=rf"^1 of 1 clips of {reason} \(server_error 1\) .*run the same command again"):
        command.fetch(True, reason)
    assert set(command.site.asked) == {reason}
    assert command.fetch(False, reason)[reason]["status"] == "ok"
    command.site.asked.clear()
    assert command.fetch(False, reason)[reason]["status"] == "ok"
    assert not command.site.asked, "what came is never asked for again"


def test_the_page_tells_the_same() -> None:
    """docs/downloads.md names no reason in the wrong row."""
    page = (Path(__file__).parent.parent / "docs" / "downloads.md").read_text(encoding="utf-8")
    told = {"lost for good": LOST, "refused for now": AGAIN}
    for words, does in told.items():
        (line,) = [line for line in page.splitlines() if words in line and line.startswith("|")]
        named = [reason for reason in Reason if f"`{reason}`" in line]
        assert len(named) > 4
        assert {NEXT[reason] for reason in named} == {does}
