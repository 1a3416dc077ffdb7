"""Settings of a corpus that is published as record files of precomputed features."""

from string import Formatter
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from workflow_scripts.settings.base import MANNER, Strict
from workflow_scripts.settings.download import Persistence

Level = Literal["video", "frame"]
PartName = Literal["train", "validate"]  # the parts whose labels are published
PLACEHOLDERS = {"plan": {"level", "part"}, "file": {"mirror", "level", "part", "name"}, "folder": {"level", "part"}}
NEEDED = {"plan": {"part"}, "file": {"part", "name"}, "folder": set[str]()}


class Part(Strict):
    """How large a part of the data set is."""

    files: int = Field(ge=1, description="Record files")
    examples: int = Field(ge=1, description="Records in all of them")

    @model_validator(mode="after")
    def filled(self) -> Self:
        if self.examples < self.files:
            raise ValueError(f"{self.files} files cannot hold {self.examples} examples: one each at least")
        return self


class Records(Persistence):
    """Where the record files of a corpus are, and which of them are taken (`records:` in corpora.yaml)."""

    folder: str | None = Field(
        None,
        description="A folder of record files that one has, as Google's download.py leaves them "
        "(train0000.tfrecord, validate0000.tfrecord, …), of `{level}` and perhaps `{part}`. Beside plan and file: "
        "those of the plan that are whole are taken from there, others are fetched; without: nothing is fetched",
    )
    plan: str | None = Field(
        None,
        description="URL of a part's download plan, JSON with the MD5 of each file, of `{level}` and `{part}`; a path, "
        "no URL, if the corpus is composed",
    )
    file: str | None = Field(
        None, description="URL, or path, of a record file, of `{mirror}`, `{level}`, `{part}` and `{name}`"
    )
    mirror: Annotated[str, MANNER] = Field(
        "us", description="`{mirror}` of the files: the nearest one", pattern=r"^[a-z0-9-]+$"
    )
    take: tuple[int, int] = Field(
        (1, 1), description="`[m, n]`: the m-th of n equal parts of the files; [1, 100] takes about 1 %"
    )
    levels: dict[Level, str] = Field(
        {"video": "video", "frame": "frame"}, min_length=1, description="`{level}` of means and of frames, if published"
    )
    sizes: dict[PartName, Part] = Field(
        {},
        description="Files and records of each part, as published, by which a `limit` plans the files that it needs; "
        "of a part that is not here it takes all. Another number of files in the plan or the folder is told, and a "
        "file in a folder without a plan that has less than half the usual records is refused",
    )

    @model_validator(mode="after")
    def checked(self) -> Self:
        if (self.plan is None) != (self.file is None) or self.folder is self.plan is None:
            raise ValueError("records are a folder, or a plan and a file, or all three")
        for key, allowed in PLACEHOLDERS.items():
            if getattr(self, key) is None:
                continue
            try:
                found = {name for _, name, _, _ in Formatter().parse(getattr(self, key)) if name is not None}
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from None
            if not NEEDED[key] <= found <= allowed:
                raise ValueError(f"{key}: the placeholders must be {wanted(allowed)}, with {wanted(NEEDED[key])} in it")
        m, n = self.take
        if not 1 <= m <= n:
            raise ValueError(f"take: [m, n] must be 1 <= m <= n, found [{m}, {n}]")
        return self

    def size(self, part: str) -> Part | None:
        """What is published of a part; None: nothing is said."""
        return next((size for name, size in self.sizes.items() if name == part), None)


def wanted(names: set[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names))
