"""Settings of the texts that people wrote about a clip: where they come from, and how patiently they are asked for."""

from string import Formatter
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from workflow_scripts.settings.base import MANNER
from workflow_scripts.settings.download import Connection, Download

NAMES = {"ids": ("id", "prefix"), "link": ("video_id",), "api": ()}  # names in braces; the first must be there


class Text(Connection):
    """Where the title and the keywords of a clip come from (`text:` of a corpus)."""

    source: Literal["release", "yt_dlp", "data_api"] = Field(
        description="`release`: files that somebody collected; `yt_dlp`: each video's page; `data_api`: the YouTube "
        "Data API v3, 50 videos a call"
    )
    ids: str | None = Field(
        None,
        description="URL of a file that tells a record's YouTube id, with `{id}` and perhaps `{prefix}`, its first two "
        "characters; null: the records bear YouTube ids",
    )
    link: str = Field("https://www.youtube.com/watch?v={video_id}", description="yt_dlp: a video's page")
    api: str = Field("https://www.googleapis.com/youtube/v3/videos", description="data_api: where it answers")
    key_variable: Annotated[str, MANNER] = Field(
        "YOUTUBE_API_KEY", min_length=1, description="data_api: environment variable that holds the key; never logged"
    )
    embeddable_only: bool = Field(
        True, description="leave out videos that may not be embedded, as a source that asks for embedded players does"
    )
    asks_per_hour: Annotated[float | None, MANNER] = Field(
        300, gt=0, description="most asks an hour of all jobs: videos of yt_dlp, calls of data_api; null: no limit"
    )
    ids_per_hour: Annotated[float | None, MANNER] = Field(
        36_000, gt=0, description="most YouTube ids asked for an hour; null: no limit"
    )

    @field_validator("ids", "link", "api")
    @classmethod
    def url_with_names(cls, template: str | None, info: ValidationInfo) -> str | None:
        if template is None:
            return None
        names = NAMES[info.field_name or ""]
        found = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
        if not template.startswith(("http://", "https://")) or not set(names[:1]) <= found <= set(names):
            raise ValueError(
                "expected a URL" + (f" with {{{names[0]}}} and no strange name in braces" if names else "")
            )
        return template

    @property
    def downloading(self) -> Download:
        """The same manners as settings of yt-dlp."""
        return Download(**{name: getattr(self, name) for name in Connection.model_fields})
