"""Settings of the media stage: how a clip's sound is read, and which files are no clips."""

from typing import Annotated, Literal

from pydantic import Field

from workflow_scripts.settings.base import MANNER, Strict

Resampler = Literal["soxr_hq", "soxr_vhq", "sinc", "polyphase"]


class Audio(Strict):
    """How a clip's sound becomes one array of samples."""

    sample_rate: int = Field(gt=0, le=1_000_000, description="samples per second, Hz")
    clip_seconds: float = Field(gt=0, le=86_400, description="length to which clips are zero-padded or truncated")
    resampler: Resampler = Field(
        "soxr_hq", description="soxr's HQ or VHQ, torchaudio's windowed sinc, or scipy's polyphase filter"
    )
    silence_peak_db: float = Field(
        -80, lt=0, description="a clip whose highest peak is below this (dB relative to full scale) is silent"
    )
    minimum_seconds: float = Field(0.1, ge=0, description="a clip with less sound than this is too short")

    @property
    def samples(self) -> int:
        """Samples of a padded clip."""
        return round(self.clip_seconds * self.sample_rate)


class Bounds(Strict):
    """What a file may declare of itself (`bounds:` in config.yaml); one beyond is `out_of_bounds`, and not decoded."""

    hours: Annotated[float, MANNER] = Field(12, gt=0, description="longest sound or picture")
    lowest_rate: Annotated[int, MANNER] = Field(1000, ge=1, description="least samples of sound per second, Hz")
    channels: Annotated[int, MANNER] = Field(64, ge=1, description="most channels of sound")
    pixels: Annotated[int, MANNER] = Field(
        36_000_000, ge=1, description="most pixels of a picture, width times height; 8K has 33 million"
    )
