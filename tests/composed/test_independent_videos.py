"""The scored videos of the composed YouTube-8M are independent, and equal pictures are embedded once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from composed.composers.youtube8m import Composer
from composed.tagged_videos.embeddings import ASSETS, SIDE, Networks


def test_every_scored_video_is_of_a_clip_of_its_own() -> None:
    """So that a bootstrap over videos is one over independent things; those to learn from are several of a clip."""
    composer = Composer()
    made = composer.made({part: composer.clips(part) for part in ("train", "validate")})
    places = [video.place for video in made["validate"]]
    assert len(places) == len(set(places)) == composer.videos["validate"]
    assert {video.number for video in made["validate"]} == {0}  # its own features, without noise
    assert len({video.place for video in made["train"]}) < len(made["train"]) / 3


def test_equal_frames_are_embedded_once(asset: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    networks = Networks({name: asset(name) for name in ASSETS})
    seen: list[int] = []
    features = networks.image.features
    monkeypatch.setattr(networks.image, "features", lambda images: (seen.append(len(images)), features(images))[1])
    empty, other = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    found = networks.see(np.stack([empty, other, empty, empty, other]))
    assert sum(seen) == 2 and found.shape == (5, 1280)
    assert all((found[place] == found[twin]).all() for place, twin in ((2, 0), (3, 0), (4, 1)))
    assert np.abs(found[0] - found[1]).max() > 0.1
