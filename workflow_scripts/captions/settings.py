"""Settings of temporal captions."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationInfo

from workflow_scripts.captions.backends.rules import Backend as Rules
from workflow_scripts.captions.interface import CaptionBackend
from workflow_scripts.settings.base import Strict
from workflow_scripts.settings.plugins import BACKENDS, plugin
from workflow_scripts.settings.temporal import Ties


def of_its_kind(values: Any, info: ValidationInfo) -> Any:
    """The settings of a backend, checked by the backend itself."""
    if not isinstance(values, dict):
        return values
    where = f"{info.context or 'settings'}.backend"
    return plugin(BACKENDS, str(values.get("kind")), f"{where}.kind").check(values, where)


class Temporal(Strict):
    """How captions become temporal captions (Temp4Cap, section 2.2)."""

    backend: Annotated[SerializeAsAny[CaptionBackend], BeforeValidator(of_its_kind)] = Field(
        default=Rules(kind="rules"), description="Who rewrites: a kind and its settings"
    )
    ties: Ties = Field(
        "mention",
        description="events without a cue of time (`and`, commas, `with`): `mention`: one after the other as they are "
        "mentioned; `simultaneous`: at the same time",
    )
    splits: list[str] = Field(["train"], min_length=1, description="whose captions are rewritten")
    fallback_limit: float | None = Field(
        0.05,
        ge=0,
        le=1,
        description="largest share of captions for which the backend itself gives nothing valid; null: any",
    )
