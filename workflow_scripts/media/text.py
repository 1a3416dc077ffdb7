"""Titles and keywords of the videos of one shard of record files, and what became of each video: the ledger of texts.

What a network answered stands in a journal for each record file, below the store: a killed job asks nothing twice,
other numbers of shards find it again, and memory holds one shard's videos.
"""

import hashlib
import itertools
import logging
from collections.abc import Callable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.errors import UserError
from workflow_scripts.media.fetch import stoppable
from workflow_scripts.media.journal import Entry, Journal
from workflow_scripts.media.ledger import close, ended, tally
from workflow_scripts.media.pace import Breaker, Gate, Pace, asking, host, share
from workflow_scripts.media.plan import FetchText
from workflow_scripts.media.stored import alone
from workflow_scripts.media.text_release import Release
from workflow_scripts.media.text_sources import DataApi, ExhaustedError, Ids, Pages, Source
from workflow_scripts.parquet import read_parquet
from workflow_scripts.progress import progress
from workflow_scripts.settings.text import Text
from workflow_scripts.shards import STATE, ClipError, Reason, Row, Status, read

log = logging.getLogger(__name__)

SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("split", pa.string()),  # of the manifest, as are the labels
        pa.field("labels", pa.list_(pa.string())),
        pa.field("video_id", pa.string()),  # on YouTube
        pa.field("title", pa.string()),
        pa.field("keywords", pa.list_(pa.string())),
        pa.field("title_reason", pa.string()),  # why there is none
        pa.field("keywords_reason", pa.string()),
        *STATE,
    ]
)
LAST_ASKS = 10.0  # seconds in which asks under way are waited for when the job is ended
OK = {"status": str(Status.OK), "reason": None, "detail": None}
ABSENT = {"status": str(Status.UNAVAILABLE), "reason": str(Reason.NO_TEXT), "detail": "neither title nor keywords"}


class Asker:
    """Asks one source, evenly spaced and patiently, and writes every answer into a journal."""

    def __init__(
        self,
        make: Callable[[], Source],
        pace: Pace,
        definition: str,
        settings: Text,
        gate: Gate,
        needed: Set[str],
    ) -> None:
        self._gate = gate
        self._make, self._pace, self._definition, self._settings = make, pace, definition, settings
        self._needed = needed  # of an answer
        self._source: Source | None = None
        self._breaker = Breaker(settings.give_up_after)

    def answers(self, names: dict[str, str], folder: Path, description: str) -> dict[str, Entry]:
        """The answers about clips (clip id: the name to ask for), from the journal in `folder` where they stand."""
        folder.mkdir(parents=True, exist_ok=True)
        journal = Journal(folder, 0, self._needed)
        entries = {clip: entry for clip in names if (entry := journal.latest(clip))}
        found = {clip: entry for clip, entry in entries.items() if self._settled(entry, names[clip])}
        clips = [clip for clip in names if clip not in found]
        if not clips:
            return found
        self._source = self._source or self._make()
        groups = [clips[start : start + self._source.batch] for start in range(0, len(clips), self._source.batch)]
        if self._pace.an_hour:
            log.info("%s: %d asks, at most %g an hour", description, len(groups), self._pace.an_hour)
        with ThreadPoolExecutor(self._settings.concurrent) as pool:
            futures = [pool.submit(self._ask, self._source, {c: names[c] for c in group}, journal) for group in groups]
            try:
                for future in progress(as_completed(futures), description, total=len(futures), unit="ask"):
                    found |= {entry["clip_id"]: entry for entry in future.result()}
            finally:
                pool.shutdown(cancel_futures=True)
        return found

    def _ask(self, source: Source, names: dict[str, str], journal: Journal) -> list[Entry]:
        """The journal entries of one ask, again after transient failures."""
        entries: list[Entry] = []

        def again(error: ClipError) -> bool:
            return error.reason.transient and not isinstance(error, ExhaustedError)

        try:
            self._breaker.check()
        except ClipError as error:  # not asked, so nothing to write down
            return [self._entry(clip, name, error) for clip, name in names.items()]
        try:
            for attempt in asking(self._settings, self._pace, again):
                with attempt, self._gate:  # what was answered stands in the journal, even if the job is ended now
                    entries = self._noted(names, self._answers(source, names), journal)
            self._breaker.note(None)
        except ClipError as error:
            for_long = isinstance(error, ExhaustedError) or error.pause > self._settings.longest_pause
            self._breaker.note(error.reason, for_long)
            entries = self._noted(names, [error] * len(names), journal)
        return entries

    def _answers(self, source: Source, names: dict[str, str]) -> list[Row | ClipError]:
        """The answers of one ask; raises `ClipError` where it may pass."""
        try:
            return source.ask(list(names.values()))
        except ClipError as error:
            if error.reason.transient:
                raise
            return [error] * len(names)

    def _noted(self, names: dict[str, str], answers: list[Row | ClipError], journal: Journal) -> list[Entry]:
        """The journal entries of answers, once they stand there."""
        entries = [self._entry(*item, answer) for item, answer in zip(names.items(), answers, strict=True)]
        for entry in entries:
            journal.add(entry)
        return entries

    def _entry(self, clip: str, name: str, answer: Row | ClipError) -> Entry:
        entry = {"clip_id": clip, "key": self._key(name), "fetched_at": datetime.now(UTC).isoformat()}
        if isinstance(answer, ClipError):
            return {**entry, "status": answer.status, "reason": answer.reason, "detail": answer.detail}
        return {**entry, **OK, **answer}

    def _key(self, name: str) -> str:
        """A hash of what was asked; another one makes the journal's entry void."""
        return hashlib.blake2b(f"{self._definition} {name}".encode(), digest_size=8).hexdigest()

    def _settled(self, entry: Entry, name: str) -> bool:
        return entry["key"] == self._key(name) and ended(entry)


