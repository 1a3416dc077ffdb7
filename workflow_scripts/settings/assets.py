"""The catalogue of assets, `assets.yaml`."""

import re
from pathlib import Path, PurePosixPath
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from workflow_scripts.settings.base import Strict, read_yaml

PYPI = re.compile(r"pypi:(?P<name>[A-Za-z0-9._-]+)==(?P<version>[A-Za-z0-9.!+_-]+)#(?P<inside>.+)")


class Asset(Strict):
    """One file that somebody else made: where it is, what it must be, who may use it."""

    location: str = Field(
        description="`https://…`, `pypi:NAME==VERSION#path/inside` (the wheel's own name is all of it), or `file:PATH`"
    )
    sha256: str | None = Field(
        description="Checksum of the file; its first 8 digits or more where the publisher gives no more than those; "
        "null where nobody has published one: the file is then fetched, and refused with its checksum until that is "
        "written here, unless there is an `md5`",
        pattern="^[0-9a-f]{8,64}$",
    )
    md5: str | None = Field(
        default=None,
        description="MD5 of the file, where its publisher gives that and no SHA-256",
        pattern="^[0-9a-f]{32}$",
    )
    bytes: int | None = Field(default=None, ge=0, description="Size of the file")
    licence: str = Field(description="Licence under which the file is given out")
    used_by: list[str] = Field(description="The extractors, corpora or metrics that need it")
    note: str = Field(default="", description="What a user should know of it")

    @field_validator("location")
    @classmethod
    def known_scheme(cls, location: str) -> str:
        if not (location.startswith(("https://", "file:")) or PYPI.fullmatch(location)):
            raise ValueError("a location is https://…, pypi:NAME==VERSION#path/inside, or file:PATH")
        return location

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

    assets: dict[str, Asset]

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls.check({"assets": read_yaml(path)}, path.name)
