"""Settings of media that one has already (`archive:` of a corpus), and the names of its files."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from workflow_scripts.errors import UserError
from workflow_scripts.settings.base import Strict

# what the rows of every reader can have, by which links and files are named
FIELDS = ("clip_id", "video_id", "split", "label", "start", "end", "start_ms", "end_ms")


class Archive(Strict):
    """Files that one has: a clip whose file is there is taken from it, any other from the corpus's link, if it has one.

    Symbolic links in the folder are followed wherever they lead: who names a folder vouches for it.
    """

    folder: Path | Annotated[list[Path], Field(min_length=1)] | None = Field(
        default=None, description="The folder in which they lie, or several, looked through in this order for each clip"
    )
    packed: list[str] = Field(
        default=[],
        description="In place of a folder: assets that are packed archives (7z, zip, tar); they are fetched and "
        "unpacked once for all scales",
    )
    names: list[str] = Field(
        default=["{video_id}"],
        min_length=1,
        description="Where in the folder a clip's file may be; the first that is there counts. Fields of the reader's "
        "rows in braces, `{video_id}`, `{clip_id}`, `{split}`, `{label}` (the first), `{start}`, `{end}` (seconds; "
        "`{start:06d}` has six digits), `{start_ms}`, `{end_ms}` and the reader's own, such as `{participant}`",
    )
    holds: Literal["sources", "clips"] = Field(
        default="sources",
        description="`sources`: whole videos or recordings, out of which clips are cut; `clips`: what somebody cut "
        "already, which may be shorter than asked",
    )
    checksums: Path | None = Field(
        default=None,
        description="List of checksums, lines of md5sum or sha256sum, or CSV with the checksum before the name; a file "
        "in it that has another one is refused",
    )

    @field_validator("names")
    @classmethod
    def templates(cls, names: list[str]) -> list[str]:
        for name in names:
            if any(not field.isidentifier() for field in placeholders(name)):
                raise ValueError(f"'{name}': fields are names in braces, such as {{video_id}} or {{start:06d}}")
        return names

    @model_validator(mode="after")
    def one_place(self) -> Self:
        if (self.folder is None) == (not self.packed):
            raise ValueError("an archive is either a folder, or several, or packed")
        if len(set(self.folders)) < len(self.folders):
            raise ValueError("every folder may stand once")
        return self

    @property
    def folders(self) -> list[Path]:
        """The folders, in the order in which they are looked through; none if it is packed."""
        return self.folder if isinstance(self.folder, list) else [self.folder] if self.folder else []


def placeholders(template: str) -> Iterator[str]:
    """The names in braces; a template that is none is a `ValueError`."""
    return (name for _, name, _, _ in Formatter().parse(template) if name is not None)


class Seconds(float):
    """A time in a name: a whole one is written without a point, and `06d` gives its whole seconds six digits."""

    def __format__(self, spec: str) -> str:
        whole = spec.endswith("d") or (not spec and self.is_integer())
        return format(int(self), spec) if whole else format(float(self), spec)


def filled(templates: list[str], row: Mapping[str, Any], key: str) -> list[str]:
    """The templates with a reader's row in them; a field that the row has not is a `UserError` that names `key`."""
    fields: dict[str, Any] = {name: value for name, value in row.items() if isinstance(value, str)}
    for name in ("start", "end"):
        if row.get(name) is not None:
            fields |= {name: Seconds(row[name]), f"{name}_ms": round(row[name] * 1000)}
    if row.get("labels"):
        fields["label"] = row["labels"][0]
    try:
        return [template.format_map(fields) for template in templates]
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{key}: {' or '.join(map(repr, templates))} cannot be filled in for the clip '{row['clip_id']}' "
            f"({error}); it has {', '.join(sorted(fields))}"
        ) from None
