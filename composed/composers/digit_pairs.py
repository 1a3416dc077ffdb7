"""Pairs of a digit's picture and its spoken name, each view noisy in its own way, as torch tensors."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from composed import composer
from composed.digits.digits import (
    SAMPLE_RATE,
    Images,
    Recording,
    csv_images,
    idx_images,
    recordings,
    spoken,
)
from composed.digits.noise import Noise, dropped, embedded, scaled
from composed.sounds import speech
from composed.sounds.speech import Voice
from composed.types import Assets, Rng, Seed
from workflow_scripts.corpora.readers.digit_pairs import Reader
from workflow_scripts.errors import UserError
from workflow_scripts.shards import atomic

MNIST = ("mnist_train_images", "mnist_train_labels", "mnist_test_images", "mnist_test_labels")
PARTS = ("training", "test")
NOTICE = """# Composed material

These pairs are composed: a picture and a recording of the same digit were put together at random, from different
sources, and noise was added. They are not the pairs of the NORA summer school's exercise; only the form of the files
is that of the exercise. Everything follows from the seed {seed}. The parts share no picture and no speaker.

| part | pairs | speakers |
|---|---|---|
{table}

- Pictures: {images}, scaled to [-1, 1].
- Speech: {words}, at 8 kHz, in one second of silence at one of the middle {spread:.0%} of the possible places,
  divided by the 95th percentile of its magnitudes.
- Noise: the shares {levels} of pixels and samples, moved by up to {jitter}, set to 0; white noise of deviation {hiss}
  below the recordings.
"""


class Pairs(NamedTuple):
    """The tensors of a part: images (n, 1, 28, 28), audio (n, 1, 8000), digits (n,)."""

    images: NDArray[np.float32]
    audio: NDArray[np.float64]
    digits: NDArray[np.int64]


class Composer(composer.Composer):
    """Pairs pictures and recordings within a class, and adds noise to one of them or a little to both."""

    notice: ClassVar[str] = NOTICE

    seed: Seed = 2025
    images: Literal["mnist_5k", "mnist"] = Field(
        default="mnist_5k", description="`mnist_5k`: 5,000 digits, dealt to both parts; `mnist`: its own two parts"
    )
    recordings: str | None = Field(
        default=None,
        description="Asset with files <digit>_<speaker>_<number>.wav, a zip or tar file; null: eSpeak NG speaks",
    )
    pairs: dict[str, int] = Field(default={"training": 1000, "test": 400}, description="Number of pairs by part")
    speakers: dict[str, int] = Field(default={"training": 36, "test": 12}, description="Number of speakers by part")
    takes: int = Field(default=3, ge=1, description="How often a synthetic speaker says a digit, in other ways")
    noise: Noise = Field(default=Noise(), description="What is lost of each view")

    @property
    def assets(self) -> tuple[str, ...]:
        images = ("mnist_5k",) if self.images == "mnist_5k" else MNIST
        return images if self.recordings is None else (*images, self.recordings)

    @model_validator(mode="after")
    def both_parts(self) -> Self:
        for name, counts in (("pairs", self.pairs), ("speakers", self.speakers)):
            if set(counts) != set(PARTS) or min(counts.values()) < 1:
                raise ValueError(f"{name}: give each of {', '.join(PARTS)} at least 1")
        return self

    def write(self, assets: Assets, folder: Path, workers: int) -> None:
        pictures = self.pictures(assets)
        words = self.words(assets, workers)
        for number, part in enumerate(PARTS):
            rng = np.random.default_rng([self.seed, number])
            save(folder, part, pair(pictures[part], words[part], self.pairs[part], self.noise, rng))
        table = [(part, self.pairs[part], self.speakers[part]) for part in PARTS]
        self.write_notice(folder, table, **self.about())

    def pictures(self, assets: Assets) -> dict[str, Images]:
        """The pictures of each part; one set of them is dealt at random, in proportion to the numbers of pairs."""
        if self.images == "mnist":
            train_images, train_labels, test_images, test_labels = (assets[name] for name in MNIST)
            return {
                "training": idx_images(train_images, train_labels),
                "test": idx_images(test_images, test_labels),
            }
        pixels, digits = csv_images(assets["mnist_5k"])
        order = np.random.default_rng(self.seed).permutation(len(digits))
        edge = round(len(digits) * self.pairs["training"] / sum(self.pairs.values()))
        return {
            part: Images(pixels[mine], digits[mine])
            for part, mine in zip(PARTS, (order[:edge], order[edge:]), strict=True)
        }

    def words(self, assets: Assets, workers: int) -> dict[str, list[Recording]]:
        """The recordings of each part, by other speakers."""
        if self.recordings is None:
            return {part: spoken(voices, workers) for part, voices in self.voices().items()}
        found = recordings(assets[self.recordings])
        names = list(np.random.default_rng(self.seed).permutation(sorted({one.speaker for one in found})))
        if len(names) < sum(self.speakers.values()):
            raise UserError(
                f"speakers: {sum(self.speakers.values())} are wanted, and {assets[self.recordings]} has {len(names)}"
            )
        edge = self.speakers["training"]
        chosen = {"training": names[:edge], "test": names[edge : edge + self.speakers["test"]]}
        return {part: [one for one in found if one.speaker in mine] for part, mine in chosen.items()}

    def voices(self) -> dict[str, dict[str, list[Voice]]]:
        """By part and speaker the voices, one for each take; a speaker has one variant of eSpeak NG's to itself."""
        rng = np.random.default_rng(self.seed)
        variants = list(rng.permutation(speech.VARIANTS))
        if sum(self.speakers.values()) > len(variants):
            raise UserError(f"speakers: eSpeak NG has {len(variants)} voices, {sum(self.speakers.values())} are wanted")
        edge = self.speakers["training"]
        chosen = {"training": variants[:edge], "test": variants[edge : edge + self.speakers["test"]]}
        return {
            part: {variant: [voice(variant, rng) for _ in range(self.takes)] for variant in mine}
            for part, mine in chosen.items()
        }

    def about(self) -> dict[str, object]:
        """What the notice says about the views and their noise."""
        return {
            **self.noise.model_dump(),
            "images": f"handwritten digits of `{self.images}`",
            "words": "synthetic, by eSpeak NG" if self.recordings is None else f"recordings of `{self.recordings}`",
            "levels": ", ".join(f"{image:g} and {audio:g}" for image, audio in self.noise.levels),
        }


