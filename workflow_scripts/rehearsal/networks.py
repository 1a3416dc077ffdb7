"""What networks that extract features need, counted on their shapes alone: no weights, no media."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from workflow_scripts.captions.plan import RewriteCaptions
from workflow_scripts.features.plan import ExtractFeatures
from workflow_scripts.jobs import Job
from workflow_scripts.rehearsal.estimate import Estimate
from workflow_scripts.rehearsal.payloads import captions_a_clip
from workflow_scripts.rehearsal.plan import Part
from workflow_scripts.settings.rehearsal import Rehearsal

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = {"microsoft/phi-4": 14.7e9}  # of language models, huggingface.co: as many multiply-accumulates a token
TOKENS = 100  # of a caption and its answer; the instructions before it are read once


def vggish() -> "nn.Module":
    from workflow_scripts.models.vggish import Vggish

    return Vggish()


def vgg16() -> "nn.Module":
    from torchvision.models import vgg16

    return vgg16()


# By extractor the network, and what it is given of a frame.
NETWORKS: dict[str, tuple[Callable[[], "nn.Module"], tuple[int, ...]]] = {
    "vggish": (vggish, (96, 64)),
    "vgg16": (vgg16, (3, 224, 224)),
}


def counted(part: Part, rehearsal: Rehearsal) -> Estimate | None:
    """What a part needs whose extractor is a known network; None for any other."""
    if (macs := macs_a_clip(part.example, part.reader)) is None:
        return None
    share = sum(part.counts.get(split, 0) for split in read_splits(part)) / max(part.total, 1)
    hours = 2 * macs * share / (rehearsal.card_tflops * 1e12) / 3600
    note = f"{macs / 1e9:.3g}e9 multiply-accumulates a clip; reading and decoding are not counted"
    return Estimate("counted", note, minutes=60 * hours * part.items, gpu_hours=hours * part.total)


def read_splits(part: Part) -> list[str]:
    """The splits whose clips are read."""
    return part.example.temporal.splits if isinstance(part.example, RewriteCaptions) else list(part.counts)


def macs_a_clip(job: Job | None, reader: str) -> float | None:
    """Multiply-accumulates for a clip, if the network is known."""
    if isinstance(job, RewriteCaptions):
        models = [WEIGHTS[name] for name in job.models if name in WEIGHTS]
        return sum(models) * TOKENS * captions_a_clip(reader) if models else None
    if isinstance(job, ExtractFeatures) and job.extractor in NETWORKS:
        from workflow_scripts.models.macs import macs

        frames, _ = job.settings.shape(job.clip_seconds)
        return float(frames * macs(*NETWORKS[job.extractor]).total)
    return None
