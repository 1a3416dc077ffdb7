"""Settings of temporal captions that the captions stage and training share."""

from typing import Literal

from pydantic import Field

from workflow_scripts.settings.base import Strict

Eligibility = Literal["events", "orders"]
Ties = Literal["mention", "simultaneous"]


class Negatives(Strict):
    """How negatives are drawn from temporal captions (Temp4Cap, section 2.2)."""

    mode: Literal["es", "rs", "es+rs"] = Field(
        "es+rs", description="`es`: events shuffled; `rs`: one event substituted; `es+rs`: substituted, then shuffled"
    )
    k: int = Field(24, ge=1, le=10_000, description="negatives of a caption and step")
    eligibility: Eligibility = Field(
        "events", description="captions that have negatives: at least two `events`, or two distinct `orders`"
    )
