"""The catalogue of corpora, `corpora.yaml`."""

from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from workflow_scripts.settings.archive import Archive, placeholders
from workflow_scripts.settings.base import MANNER, Name, Strict, read_yaml
from workflow_scripts.settings.records import Records
from workflow_scripts.settings.text import Text


class Corpus(Strict):
    """One corpus: how its annotation files are read and where its clips are."""

    title: str = Field(description="What it is, for people")
    licence: str = Field(description="Licence of the annotations; the media belong to their makers")
    homepage: str | None = Field(default=None, description="Where it comes from")
    reader: str = Field(description="File in `workflow_scripts/corpora/readers` that understands the annotations")
    reading: dict[str, Any] = Field(default={}, description="Settings of the reader")
    annotations: dict[str, str] = Field(
        default={}, description="Asset of each annotation file, by the reader's name for it; of composed corpora: none"
    )
    link: str | None = Field(
        default=None,
        description="Link of a clip's source, with `{video_id}`; a path, no URL, if the corpus is composed; null: the "
        "archive, or the corpus's own files, hold the data",
    )
    records: Records | None = Field(
        default=None, description="Record files that hold precomputed features and labels: where they are downloaded"
    )
    text: Text | None = Field(default=None, description="Where the texts that people wrote about a clip come from")
    download: dict[str, Any] = Field(
        default={}, description="What differs from the `download` of config.yaml, such as `streams: [audio]`"
    )
    archive: Archive | None = Field(
        default=None, description="Media that one has already, beside the link or in its place"
    )
    composer: str | None = Field(
        default=None, description="File in `composed/composers` that makes the corpus; null: it exists"
    )
    composition: dict[str, Any] = Field(default={}, description="Settings of the composer")
    caveat: Annotated[str | None, MANNER] = Field(
        default=None, description="What every number from a composed corpus must be read with; stands beside each table"
    )
    fraction: float = Field(
        default=1, gt=0, le=1, description="Share of the corpus that is taken, times the `fraction` of config.yaml"
    )
    clip_seconds: float = Field(gt=0, le=86_400, description="Length of a clip; shorter ones are padded with silence")
    shards: int = Field(
        ge=1, le=10_000, description="Into how many jobs each stage is divided; fewer if not all is taken"
    )

    @model_validator(mode="after")
    def consistent(self) -> Self:
        if self.annotations and self.composer is not None:
            raise ValueError("a corpus has either annotations (assets) or a composer")
        if self.records is not None and self.link is not None:
            raise ValueError("link: a corpus of records has no links of its own, write null")
        if self.records is not None and self.archive is not None:
            raise ValueError("archive: a corpus of records has none; records.folder names files that one has")
        if self.text is not None and self.records is None:
            raise ValueError("text: goes with records")
        if self.composer is not None and self.archive is not None:
            raise ValueError("archive: a composed corpus has its own media")
        if self.link is not None and bool(urlsplit(self.link).scheme) == (self.composer is not None):
            raise ValueError(
                "link: expected a URL, or a path such as {video_id}.mp4 of a composed corpus; where the files lie that "
                "one has says archive.names"
            )
        if self.link is not None and (odd := [name for name in placeholders(self.link) if not name.isidentifier()]):
            raise ValueError(f"link: '{{{odd[0]}}}' is no field; fields are names in braces, such as {{video_id}}")
        if self.link is not None and not any(placeholders(self.link)):
            raise ValueError("link: all clips would have the same one; write in it what differs, such as {video_id}")
        return self

    @property
    def has_clips(self) -> bool:
        """Whether clips are fetched at all, from wherever; if not, annotations or records hold all data."""
        return self.link is not None or self.archive is not None


class Corpora(Strict):
    """All corpora by name."""

    corpora: dict[Name, Corpus]

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls.check({"corpora": read_yaml(path)}, path.name)