def voice(variant: str, rng: Rng) -> Voice:
    """A way in which a speaker says things: an accent, a rate, a pitch and its range."""
    accent = speech.LANGUAGES[rng.integers(len(speech.LANGUAGES))]
    return Voice(
        f"{accent}+{variant}", int(rng.integers(135, 200)), int(rng.integers(30, 70)), int(rng.integers(40, 80))
    )


def pair(pictures: Images, words: Sequence[Recording], count: int, noise: Noise, rng: Rng) -> Pairs:
    """`count` noisy pairs, the classes equally often, in random order.

    Pictures and recordings of a class are taken in random order, and again from the first when there are too few.
    """
    digits = rng.permutation(np.arange(count) % 10)
    spoken_digits = np.array([word.digit for word in words])
    images = np.zeros((count, 1, 28, 28), np.float32)
    audio = np.zeros((count, 1, SAMPLE_RATE))
    for digit in range(10):
        places = np.flatnonzero(digits == digit)
        shown, said = (np.flatnonzero(known == digit) for known in (pictures.digits, spoken_digits))
        if len(places) and not (len(shown) and len(said)):
            raise UserError(f"the digit {digit} has {len(shown)} pictures and {len(said)} recordings; both are needed")
        chosen = (np.resize(rng.permutation(known), len(places)) for known in (shown, said))
        for place, picture, word in zip(places, *chosen, strict=True):
            image_share, audio_share = noise.draw(rng)
            images[place, 0] = dropped(scaled(pictures.pixels[picture]), image_share, rng)
            wave = embedded(words[word].waveform, SAMPLE_RATE, noise.spread, rng)
            if noise.hiss:
                wave += rng.normal(0, noise.hiss, SAMPLE_RATE)
            audio[place, 0] = dropped(wave, audio_share, rng)
    return Pairs(images, audio, digits)


def save(folder: Path, part: str, pairs: Pairs) -> None:
    """Writes the four tensors of a part."""
    import torch

    tensors = {
        "images": pairs.images,
        "audio": pairs.audio,
        "images_labels": pairs.digits,
        "audio_labels": pairs.digits,
    }
    for kind, array in tensors.items():
        with atomic(folder / Reader.files[f"{part}_{kind}"]) as temporary, temporary.open("wb") as file:
            torch.save(torch.from_numpy(array), file)  # into a path it would write the temporary name as well
