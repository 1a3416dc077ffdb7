"""How the full scale is rehearsed on a small machine (`rehearsal:` in config.yaml)."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from workflow_scripts.settings.base import Strict


class Rehearsal(Strict):
    """What is tried out, and the GPU for which hours are counted where there is none."""

    sizes: list[Annotated[int, Field(ge=1)]] = Field(
        [16, 64, 256],
        min_length=2,
        description="sizes at which a step is measured, each larger than the one before: clips, or a number of rows "
        "where little is computed of one",
    )
    minutes: float = Field(
        18, gt=0, description="after which nothing more is measured: the rest is counted, declared or unknown"
    )
    card: str = Field("NVIDIA A100", description="the GPU for which hours are counted")
    card_tflops: float = Field(
        8,
        gt=0,
        description="its sustained rate, 1e12 operations a second: of the 19.5 in float32 that NVIDIA's data sheet of "
        "the A100 gives, some 40 %, which is usual for networks of these sizes",
    )

    @model_validator(mode="after")
    def growing(self) -> Self:
        if sorted(set(self.sizes)) != self.sizes:
            raise ValueError("sizes: each must be larger than the one before")
        return self
