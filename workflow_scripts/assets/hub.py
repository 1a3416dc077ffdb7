"""Fetches a language model of the Hugging Face hub: its configuration, its tokenizer and its weights as safetensors.

Pickled weights and Python code are left where they are. What an interrupted run has got is kept by the next, parts of
files too; the hub's own client sets no bound to time and size, so it only tells addresses and the user's token.
"""

import hashlib
import json
import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import requests

from workflow_scripts.assets.fetch import digest, download, drop, persistent
from workflow_scripts.assets.forms import UnfitError
from workflow_scripts.assets.plan import FetchModel
from workflow_scripts.errors import UserError
from workflow_scripts.settings.download import Patience
from workflow_scripts.shards import atomic
from workflow_scripts.transfer import Session, json_of

FILES = ("*.json", "*.safetensors", "merges.txt", "vocab.txt", "tokenizer.model", "chat_template.jinja")
ATTEMPTS, WAIT = 5, 2.0


def fetch(model: str, revision: str, folder: Path, patience: Patience) -> dict[str, Any]:
    """Brings the files of a model, `owner/name`, to `folder`; gives its name, its commit and the sizes of the files.

    Raises `UserError`, naming the model, when it cannot be had, has no safetensors or did not come whole.
    """
    from huggingface_hub import get_token
    from huggingface_hub.constants import ENDPOINT

    name = f"the language model {model}@{revision}"
    session = Session()
    if token := get_token():
        session.headers["Authorization"] = f"Bearer {token}"  # left out where another host is redirected to
    try:
        info = listing(f"{ENDPOINT}/api/models/{model}/revision/{revision}", session, patience)
        files = {file["rfilename"]: file for file in info["siblings"] if wanted(file["rfilename"])}
        if "config.json" not in files or not any(file.endswith(".safetensors") for file in files):
            raise UserError(f"{name} has no config.json, or no weights as safetensors, on the hub: choose another one")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder / ".cache", ignore_errors=True)  # of the hub's client, with parts of a killed run
        for file, listed in sorted(files.items(), key=lambda item: item[1]["size"]):  # the weights at last
            if not same(folder / file, listed):
                link = f"{ENDPOINT}/{model}/resolve/{info['sha']}/{file}"
                bring(link, folder / file, listed, session, patience)
    except (OSError, requests.RequestException, UnfitError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{name} cannot be fetched from the hub, run again to go on: {' '.join(str(error).split())}"
        ) from None
    for file, listed in files.items():
        if not same(folder / file, listed):
            (folder / file).unlink()
            raise UserError(f"{name}: {folder / file} is not what the hub holds; run again to fetch it anew")
    return {"model": model, "revision": info["sha"], "files": {file: files[file]["size"] for file in sorted(files)}}


def listing(link: str, session: Session, patience: Patience) -> dict[str, Any]:
    """What the hub tells of a model: its commit, `sha`, and its files, `siblings`."""
    for attempt in persistent(ATTEMPTS, WAIT, patience):
        with attempt:
            answer = session.page(link, patience, {"blobs": "true"})
            answer.raise_for_status()
    found: dict[str, Any] = json_of(answer)
    return found


def bring(link: str, path: Path, listed: dict[str, Any], session: Session, patience: Patience) -> None:
    """Brings a file of which the hub tells the size; what was begun is continued."""
    partial = path.with_name(f".{path.name}.part")
    retry = persistent(ATTEMPTS, WAIT, patience)
    try:
        retry(download, link, partial, path.name, patience, listed["size"], verified=True, session=session)
    except UnfitError:
        drop(partial)
        raise
    partial.replace(path)
    drop(partial)


def same(path: Path, listed: dict[str, Any]) -> bool:
    """Whether a file is there as the hub tells it: by its size, and its SHA-256 or Git's SHA-1."""
    if not path.exists() or path.stat().st_size != listed["size"]:
        return False
    if listed.get("lfs"):
        return digest(path, "sha256") == str(listed["lfs"]["sha256"])
    content = path.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return blob.hexdigest() == listed["blobId"]


def wanted(file: str) -> bool:
    """Whether a file of a repository is fetched; those in folders are of other programs."""
    return "/" not in file and any(fnmatch(file, pattern) for pattern in FILES)


def fetch_model(job: FetchModel, output: Path) -> None:
    """Brings a model to the folder of `output`, where its name, commit and files are then written, as JSON."""
    found = fetch(job.model, job.revision, output.parent, job.patience)
    with atomic(output) as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
