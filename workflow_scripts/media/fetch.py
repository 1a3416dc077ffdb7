"""Downloads the clips of one shard of a manifest, and writes down what became of each: the ledger."""

import contextlib
import hashlib
import logging
import math
import os
import shutil
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import pyarrow as pa
import typer

from workflow_scripts.errors import UserError, run
from workflow_scripts.media.journal import Entry, Journal
from workflow_scripts.media.ledger import close, ended, tally
from workflow_scripts.media.local import from_archive
from workflow_scripts.media.pace import Breaker, Pace, asking, host, share
from workflow_scripts.media.plan import FetchClips
from workflow_scripts.media.probe import check_length, measure, shortest
from workflow_scripts.media.server import is_url, serving, url
from workflow_scripts.media.stored import alone, checksum, intact, stamp
from workflow_scripts.media.workers import Workers
from workflow_scripts.media.ydl import BROKEN_OFF, EXACT, Downloader, most_bytes, said
from workflow_scripts.parquet import parquet_schema
from workflow_scripts.progress import progress
from workflow_scripts.settings.archive import Archive
from workflow_scripts.settings.base import from_argument
from workflow_scripts.settings.download import Download
from workflow_scripts.shards import STATE, ClipError, Reason, Row, Status, move, read, shard_of

log = logging.getLogger(__name__)

SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("path", pa.string()),  # relative to the store
        pa.field(
            "origin", pa.string()
        ),  # the link, or the file's path in the archive, with its folder if there are several
        pa.field("seconds", pa.float64()),  # decoded, the shortest wanted stream's
        pa.field("bytes", pa.int64()),
        pa.field("sha256", pa.string()),
        pa.field("attempts", pa.int32()),  # over all runs
        pa.field("fetched_at", pa.string()),  # ISO 8601, UTC; when the clip was last asked for
        *STATE,
    ]
)
NEEDED = ["clip_id", "split", "link", "start", "end", "status", "reason", "detail"]
OPTIONAL = ["files", "may_end_early"]
# When a connection breaks, ffmpeg cuts what it has got and calls it well: these count once a second ask confirms them.
DOUBTFUL = {Reason.TOO_SHORT, Reason.CUT_FAILED}
LONGEST_NAME = 240  # bytes; file systems take 255, suffix included
LATER = {Reason.NO_FORMAT}  # what may pass, but not within a run


class Fetcher:
    """Asks for clips and keeps those that are what was asked for; threads may share it."""

    def __init__(self, job: FetchClips, settings: Download, partial: Path, base: str | None, workers: Workers) -> None:
        self._settings, self._store, self._partial, self._base = settings, job.store, partial, base
        self._measure = lambda file: workers.call(measure, file, job.bounds)
        self._an_hour = None if base else share(settings.videos_per_hour, settings)
        self._paces, self._pace_folder = dict[str, Pace](), job.turns
        self._breaker = Breaker(settings.give_up_after)
        self._thread = threading.local()
        self._seconds: dict[str, float] = {}  # of the clips that were measured

    def fetch(self, row: Row) -> Entry:
        """Asks for a clip, again after transient failures; gives its journal entry (0 attempts: it was not asked)."""
        entry: Entry = {"clip_id": row["clip_id"], "key": key(row, self._settings), "attempts": 0}
        entry["most"] = most_bytes(row["start"], row["end"], self._settings)
        link = row["link"] if is_url(row["link"]) else url(self._base or "", row["link"])
        source = host(link)
        pace = self._paces.setdefault(source, Pace(self._an_hour, self._pace_folder, source))
        try:
            self._breaker.check()
            for attempt in asking(self._settings, pace, lambda error: may_pass(error, entry)):
                with attempt:
                    self._attempt(row, link, entry)
            self._breaker.note(None)
            entry |= {"status": Status.OK, "reason": None, "detail": None}
        except ClipError as error:
            self._breaker.note(error.reason, for_long=error.pause > self._settings.longest_pause)
            entry |= {"status": error.status, "reason": error.reason, "detail": error.detail}
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # a file that no library expects
            self._breaker.note(Reason.UNEXPECTED)
            log.warning("%s: an error not known yet", row["clip_id"], exc_info=error)
            detail = f"{type(error).__name__}: {error}"
            entry |= {"status": Status.FAILED, "reason": Reason.UNEXPECTED, "detail": detail}
        return {**entry, "fetched_at": datetime.now(UTC).isoformat()}

    def _attempt(self, row: Row, link: str, entry: Entry) -> None:
        """Asks once; fills in the entry. Raises `ClipError`."""
        entry["attempts"] += 1
        entry.pop("seconds", None)
        if not hasattr(self._thread, "downloader"):
            self._thread.downloader = Downloader(self._settings, self._store / "cache")
        with tempfile.TemporaryDirectory(dir=self._partial) as folder:
            extractor = None if is_url(row["link"]) else "Generic"  # a served file is a direct link
            file = self._thread.downloader.download(link, row["start"], row["end"], Path(folder), extractor)
            try:
                self._check(file, row, entry)
            except ClipError as error:
                if BROKEN_OFF.search(said(Path(folder))):  # ffmpeg cuts what it has got, and calls it well
                    told = f"the connection broke during the cut: {error.detail}"
                    raise ClipError(Status.UNAVAILABLE, Reason.NETWORK, told) from None
                raise
            entry["path"] = f"files/{row['clip_id']}{file.suffix}"
            entry |= {"sha256": checksum(file), "bytes": file.stat().st_size, "stamp": stamp(file)}
            move(file, self._store / entry["path"])

    def _check(self, file: Path, row: Row, entry: Entry) -> None:
        """Fills in the seconds of a file; raises `ClipError` for one that is not what was asked."""
        entry["seconds"] = shortest(self._measure(file), self._settings)
        before = self._seconds.get(row["clip_id"], math.inf)
        self._seconds[row["clip_id"]] = entry["seconds"]
        confirmed = abs(entry["seconds"] - before) <= self._settings.tolerance
        check_length(entry["seconds"], row, self._settings, confirmed)


