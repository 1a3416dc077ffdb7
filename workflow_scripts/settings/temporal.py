"""Settings of temporal captions: who rewrites the captions of training, and how negatives are drawn from the result."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from workflow_scripts.settings.base import Strict

Eligibility = Literal["events", "orders"]
Ties = Literal["mention", "simultaneous"]


class Rules(Strict):
    """Captions are split at their conjunctions; no model is asked."""

    kind: Literal["rules"] = "rules"


class Precomputed(Strict):
    """Temporal captions that somebody made before."""

    kind: Literal["precomputed"]
    path: Path = Field(
        description="a Parquet or JSON-lines file with `caption`, `temporal` and perhaps `source`; captions that it "
        "lacks go to the rules"
    )


class Asking(Strict):
    """What all language models share."""

    max_tokens: int = Field(160, ge=16, description="longest answer; a longer one is cut off and thereby malformed")
    max_events: int = Field(8, ge=1, le=8, description="most events of an answer, as far as it is constrained")
    batch: int = Field(16, ge=1, description="captions asked for at the same time")
    limit: int | None = Field(
        None,
        ge=1,
        description="of each shard, at most so many distinct captions are asked for, first captions of clips before "
        "second ones; the others go to the rules; null: all are asked for",
    )


class TransformersModel(Asking):
    """A language model on this machine, by transformers."""

    kind: Literal["transformers"]
    asset: str | None = Field(None, description="id of a GGUF file in assets.yaml; null: `model`")
    model: str | None = Field(
        None,
        description="a folder, or a name on the Hugging Face hub: `owner/name`, such as microsoft/phi-4, unless there "
        "is such a folder",
    )
    revision: str = Field(
        "main",
        pattern=r"^\w[\w.-]*$",
        description="of a model on the hub: a branch, which is fetched once, or, better, a commit",
    )

    @model_validator(mode="after")
    def one_model(self) -> "TransformersModel":
        if (self.asset is None) == (self.model is None):
            raise ValueError("a backend of transformers needs either `asset` or `model`")
        return self

    @property
    def hub_model(self) -> str | None:
        """The model's name if it must be fetched from the hub: `owner/name`, and no folder."""
        name = self.model or ""
        return name if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) and not Path(name).is_dir() else None


class OpenaiServer(Asking):
    """A language model behind a server that speaks OpenAI's chat completions, vLLM for instance."""

    kind: Literal["openai"]
    url: str = Field(pattern=r"^https?://", description="where the server answers, up to and with its version: …/v1")
    model: str = Field(min_length=1, description="the model's name at the server")
    key_variable: str = Field(
        "OPENAI_API_KEY",
        min_length=1,
        description="environment variable with the key, if the server wants one; never logged",
    )
    constrain: bool = Field(
        True, description="ask for an answer by JSON schema; false for servers that do not know `response_format`"
    )
    retries: int = Field(5, ge=0, description="how often an ask that failed is repeated within a run")
    retry_wait: float = Field(2, ge=0, description="seconds before the first repetition; doubled at each next")
    timeout: float = Field(120, gt=0, description="seconds without an answer after which an ask has failed")


Backend = Annotated[Rules | TransformersModel | OpenaiServer | Precomputed, Field(discriminator="kind")]


class Temporal(Strict):
    """How captions become temporal captions (Temp4Cap, section 2.2)."""

    backend: Backend = Field(Rules(), description="who rewrites")
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


class Negatives(Strict):
    """How negatives are drawn from temporal captions (Temp4Cap, section 2.2)."""

    mode: Literal["es", "rs", "es+rs"] = Field(
        "es+rs", description="`es`: events shuffled; `rs`: one event substituted; `es+rs`: substituted, then shuffled"
    )
    k: int = Field(24, ge=1, description="negatives of a caption and step")
    eligibility: Eligibility = Field(
        "events", description="captions that have negatives: at least two `events`, or two distinct `orders`"
    )
