"""Downloads the record files of one shard by the published plan, and writes down what became of each: the ledger."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import requests
from tenacity import Retrying

from workflow_scripts.assets.fetch import download, drop, persistent
from workflow_scripts.assets.forms import UnfitError
from workflow_scripts.errors import UserError
from workflow_scripts.files import parse_json
from workflow_scripts.formats import tfrecord
from workflow_scripts.formats.youtube8m import SPLITS, plan_files, taken
from workflow_scripts.media.journal import Entry, Journal
from workflow_scripts.media.ledger import close, ended, tally
from workflow_scripts.media.pace import Breaker
from workflow_scripts.media.plan import FetchRecords
from workflow_scripts.media.server import is_url, serving, url
from workflow_scripts.media.stored import alone, checksum, intact, stamp
from workflow_scripts.progress import progress
from workflow_scripts.settings.records import Level, Records
from workflow_scripts.shards import STATE, ClipError, Reason, Status, atomic, draw, move
from workflow_scripts.transfer import Session, asked_pause, failure

log = logging.getLogger(__name__)

SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
        pa.field("path", pa.string()),  # relative to the store
        pa.field("origin", pa.string()),  # the link, or the file that one has
        pa.field("md5", pa.string()),  # as the plan says; null: a file that one had, of no plan
        pa.field("bytes", pa.int64()),
        pa.field("examples", pa.int64()),
        pa.field("attempts", pa.int32()),  # over all runs
        pa.field("fetched_at", pa.string()),  # ISO 8601, UTC; when the file was last asked for
        *STATE,
    ]
)
SHORT = 0.5  # of the records of a usual file: what has fewer ended early, between two records


class File(NamedTuple):
    """A record file of the plan, or of a folder."""

    part: str
    name: str
    md5: str | None
    stamp: str = ""  # of a file that one has: what tells it from a changed one

    @property
    def key(self) -> str:
        """What the file must be for a journal entry to hold."""
        return " ".join(filter(None, (self.md5, self.stamp)))

    @property
    def path(self) -> str:
        """Its place in the store."""
        return f"files/{self.part}/{self.name}"


class Source:
    """Where plans and files come from: the publisher, or a served folder, whose URL is `base`.

    What one has in `records.folder`, and is what the plan promises, is taken from there.
    """

    def __init__(self, settings: Records, level: Level, base: str | None) -> None:
        self._settings, self._base = settings, base
        self._folder = Folder(settings, level)
        self._words = {"level": settings.levels[level], "mirror": settings.mirror}
        self._session = Session()
        self.breaker = Breaker(settings.give_up_after)

    def place(self, template: str | None, **words: str) -> str:
        """A filled template: a URL, or a path in the served folder."""
        return (template or "").format(**self._words, **words)

    def link(self, template: str | None, **words: str) -> str:
        path = self.place(template, **words)
        if is_url(path):
            return path
        if self._base is None:
            raise UserError(
                f"records: '{path}' is no URL; a path is for a composed corpus, records.folder for own files"
            )
        return url(self._base, path)

    def retrying(self) -> Retrying:
        return persistent(self._settings.retries + 1, self._settings.retry_wait, self._settings)

    def plan(self, part: str, store: Path) -> list[File]:
        """The files of a part that `take` leaves, by name; the plan of an earlier run serves when there is no answer.

        Raises `UserError` when there is no plan, or it is none.
        """
        link, kept = self.link(self._settings.plan, part=part), store / f"plan-{part}.json"
        try:
            for attempt in self.retrying():
                with attempt:
                    answer = self._session.page(link, self._settings)
                    answer.raise_for_status()
                    content = answer.content
        except requests.RequestException as error:
            if not kept.exists():
                raise UserError(f"the download plan {link} cannot be fetched ({failure(error).detail})") from None
            log.warning("%s: %s; the plan of an earlier run is used", link, failure(error).detail)
            content = kept.read_bytes()
        try:
            whole = parse_json(content, "the download plan")
            files = plan_files(whole, *self._settings.take)
        except UserError as error:
            raise UserError(f"{link}: {error}") from None
        check_size(self._settings, part, len(whole["files"]), link)
        if not kept.exists() or kept.read_bytes() != content:
            with atomic(kept) as temporary:
                temporary.write_bytes(content)
        return [File(part, name, md5, self._folder.stamp(part, name)) for name, md5 in files.items()]

    def fetch(self, file: File, store: Path) -> Entry:
        """Asks for a file, again after transient failures and once after a wrong checksum; gives its journal entry.

        An entry without `fetched_at` was not asked for.
        """
        target = store / file.path
        entry: Entry = {"clip_id": file.path, "key": file.key, "attempts": 0, "most": self._settings.largest_file}
        entry["origin"] = self.place(self._settings.file, part=file.part, name=file.name)
        try:
            if not target.exists():
                if not self._folder.link(file, target):
                    self.breaker.check()
                    self._download(file, target, entry)
            elif checksum(target, "md5") != file.md5:  # of an older plan
                target.unlink()
                return self.fetch(file, store)
            if target.is_symlink():
                entry["origin"] = str(target.readlink())
            entry |= {"bytes": target.stat().st_size, "examples": count(target), "path": file.path}
            entry |= {"stamp": stamp(target), "status": Status.OK, "reason": None, "detail": None}
        except ClipError as error:
            entry |= {"status": error.status, "reason": error.reason, "detail": error.detail}
        answered = entry["attempts"] or entry["status"] == Status.OK
        return {**entry, "fetched_at": datetime.now(UTC).isoformat()} if answered else entry

    def _download(self, file: File, target: Path, entry: Entry) -> None:
        """Brings a file with the right checksum to `target`, or raises `ClipError`."""
        link = self.link(self._settings.file, part=file.part, name=file.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.part")  # kept when a download breaks: the next ask continues it

        def ask() -> str:
            entry["attempts"] += 1
            most = self._settings.largest_file
            download(link, partial, file.name, self._settings, most, verified=True, session=self._session)
            return checksum(partial, "md5")

        try:
            found = self.retrying()(ask)
            if found != file.md5:  # what was continued may have been another file's beginning
                drop(partial)
                found = self.retrying()(ask)
        except requests.RequestException as error:
            found_out = failure(error)
            self.breaker.note(found_out.reason, for_long=asked_pause(error) > self._settings.longest_pause)
            if not found_out.reason.transient:
                drop(partial)
            raise found_out from None
        except UnfitError:
            drop(partial)
            raise ClipError(Status.UNAVAILABLE, Reason.SERVER, "a web page came instead of the file") from None
        except OSError as error:
            raise UserError(f"{partial}: cannot be written ({error.strerror})") from None
        self.breaker.note(None)
        if found != file.md5:
            drop(partial)
            raise ClipError(Status.FAILED, Reason.UNEXPECTED, f"its MD5 is {found}, and the plan says {file.md5}")
        move(partial, target)
        drop(partial)


class Folder:
    """Record files that one has, if any: found by their names, read where they lie, linked to from the store."""

    def __init__(self, settings: Records, level: Level) -> None:
        if level not in settings.levels:
            raise UserError(f"records: this corpus has no level '{level}', only {', '.join(settings.levels)}")
        self._settings, self._level = settings, settings.levels[level]

    def place(self, part: str) -> Path:
        return Path((self._settings.folder or "").format(level=self._level, part=part))

    def plan(self, part: str, _store: Path) -> list[File]:
        """The files of a part that are to be taken, by name; none at all is a `UserError`."""
        there = {path.name: path for path in self.place(part).glob(f"{part}*.tfrecord") if path.is_file()}
        if not there:
            raise UserError(
                f"records.folder: no file such as {part}0000.tfrecord in {self.place(part)}; put them there as "
                "download.py leaves them, or name another folder"
            )
        check_size(self._settings, part, len(there), str(self.place(part)))
        return [File(part, name, None, self.stamp(part, name)) for name in taken(there, *self._settings.take)]

    def stamp(self, part: str, name: str) -> str:
        """What tells a file from a changed one; empty if it is not there."""
        if self._settings.folder is None or not (path := self.place(part) / name).is_file():
            return ""
        stat = path.stat()
        return f"{stat.st_size} {stat.st_mtime_ns}"

    def link(self, file: File, target: Path) -> bool:
        """Whether a file of a plan is there and whole, and `target` now links to it; one that is not whole is told."""
        if not file.stamp:
            return False
        path = (self.place(file.part) / file.name).resolve()
        try:
            tfrecord.count(path)  # soon tells what ends early
            if (found := checksum(path, "md5")) != file.md5:
                raise UserError(f"its MD5 is {found}, and the plan says {file.md5}")
        except (UserError, OSError) as error:
            log.warning("%s: it is not used, and fetched: %s", path, str(error).removeprefix(f"{path}: "))
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # a link to what is no longer there
        target.symlink_to(path)
        return True

    def fetch(self, file: File, store: Path) -> Entry:
        """The journal entry of a file; one that is damaged stays where it is, and is told."""
        path, link = (self.place(file.part) / file.name).resolve(), store / file.path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        entry: Entry = {"clip_id": file.path, "key": file.key, "attempts": 0, "origin": str(path)}
        entry["fetched_at"] = datetime.now(UTC).isoformat()
        try:
            examples = sum(1 for _ in tfrecord.read(path))
            if (size := self._settings.size(file.part)) and examples < SHORT * size.examples / size.files:
                usual = round(size.examples / size.files)
                raise UserError(f"it has {examples} records, and files of {file.part} about {usual}; it ends early")
        except (UserError, OSError) as error:
            told = str(error).removeprefix(f"{path}: ")
            return {**entry, "status": Status.FAILED, "reason": Reason.DECODE, "detail": told}
        link.symlink_to(path)
        entry |= {"bytes": path.stat().st_size, "examples": examples, "path": file.path, "stamp": stamp(path)}
        return {**entry, "status": Status.OK, "reason": None, "detail": None}


def check_size(settings: Records, part: str, files: int, where: str) -> None:
    """Tells if a part has another number of files than `records.sizes` says, by which limits are planned."""
    if (size := settings.size(part)) and size.files != files:
        log.warning("%s: %d files of %s, and records.sizes says %d", where, files, part, size.files)


def count(path: Path) -> int:
    """The records of a file; one that is damaged although it is what the plan promises is a `ClipError`, and goes."""
    try:
        return sum(1 for _ in tfrecord.read(path))
    except UserError as error:
        path.unlink()
        raise ClipError(Status.FAILED, Reason.DECODE, str(error).removeprefix(f"{path}: ")) from None


def sampled(files: list[File], job: FetchRecords) -> list[File]:
    """Of the files of a part those in the sample, whose names decide: so many as the fraction and the limit need."""
    drawn = sorted(files, key=lambda file: draw(file.name, job.sample.seed))
    kept = drawn[: job.sample.share(len(files))]
    return sorted(kept[: job.most.get(kept[0].part)] if kept else [], key=lambda file: file.name)


def settled(entry: Entry, file: File, store: Path, settings: Records, journal: Journal) -> bool:
    """Whether a journal entry still answers for a file, so that it need not be asked for again."""
    if entry["key"] != file.key:
        return False
    if entry["reason"] == Reason.TOO_LARGE:  # the bound may have changed since
        return bool(settings.largest_file <= entry["most"])
    if entry["status"] == Status.OK:
        return intact(entry, store / file.path, file.md5 or "", journal, "md5")
    return ended(entry)


def fetch_records(job: FetchRecords, output: Path) -> None:
    """Downloads the record files of one shard; every file becomes a row with what became of it."""
    with serving(job.served) as base, alone(job.store, job.shard):
        fetch(job, output, base)


def fetch(job: FetchRecords, output: Path, base: str | None = None) -> None:
    """Downloads what is missing of a shard and writes its ledger; `base` is the URL of the served folder, if any.

    A shard has every `shards`-th of the files in the sample, in the order of part and name.
    """
    store = job.store
    source = Source(job.records, job.level, base) if job.records.plan else Folder(job.records, job.level)
    store.mkdir(parents=True, exist_ok=True)
    files = [file for part in SPLITS for file in sampled(source.plan(part, store), job)][job.shard :: job.shards]
    journal = Journal(store, job.shard, {"bytes", "examples"})

    def outcomes() -> Iterator[Entry]:
        for file in progress(files, "record files", len(files), "file"):
            before = journal.latest(file.path)
            if before is None or not settled(before, file, store, job.records, journal):
                entry = source.fetch(file, store)
                entry["attempts"] += before.get("attempts", 0) if before and before["key"] == file.key else 0
                if "fetched_at" in entry:
                    journal.add(entry)
            else:
                entry = before
            yield {**file._asdict(), **{field.name: entry[field.name] for field in SCHEMA if field.name in entry}}

    rows = list(outcomes())
    examples = sum(row.get("examples") or 0 for row in rows)
    got = sum(row["status"] == Status.OK for row in rows)
    log.info("%d record files with %d examples: ok %d%s", len(rows), examples, got, tally(rows))
    close(output, rows, SCHEMA, job.records.min_share, "record files", lambda row: row["part"])