def may_pass(error: ClipError, entry: Entry) -> bool:
    """Whether a failure is worth a second ask in the same run."""
    if error.reason in DOUBTFUL:
        return bool(entry["attempts"] == 1)
    return error.reason.transient and error.reason not in LATER


def key(row: Row, settings: Download) -> str:
    """A hash of what decides the content of a clip's file; another one makes the journal's entry void."""
    chosen = (settings.format, settings.streams, settings.force_keyframes_at_cuts)
    defined = (row["link"], row["start"], row["end"], *chosen)
    if settings.force_keyframes_at_cuts and (row["start"] or row["end"] is not None):
        defined = (*defined, *EXACT)
    return hashlib.blake2b(repr(defined).encode(), digest_size=8).hexdigest()


def settled(entry: Entry, row: Row, settings: Download, store: Path, journal: Journal) -> bool:
    """Whether a journal entry still answers a manifest row, so that its clip need not be asked for again."""
    if entry["status"] == Status.OK:
        answers = intact(entry, store / entry["path"], entry["sha256"], journal)
    else:
        answers = ended(entry)
    if not answers or entry["key"] != key(row, settings):
        return False
    if entry["reason"] == Reason.TOO_LARGE:  # the bound may have changed since
        return bool(most_bytes(row["start"], row["end"], settings) <= entry["most"])
    if entry.get("seconds") is None:
        return True
    try:  # the tolerance may have changed since
        check_length(entry["seconds"], row, settings, confirmed=True)
    except ClipError as error:
        return bool(entry["reason"] == error.reason)
    return entry["reason"] not in {Reason.TOO_SHORT, Reason.CUT_FAILED}


def rows_of(manifest: Path, shard: int, shards: int, linked: bool) -> list[Row]:
    """The shard's manifest rows, in order; what the downloads could trip over is a `UserError`.

    If `linked`, clips come from links alone, which must be URLs.
    """
    known = [name for name in OPTIONAL if name in parquet_schema(manifest).names]
    rows = [row for row in read(manifest, NEEDED + known) if shard_of(row["clip_id"], shards) == shard]
    for name, count in Counter(row["clip_id"] for row in rows).items():
        if count > 1:
            raise UserError(f"{manifest}: the clip '{name}' stands {count} times; ids must be unique")
        if "/" in name or name.startswith(".") or len(name.encode()) > LONGEST_NAME:
            raise UserError(f"{manifest}: the clip id '{name}' cannot be a file name")
    for row in rows:
        if row["status"] == Status.OK and linked and not is_url(row["link"]):
            raise UserError(
                f"{manifest}: clip '{row['clip_id']}': '{row['link']}' is no URL; a path needs --serve FOLDER"
            )
    return rows


def estimate(clips: int, settings: Download) -> str:
    """How long the pacing alone makes a job of so many clips."""
    an_hour = share(settings.videos_per_hour, settings)
    if an_hour is None:
        return f"{clips} clips to ask for, without pacing"
    return (
        f"{clips} clips to ask for at {an_hour:g} an hour: about {clips / an_hour:.1f} h, more while other jobs ask "
        "the same site"
    )


def fetch_clips(job: FetchClips, output: Path) -> None:
    """Downloads the clips of a shard; every clip becomes a row with what became of it."""
    with stoppable(), serving(job.served) as base, alone(job.store, job.shard), Workers(job.threads) as decoders:
        fetch(job, output, decoders, base)


