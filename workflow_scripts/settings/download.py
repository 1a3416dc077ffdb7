"""Settings of the downloads: what to ask for, how patiently, and what counts as got."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from workflow_scripts.settings.base import MANNER, Strict


class Patience(Strict):
    """How long a server may take, and how much it may send."""

    timeout: Annotated[float, MANNER] = Field(
        30, gt=0, description="seconds without an answer after which a connection is given up"
    )
    least_speed: Annotated[float, MANNER] = Field(
        1000, ge=0, description="bytes a second, on average over `speed_window`; what comes slower is given up"
    )
    speed_window: Annotated[float, MANNER] = Field(
        60, gt=0, description="seconds of waiting for a source over which its speed is measured"
    )
    longest_pause: Annotated[float, MANNER] = Field(
        300,
        ge=0,
        description="seconds that a server may ask us to wait (`Retry-After`) before it is asked again in the same "
        "run; when it asks for more, the next run asks again",
    )
    largest_file: Annotated[int, MANNER] = Field(
        4_000_000_000, gt=0, description="bytes after which a download is stopped whose size nothing tells beforehand"
    )


class Persistence(Patience):
    """How often a source is asked again, and how much of it must come."""

    retries: Annotated[int, MANNER] = Field(
        3, ge=0, description="how often a transient failure is asked again within a run"
    )
    retry_wait: Annotated[float, MANNER] = Field(
        5, ge=0, description="seconds before the first retry; doubled at each next, at most 300"
    )
    give_up_after: Annotated[int, MANNER] = Field(
        5, ge=1, description="asks refused in a row (rate limit, bot check, no network) after which a run stops asking"
    )
    min_share: Annotated[float, MANNER] = Field(
        1.0,
        ge=0,
        le=1,
        description="share of the clips or files of each split of a job that must have an end (got, or lost for "
        "good): with fewer, because of refusals that pass, the job fails, and the same command goes on",
    )


class Connection(Persistence):
    """How a site is asked, and how patiently."""

    concurrent: Annotated[int, MANNER] = Field(2, ge=1, le=8, description="asks at the same time by one job")
    machines: Annotated[int, MANNER] = Field(
        1,
        ge=1,
        description="machines that ask a site at the same time from folders of their own, each taking its part of the "
        "asks an hour; jobs with the same `work_dir` take turns by themselves",
    )
    cookies: Annotated[Path | None, MANNER] = Field(
        None, description="for yt-dlp: a cookies.txt in Netscape format; never logged, better left null"
    )
    proxy: Annotated[str | None, MANNER] = Field(
        None, description="URL of a proxy for all asks; null: the environment's"
    )
    js_runtime: Annotated[Literal["deno", "node", "bun", "quickjs"], MANNER] = Field(
        "deno",
        description="for yt-dlp: what runs the solver of YouTube's challenges in JavaScript; deno is installed with it",
    )
    js_runtime_path: Annotated[Path | None, MANNER] = Field(
        None, description="for yt-dlp: where that program is; null: it is looked for"
    )
    extractor_args: Annotated[dict[str, dict[str, list[str]]], MANNER] = Field(
        {},
        description="for yt-dlp: its arguments of single sites, such as `{youtube: {player_client: [web, tv]}}`",
    )


class Download(Connection):
    """How clips are downloaded (`download:` in config.yaml)."""

    format: str = Field(
        "bv*[height<=360]+ba/b[height<=360]/bv*+ba/b",
        description="yt-dlp's format choice; the last alternative serves direct links, whose height is unknown",
    )
    streams: tuple[Literal["audio", "video"], ...] = Field(
        ("audio", "video"), min_length=1, description="what a downloaded clip must have to be ok"
    )
    force_keyframes_at_cuts: bool = Field(
        True,
        description="decode what is cut out, so that it starts and ends where asked, and keep its sound without loss "
        "(FLAC); false copies the streams",
    )
    tolerance: float = Field(
        0.25, gt=0, description="seconds by which a clip's decoded length may differ from the asked end - start"
    )
    videos_per_hour: Annotated[float | None, MANNER] = Field(
        300,
        gt=0,
        description="most asks an hour of all jobs at a site, retries included; null: no limit (loopback has none)",
    )
    rate_limit: Annotated[int | None, MANNER] = Field(
        None,
        gt=0,
        description="bytes per second of a whole download (cuts are read by ffmpeg, which has no such limit)",
    )
    largest_rate: Annotated[int, MANNER] = Field(
        10_000_000,
        gt=0,
        description="bytes for each second asked for after which a download is stopped; of a clip without an end "
        "`largest_file` is the bound",
    )
    cut_timeout: Annotated[float, MANNER] = Field(
        600, gt=0, description="seconds after which a cut is given up, however much of it came"
    )