def rows_of(manifest: Path, records: Path) -> list[Row]:
    """The manifest rows whose record file is in a ledger, in the manifest's order."""
    links = [f"{row['part']}/{row['name']}" for row in read(records, ["part", "name"])]
    columns = ["clip_id", "split", "labels", "link", "status", "reason", "detail"]
    return read_parquet(manifest, columns, pc.field("link").isin(pa.array(links, pa.string()))).to_pylist()


def video_ids(rows: list[Row], settings: Text, store: Path, turns: Path, gate: Gate) -> dict[str, Entry]:
    """The YouTube id of each clip, or why there is none."""
    if settings.ids is None:
        return {row["clip_id"]: {**OK, "video_id": row["clip_id"]} for row in rows}
    pace = Pace(share(settings.ids_per_hour, settings), turns, host(settings.ids))
    asker = Asker(lambda: Ids(settings), pace, settings.ids, settings, gate, {"video_id"})
    found: dict[str, Entry] = {}
    for link, clips in by_file(rows):
        found |= asker.answers({clip: clip for clip in clips}, store / "journals" / link / "ids", f"ids of {link}")
    return found


def of_release(ids: dict[str, str], release: Release) -> dict[str, Entry]:
    """The texts that were given out."""
    return {
        clip: {
            **OK,
            "title": release.titles.get(name),
            "keywords": release.keywords.get(name),
            "title_reason": None if name in release.titles else Reason.NOT_FOUND,
            "keywords_reason": None if name in release.keywords else Reason.NOT_FOUND,
        }
        for clip, name in ids.items()
    }


def asked(rows: list[Row], ids: dict[str, str], job: FetchText, gate: Gate) -> dict[str, Entry]:
    """The texts that a network tells."""
    settings, store = job.text, job.store

    def make() -> Source:
        return DataApi(settings) if settings.source == "data_api" else Pages(settings, store / "cache")

    place = settings.api if settings.source == "data_api" else settings.link
    pace = Pace(share(settings.asks_per_hour, settings), job.turns, host(place))
    definition = f"{settings.source} {place} {settings.embeddable_only}"
    asker = Asker(make, pace, definition, settings, gate, {"title", "keywords"})
    found: dict[str, Entry] = {}
    for link, clips in by_file(rows):
        folder = store / "journals" / link / "texts"
        found |= asker.answers({clip: ids[clip] for clip in clips}, folder, f"texts of {link}")
    return found


def by_file(rows: list[Row]) -> Iterator[tuple[str, list[str]]]:
    """Record files and their clips."""
    for link, group in itertools.groupby(rows, key=lambda row: row["link"]):
        yield link, [row["clip_id"] for row in group]


def ledger_row(row: Row, identity: Entry | None, text: Entry | None) -> Row:
    """A clip's row: the state is that of the last step that it reached."""
    last = text or identity or row
    made = {name: last[name] for name in ("status", "reason", "detail")}
    made |= {name: row[name] for name in ("clip_id", "split", "labels")}
    made["video_id"] = (identity or {}).get("video_id")
    for name in ("title", "keywords"):
        made[name] = (text or {}).get(name) or None
        why = made["reason"] or (text or {}).get(f"{name}_reason") or Reason.NO_TEXT
        made[f"{name}_reason"] = None if made[name] else str(why)
    if made["status"] == Status.OK and not (made["title"] or made["keywords"]):
        made |= ABSENT
    return made


def summary(rows: list[Row]) -> str:
    """What became of a shard, in one line."""
    titles, keywords = (sum(row[name] is not None for row in rows) for name in ("title", "keywords"))
    return f"{len(rows)} videos: with title {titles}, with keywords {keywords}{tally(rows)}"


def fetch_text(job: FetchText, output: Path) -> None:
    """Finds title and keywords of the videos of one shard of record files; every video becomes a row."""
    for role, path in job.files.items():
        if not path.is_file():
            raise UserError(f"the file '{role}' of the released texts: there is no '{path}'")
    gate = Gate()
    with stoppable(lambda: gate.close(LAST_ASKS)), alone(job.store, job.shard):
        rows = rows_of(job.manifest, job.records)
        usable = [row for row in rows if row["status"] == Status.OK]
        ids = video_ids(usable, job.text, job.store, job.turns, gate)
        known = {clip: entry["video_id"] for clip, entry in ids.items() if entry["status"] == Status.OK}
        if job.text.source == "release":
            found = of_release(known, Release(job.files, set(known.values())))
        else:
            found = asked([row for row in usable if row["clip_id"] in known], known, job, gate)
    made = [ledger_row(row, ids.get(row["clip_id"]), found.get(row["clip_id"])) for row in rows]
    log.info(summary(made))
    close(output, made, SCHEMA, job.text.min_share, "videos", lambda row: row["split"], rows_a_group=1024)
