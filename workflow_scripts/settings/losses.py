"""How many of the clips that reach a stage may be lost there before its job fails."""

from typing import Annotated

from pydantic import Field

from workflow_scripts.settings.base import MANNER, Strict


class Losses(Strict):
    """What a job may lose (`losses:` in config.yaml), of the clips that come to it well."""

    ours: Annotated[float, MANNER] = Field(
        0.0,
        ge=0,
        le=1,
        description="share that may fail for what is no fault of their source: a fetched file that is missing or "
        "damaged, too little memory, a fault of a device or of a program; with more, the job fails, and the same "
        "command goes on",
    )
    all: Annotated[float, MANNER] = Field(
        0.5,
        ge=0,
        le=1,
        description="share that may fail for any reason, such as sound that does not decode; with more the job fails. "
        "It is asked of jobs to which 20 clips or more come well: a few tell nothing",
    )
