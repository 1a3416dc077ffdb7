"""Temporal captions and their negatives through BART's frozen encoder, beside one at a time and one padded batch."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.stage import Stage, Work

K, WORDS = 24, 5000  # negatives of a caption, and tokens
SHORTEST, LONGEST = 12, 60  # tokens of a text
NORMALIZE = "pooled"


def prepare(folder: Path, captions: int) -> None:
    """Tokens (captions, 1 + K, length): a shuffle has about as many tokens as its caption, which differ much."""
    from workflow_scripts.models.captioners import BART_BOS, BART_TOKENS

    random = np.random.default_rng(0)
    texts = np.full((captions, 1 + K, LONGEST), BART_TOKENS.pad)
    for own, length in zip(texts, random.integers(SHORTEST, LONGEST - 4, captions), strict=True):
        for text in own:
            end = length + random.integers(0, 5)
            text[:end] = [BART_BOS, *random.integers(4, WORDS, end - 2), BART_TOKENS.end]
    np.save(folder / "texts.npy", texts)


def reading(folder: Path, read: Callable[[Any, Any], Any]) -> Work:
    """Texts pooled by `read`, which gets the encoder and the tokens."""
    import torch
    from transformers import BartConfig, BartModel

    from workflow_scripts.models.alignment import TextEncoder
    from workflow_scripts.models.captioners import BART_TOKENS

    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers = {"encoder_layers": 6, "decoder_layers": 1, "encoder_attention_heads": 12, "encoder_ffn_dim": 3072}
    model = BartModel(BartConfig(vocab_size=WORDS, d_model=768, decoder_attention_heads=12, **layers))
    encoder = TextEncoder(model.encoder, BART_TOKENS.pad)
    texts = torch.from_numpy(np.load(folder / "texts.npy"))

    def work() -> np.ndarray:
        with torch.no_grad():
            return read(encoder, texts).numpy()

    return work


def ours(folder: Path) -> Work:
    from workflow_scripts.training.systems.captioner.run import CaptionRun

    known: Any = SimpleNamespace(autocast=contextlib.nullcontext, alignment=SimpleNamespace(normalize=NORMALIZE))
    return reading(folder, lambda encoder, texts: CaptionRun.read(known, encoder, texts))


def one_by_one(folder: Path) -> Work:
    def read(encoder: Any, texts: Any) -> Any:
        import torch

        flat = texts.flatten(0, 1)
        found = [encoder.pooled(text[None, : int((text != encoder.pad).sum())], NORMALIZE) for text in flat]
        return torch.cat(found).unflatten(0, texts.shape[:2])

    return reading(folder, read)


def one_batch(folder: Path) -> Work:
    return reading(folder, lambda encoder, texts: encoder.pooled(texts, NORMALIZE))


STAGE = Stage(
    place=90,
    title=f"captions and {K} negatives each through the text encoder (BART base)",
    unit="captions",
    size=4,
    prepare=prepare,
    ours=ours,
    peers={"one text at a time": one_by_one, "one padded batch": one_batch},
    repeats=5,
)
