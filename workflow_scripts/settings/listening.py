"""What people rate in a listening test: captions of several systems, heard against their clips."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from workflow_scripts.metrics.temporal_words import SEQUENTIAL
from workflow_scripts.settings.base import Strict

LOWEST, HIGHEST = 1, 5

# The columns of a file of ratings before and after those of the scales.
ABOUT = ("rater_id", "clip_id", "blind_letter", "caption_id")
WHEN = "timestamp"


class ListeningTest(Strict):
    """A listening test whose mean opinion scores are the cells of the table of the same name."""

    title: str = Field(description="What raters read above the test; must not name the systems")
    clips: dict[str, Annotated[int, Field(ge=1)]] = Field(
        min_length=1, description="How many clips of each corpus, by the paper's name of it"
    )
    split: str = Field("test", description="The clips to choose from")
    systems: dict[str, dict[str, str] | None] = Field(
        min_length=1,
        description="Whose captions are rated, by the label in the table: the experiment for each corpus, or null for "
        "one of the reference captions",
    )
    scales: dict[Annotated[str, Field(pattern=r"^[a-z]\w*$")], str] = Field(
        min_length=1, description="What is rated from 1 to 5: the name of each scale and the question to the rater"
    )
    words: list[str] = Field(
        default=sorted(SEQUENTIAL), min_length=1, description="The words that tell the order of events"
    )
    least: int = Field(
        2, ge=0, description="So many of these words must be in a reference caption of a clip that is chosen"
    )
    seed: int = Field(
        0, ge=0, description="Seed of the choice of clips and references, and the seed whose captions are shown"
    )
    interval: Literal["rater", "clip"] = Field(
        "rater", description="The means over which the Student interval is taken: one a `rater`, or one a `clip`"
    )

    @model_validator(mode="after")
    def fits(self) -> Self:
        for label, experiments in self.systems.items():
            if "." in label:
                raise ValueError(f"the label '{label}' must not have a dot, which joins keys in tables")
            if experiments is not None and experiments.keys() != self.clips.keys():
                raise ValueError(f"systems.{label}: give an experiment for each of {', '.join(self.clips)}")
        for name in self.scales:
            if name in (*ABOUT, WHEN):
                raise ValueError(f"scales: '{name}' is another column of the ratings; choose another name")
        return self

    def experiments(self) -> list[str]:
        """The experiments whose captions are shown, each once."""
        return list(dict.fromkeys(e for chosen in self.systems.values() for e in (chosen or {}).values()))

    def columns(self) -> list[str]:
        """The columns of a file of ratings."""
        return [*ABOUT, *self.scales, WHEN]
