"""The jobs that rewrite captions as temporal captions."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from workflow_scripts.captions.settings import Temporal
from workflow_scripts.devices import Device
from workflow_scripts.jobs import INPUT, StageJob
from workflow_scripts.settings.base import MANNER


class RewriteCaptions(StageJob):
    """The captions of one shard of a manifest as temporal captions.

    `models` tell what was fetched of models on the hub, and lie beside their files; `answers` is the folder of what
    language models have answered before, in all papers and at all scales.
    """

    step = "workflow_scripts.captions.rewrite:rewrite_captions"
    expensive = True
    verbose = True

    manifest: Annotated[Path, INPUT]
    assets: Annotated[dict[str, Path], INPUT] = Field({})
    models: Annotated[dict[str, Path], INPUT] = Field({})
    temporal: Temporal
    shard: Annotated[int, MANNER] = 0
    shards: int = 1
    answers: Annotated[Path, MANNER]
    device: Annotated[Device, MANNER] = "auto"
    gpu_mb: Annotated[int | None, MANNER] = None  # that its GPU must have
