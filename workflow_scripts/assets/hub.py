"""Fetches a language model of the Hugging Face hub: its configuration, its tokenizer and its weights as safetensors.

Pickled weights and Python code are left where they are. The files that an interrupted run has got are kept by the next.
"""

import json
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from workflow_scripts.assets.fetch import digest
from workflow_scripts.assets.plan import FetchModel
from workflow_scripts.errors import UserError
from workflow_scripts.shards import atomic

FILES = ("*.json", "*.safetensors", "merges.txt", "vocab.txt", "tokenizer.model", "chat_template.jinja")


def fetch(model: str, revision: str, folder: Path) -> dict[str, Any]:
    """Brings the files of a model, `owner/name`, to `folder`; gives its name, its commit and the sizes of the files.

    Raises `UserError`, naming the model, when it cannot be had, has no safetensors or did not come whole.
    """
    import httpx2
    from huggingface_hub import HfApi, snapshot_download

    name = f"the language model {model}@{revision}"
    try:
        # Asked first: without an answer `snapshot_download` is content with whatever a folder holds.
        info = HfApi().model_info(model, revision=revision, files_metadata=True)
        files = {file.rfilename: file for file in info.siblings or [] if wanted(file.rfilename)}
        if "config.json" not in files or not any(file.endswith(".safetensors") for file in files):
            raise UserError(f"{name} has no config.json, or no weights as safetensors, on the hub: choose another one")
        for partial in (folder / ".cache").rglob("*.incomplete"):  # of a killed run; the client cannot continue them
            partial.unlink()
        snapshot_download(model, revision=info.sha, local_dir=folder, allow_patterns=list(files))
    except (OSError, ValueError, httpx2.HTTPError) as error:
        raise UserError(
            f"{name} cannot be fetched from the hub, run again to go on: {' '.join(str(error).split())}"
        ) from None
    for file, listed in files.items():
        path = folder / file
        whole = path.exists() and path.stat().st_size == listed.size
        if not whole or (listed.lfs and digest(path, "sha256") != listed.lfs.sha256):
            path.unlink(missing_ok=True)
            raise UserError(f"{name}: {path} is not what the hub holds; run again to fetch it anew")
    return {"model": model, "revision": info.sha, "files": {file: files[file].size for file in sorted(files)}}


def wanted(file: str) -> bool:
    """Whether a file of a repository is fetched; those in folders are of other programs."""
    return "/" not in file and any(fnmatch(file, pattern) for pattern in FILES)


def fetch_model(job: FetchModel, output: Path) -> None:
    """Brings a model to the folder of `output`, where its name, commit and files are then written, as JSON."""
    found = fetch(job.model, job.revision, output.parent)
    with atomic(output) as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