def fetch(job: FetchClips, output: Path, workers: Workers, base: str | None = None) -> None:
    """Downloads what is missing of a shard and writes its rows; `base` is the URL of the served folder, if any.

    What was asked for longest ago comes first, so that refusals that stop a run never hide the same clips.
    """
    store, settings = job.store, job.download
    if base is not None:  # loopback is not behind any proxy
        settings = settings.model_copy(update={"proxy": None})
    rows = rows_of(job.manifest, job.shard, job.shards, linked=base is None and job.archive is None)
    partial = store / f"partial-{job.shard}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (store / "files").mkdir(exist_ok=True)
    journal = Journal(store, job.shard, {"path", "bytes"})
    fetcher = Fetcher(job, settings, partial, base, workers)

    def ask(row: Row) -> Entry:
        entry, before = fetcher.fetch(row), journal.latest(row["clip_id"])
        if entry["attempts"]:
            entry["attempts"] += before.get("attempts", 0) if before and before["key"] == entry["key"] else 0
            journal.add(entry)
            return entry
        return {**entry, "fetched_at": None}

    wanted = [row for row in rows if row["status"] == Status.OK]
    results = {} if job.archive is None else from_archive(job, job.archive, wanted, partial, journal, workers)
    looked_up = len(results)
    to_ask = []
    for row in rows:
        known = journal.latest(row["clip_id"])
        if row["clip_id"] in results:
            continue
        if row["status"] != Status.OK:
            results[row["clip_id"]] = row
        elif known is not None and settled(known, row, settings, store, journal):
            results[row["clip_id"]] = known
        else:
            to_ask.append(row)
    to_ask.sort(key=lambda row: (journal.latest(row["clip_id"]) or {}).get("fetched_at", ""))
    if to_ask and base is None:
        log.info(estimate(len(to_ask), settings))
    with ThreadPoolExecutor(settings.concurrent) as pool:
        futures = [pool.submit(ask, row) for row in to_ask]
        try:
            for future in progress(as_completed(futures), "downloads", total=len(futures)):
                results[future.result()["clip_id"]] = future.result()
        finally:
            pool.shutdown(cancel_futures=True)
    shutil.rmtree(partial)
    ledger = [{"origin": row["link"] or None, **results[row["clip_id"]]} for row in rows]
    answered = sum(results[row["clip_id"]]["fetched_at"] is not None for row in to_ask)
    got = sum(row["status"] == Status.OK for row in ledger)
    log.info("%d clips: asked now %d, ok %d%s", len(ledger), looked_up + answered, got, tally(ledger))
    splits = {row["clip_id"]: row.get("split") for row in rows}
    close(output, ledger, SCHEMA, settings.min_share, "clips", lambda row: splits[row["clip_id"]])


@contextlib.contextmanager
def stoppable(first: Callable[[], None] | None = None) -> Iterator[None]:
    """Inside, a signal ends the job: finished clips stand in the journal, the others are asked for again.

    It ends at once, or when `first` has returned.
    """

    def stop(signum: int, _frame: object) -> None:
        """Ends the process and its children."""
        import psutil

        if first is not None:
            first()
        for child in psutil.Process().children(recursive=True):
            child.kill()
        os._exit(128 + signum)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(
    manifest: Annotated[Path, typer.Option(help="the corpus's manifest.parquet")],
    store: Annotated[Path, typer.Option(help="folder of the files, the journal and yt-dlp's cache; kept between runs")],
    output: Annotated[Path, typer.Option(help="the shard to write")],
    shard: Annotated[int, typer.Option(help="number of this shard, from 0")] = 0,
    shards: Annotated[int, typer.Option(help="number of shards")] = 1,
    definition: Annotated[str, typer.Option(help="settings of the downloads, JSON or @file.json")] = "{}",
    pace: Annotated[Path | None, typer.Option(help="folder in which jobs take turns; by default in the store")] = None,
    folder: Annotated[Path | None, typer.Option("--serve", help="own folder in which links that are paths lie")] = None,
    holds: Annotated[
        Literal["sources", "clips"], typer.Option(help="what lies there: whole, or cut already")
    ] = "sources",
) -> None:
    """Downloads the clips of one shard of a manifest; every clip becomes a row with what became of it."""
    download = Download.check(from_argument(definition), "--definition")
    if folder is not None and not folder.is_dir():
        raise UserError(f"--serve: {folder} is not a folder")
    archive = None if folder is None else Archive(folder=folder, holds=holds)
    own = {"archive": archive, "folder": folder}
    part = {"shard": shard, "shards": shards}
    fetch_clips(FetchClips(manifest=manifest, download=download, store=store, pace=pace, **own, **part), output)


if __name__ == "__main__":
    run(lambda: typer.run(main))
