"""Sources: the files that clips are cut from, each with a name and random numbers of its own."""

import base64
import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from composed.composer import Composer
from composed.scenes.scene import Scene
from composed.types import Assets, Bank, Rng


@dataclass(frozen=True)
class Source:
    """One source to compose: the `index`-th of its split. Its id looks like YouTube's: 11 of A-Z a-z 0-9 - _."""

    id: str
    split: str
    index: int


class SourceComposer(Composer):
    """A composer whose media are sources with sound events."""

    splits: ClassVar[tuple[str, ...]]

    clips: dict[str, int]

    @abstractmethod
    def scene(self, bank: Bank, sample_rate: int, source: Source, rng: Rng) -> Scene:
        """What is heard, and perhaps seen, in a source."""

    @abstractmethod
    def sounding(self) -> Iterable[str]:
        """The sounds of the sound bank that sources are made of."""

    def of_one_source(self) -> dict[str, Any]:
        """All that decides what one source is: so not how many there are."""
        return {name: value for name, value in self.identity().items() if name != "clips"}

    def sources(self, assets: Assets, counts: Mapping[str, int]) -> list[Source]:
        """As many sources of every split, named by hashes of all that they are made from."""
        made_from = {
            "composition": self.of_one_source(),
            "assets": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(assets.items())},
        }
        whole = json.dumps(made_from, sort_keys=True)

        def identifier(split: str, index: int) -> str:
            digest = hashlib.blake2b(f"{whole}/{split}/{index}".encode(), digest_size=8).digest()
            return base64.urlsafe_b64encode(digest).decode().rstrip("=")

        return [Source(identifier(split, n), split, n) for split, count in counts.items() for n in range(count)]

    def generator(self, source: Source, purpose: int) -> Rng:
        """The random numbers of one source for its place (0), its scene (1) or its captions (2)."""
        return np.random.default_rng([self.seed, self.splits.index(source.split), source.index, purpose])
