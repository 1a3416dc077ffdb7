"""Captions of scenes that nobody has composed: texts to pretrain a small BART on, as BART was, without sounds."""

from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from composed.files import write_text
from composed.scenes.captioned_scenes import TemporalShare
from composed.scenes.casts import Casting
from composed.text.caption_templates import caption
from composed.types import Assets, Probability, Rng, Seed, Span
from workflow_scripts.captions.grammar import TemporalCaption
from workflow_scripts.corpora.truth import without_article

PURPOSE = 3  # of random numbers; composers of clips have 0 to 2
NOTICE = """# Composed texts

Captions from templates, of casts of events that were drawn at random and that no clip has: there is no sound. A part
of them are written as temporal captions. Everything follows from the seed {seed}.

| split | texts |
|---|---|
{table}
"""


class Composer(Casting):
    """Writes train.txt and validation.txt, a text a line."""

    notice: ClassVar[str] = NOTICE

    seed: Seed = 2025
    texts: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default={"train": 4000, "validation": 200}, description="Number of texts by split, `train` and `validation`"
    )
    temporal: TemporalShare = 0.5
    events_as_text: Probability = Field(
        default=0.25, description="Share of the texts that are written as temporal captions, which a text encoder reads"
    )
    seconds: Span = Field(default=(5, 8), description="Bounds of the length of the clips that are imagined")

    @property
    def assets(self) -> tuple[str, ...]:
        return ()

    def write(self, assets: Assets, folder: Path, workers: int) -> None:
        for split, count in self.texts.items():
            rng = np.random.default_rng([self.seed, list(self.texts).index(split), PURPOSE])
            write_text(folder / f"{split}.txt", "".join(f"{self.text(rng)}\n" for _ in range(count)))
        self.write_notice(folder, self.texts.items())

    def text(self, rng: Rng) -> str:
        """A caption of a cast of its own, or its events as a temporal caption."""
        cast = self.cast(rng, float(rng.uniform(*self.seconds)))
        written = caption(*cast, self.temporal, rng, "")
        if rng.random() >= self.events_as_text:
            return written.text
        numbered = [(name, order) for order, group in enumerate(cast.groups, 1) for name in group]
        heard = [*numbered, *([(cast.background, None)] if cast.background else [])]
        return str(TemporalCaption.of((without_article(written.wordings[name]), order) for name, order in heard))
