"""The features of a clip do not depend on the clips that are extracted with it: to the last bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from workflow_scripts.features.extractors import efficientnet_lite0, yamnet, yamnet_map


def pictures() -> np.ndarray:
    """Five clips of three frames, smooth as photographs are."""
    small = torch.rand(15, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(small, (64, 64), mode="bicubic").clamp(0, 1) * 255
    return large.permute(0, 2, 3, 1).to(torch.uint8).numpy().reshape(5, 3, 64, 64, 3)


def sounds() -> np.ndarray:
    """Five clips of two seconds."""
    return np.random.default_rng(0).uniform(-0.3, 0.3, (5, 2 * 16_000)).astype(np.float32)


@pytest.mark.parametrize(
    ("extractor", "clips"),
    [
        (efficientnet_lite0.Extractor(frames_per_clip=3, size=64), pictures),
        (yamnet.Extractor(), sounds),
        (yamnet_map.Extractor(), sounds),
    ],
)
def test_a_clip_alone_has_the_features_that_it_has_among_others(
    extractor: Any, clips: Callable[[], np.ndarray], asset: Callable[[str], Path]
) -> None:
    extract, given = extractor.load({name: asset(name) for name in extractor.assets}, "cpu"), clips()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # with several, one more image changes nothing
    with torch.inference_mode():
        together = extract(given)
        for place in (1, 4):
            assert np.array_equal(extract(given[place : place + 1])[0], together[place])
    torch.set_num_threads(threads)
