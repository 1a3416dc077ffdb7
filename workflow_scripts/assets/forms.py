"""Looks at files that came from elsewhere: whether one is of the kind that the catalogue declares.

What a file begins with and a cheap look inside decide, such as the list of what an archive holds; nothing is unpacked
or unpickled.
"""

import gzip
import json
import re
import tarfile
import zipfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode, urljoin, urlsplit

from workflow_scripts.settings.assets import Kind

HEAD = 512  # bytes in which a page can be told
PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml", b"<error>", b"<!--")
POINTER = b"version https://git-lfs"
XML_ERROR = re.compile(r"<Error>.*?<Code>(.*?)</Code>(?:.*?<Message>(.*?)</Message>)?", re.DOTALL)
ERROR_KEYS = {"code", "detail", "documentation_url", "error", "errors", "message", "request_id", "status", "type"}
LARGEST_ERROR = 4096  # bytes
TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save before version 1.6: a number, pickled
TABLE = 0xDB4775248B80FB57.to_bytes(8, "little")  # the end of the tables of TensorFlow's checkpoints

STARTS: dict[Kind, tuple[bytes, ...]] = {
    "7z": (b"7z\xbc\xaf'\x1c",),
    "gguf": (b"GGUF",),
    "gz": (b"\x1f\x8b",),
    "hdf5": (b"\x89HDF\r\n\x1a\n",),
    "mp3": (b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2"),
    "npy": (b"\x93NUMPY",),
    "npz": (b"PK\x03\x04",),
    "ogg": (b"OggS",),
    "torch": (b"PK\x03\x04", TORCH),
    "ttf": (b"\x00\x01\x00\x00", b"OTTO", b"true"),
    "wav": (b"RIFF",),
    "zip": (b"PK\x03\x04",),
}
PAGE = (
    "answers with a web page instead of the file: open it in a browser, save the file that it offers, and write "
    "file:PATH as its location in assets.yaml"
)


AN_ERROR = "answers with an error instead of the file ({}); if it is there for a browser, use file:PATH in assets.yaml"
LFS = (
    "gives a Git LFS pointer instead of the file, {} bytes that name the object: fetch that, with `git lfs pull` or "
    "from the address at which the repository offers the file for download"
)


class UnfitError(Exception):
    """A file is not what was declared; says what it is instead."""


def is_page(head: bytes) -> bool:
    """Whether a file that begins so is a web page, or the XML with which a store of files tells of an error."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(PAGES)


def error_says(body: bytes) -> str:
    """What an answer says that is a store's error, in XML (S3) or JSON (Zenodo, the HF hub); otherwise empty."""
    if found := XML_ERROR.search(body[:LARGEST_ERROR].decode(errors="replace")):
        return ": ".join(filter(None, found.groups()))[:300]
    try:
        error = json.loads(body) if len(body) <= LARGEST_ERROR and body.lstrip().startswith(b"{") else None
    except (ValueError, RecursionError):
        return ""
    if not isinstance(error, dict) or not {"error", "message"} & error.keys() or not error.keys() <= ERROR_KEYS:
        return ""
    said = error.get("error") or error.get("message")
    return str(said.get("message", said) if isinstance(said, dict) else said)[:300]


def page_says(page: bytes) -> str:
    """What is wrong with a file that begins as a page does."""
    return AN_ERROR.format(said) if (said := error_says(page)) else PAGE


def check(path: Path, kind: Kind) -> None:
    """Raises `UnfitError` when a file is a web page, an error or a pointer, or not of its kind."""
    with path.open("rb") as file:
        head = file.read(LARGEST_ERROR + 1)
    if is_page(head):
        raise UnfitError(page_says(head))
    if said := error_says(head):
        raise UnfitError(AN_ERROR.format(said))
    if head.startswith(POINTER):
        raise UnfitError(LFS.format(path.stat().st_size))
    try:
        if not head.startswith(STARTS.get(kind, (b"",))):
            raise ValueError(f"it begins with {head[:16]!r}")
        LOOKS.get(kind, lambda _: None)(path)
    except Exception as error:  # noqa: BLE001 - readers of broken files raise anything
        raise UnfitError(f"gives no whole file of the kind {kind} ({error})") from None


def look_at_zip(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def look_at_npz(path: Path) -> None:
    if others := [name for name in look_at_zip(path) if not name.endswith(".npy")]:
        raise ValueError(f"it holds {others[0]}")


def look_at_torch(path: Path) -> None:
    with path.open("rb") as file:
        packed = file.read(2) == b"PK"
    if packed and not any(name.rpartition("/")[2] == "data.pkl" for name in look_at_zip(path)):
        raise ValueError("it is an archive without data.pkl")


def look_at_7z(path: Path) -> None:
    import py7zr

    with py7zr.SevenZipFile(path):
        pass


def look_at_tar(path: Path) -> None:
    with tarfile.open(path) as archive:
        archive.next()


def look_at_gz(path: Path) -> None:
    with gzip.open(path) as file:
        file.read(HEAD)


def look_at_safetensors(path: Path) -> None:
    from safetensors import safe_open

    with safe_open(path, framework="numpy"):
        pass


def look_at_npy(path: Path) -> None:
    import numpy as np

    np.load(path, mmap_mode="r", allow_pickle=False)


def look_at_sound(path: Path) -> None:
    import av  # soundfile asks the file's name as well, and a file on its way has no ending that tells

    with av.open(str(path)) as file:
        next(file.decode(audio=0))


def look_at_index(path: Path) -> None:
    if not path.read_bytes().endswith(TABLE):
        raise ValueError("it does not end as an index does")


def look_at_json(path: Path) -> None:
    try:
        json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def look_at_text(path: Path, encoding: str = "utf-8-sig") -> None:
    with path.open(encoding=encoding) as file:
        first = file.readline()
        if not first.strip():
            raise ValueError("its first line is empty")
        if "\0" in first or any("\0" in line for line in file):
            raise ValueError("it is no text")


def look_at_csv(path: Path, encoding: str = "utf-8-sig") -> None:
    look_at_text(path, encoding)
    with path.open(encoding=encoding) as file:
        if (start := file.read(1)) in "{[<":
            raise ValueError(f"it begins with {start}")


LOOKS: dict[Kind, Callable[[Path], object]] = {
    "7z": look_at_7z,
    "csv": look_at_csv,
    "csv_latin1": lambda path: look_at_csv(path, "iso-8859-1"),
    "gz": look_at_gz,
    "json": look_at_json,
    "mp3": look_at_sound,
    "npy": look_at_npy,
    "npz": look_at_npz,
    "ogg": look_at_sound,
    "safetensors": look_at_safetensors,
    "tar": look_at_tar,
    "tensorflow_index": look_at_index,
    "text": look_at_text,
    "torch": look_at_torch,
    "wav": look_at_sound,
    "zip": look_at_zip,
}


class Form(HTMLParser):
    """The form by which Google Drive asks whether a file too large for its virus scanner is wanted all the same."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action, self.values, self.inside = "", dict[str, str](), False
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attributes}
        if tag == "form":
            self.inside = found.get("id") == "download-form"
            self.action = found.get("action", "") if self.inside else self.action
        elif tag == "input" and self.inside and "name" in found:
            self.values[found["name"]] = found.get("value", "")


def confirmation(page: bytes, url: str) -> str | None:
    """The link behind Google Drive's question, asked by the page at `url`; None: no such question, or another host."""
    form = Form(page.decode(errors="replace"))
    link = urljoin(url, form.action)
    if not form.action or urlsplit(link)[:2] != urlsplit(url)[:2]:
        return None
    return f"{link}?{urlencode(form.values)}"
