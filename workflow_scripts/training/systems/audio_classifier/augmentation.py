"""From stored features to what a network is given: normalisation, and for training clips mixing, masks and noise.

Rectangles are torchvision's. Those of timm, which the DAT code has, are drawn in the same way, but with random numbers
of Python and numpy, which checkpoints do not keep.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torchaudio.functional import mask_along_axis_iid
from torchvision.transforms.v2 import CutMix, RandomErasing

from workflow_scripts.errors import UserError
from workflow_scripts.files import read_json
from workflow_scripts.training.systems.audio_classifier.settings import Augmentation


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of all features of the training clips."""

    mean: float
    std: float

    @classmethod
    def read(cls, path: Path) -> "Statistics":
        """The statistics in a reduction of the features."""
        stated = read_json(path)
        try:
            found = cls(float(stated["mean"]), float(stated["std"]))
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{path}: does not state a mean and a std; make this reduction anew") from None
        if not found.std > 0:
            raise UserError(f"{path}: the features do not vary (std {found.std:g}); check the sounds")
        return found


@dataclass(frozen=True)
class Mix:
    """For each clip of a batch the other one that it is mixed with, and its own share: both (clips,).

    `own` is how much each of its features counts beside the other's: (clips, 1, 1), or (clips, frames, bins).
    """

    partner: Tensor
    share: Tensor
    own: Tensor


class Preparation:
    """Normalises features, and augments those of training clips.

    `normalisation` is that of the settings; `statistics` may be None where it needs none. All random numbers are
    torch's own, of the features' device, and for places of rectangles of the CPU.
    """

    def __init__(self, normalisation: str, statistics: Statistics | None, augmentation: Augmentation) -> None:
        self.normalisation, self.statistics, self.augmentation = normalisation, statistics, augmentation

    def check(self, frames: int, bins: int) -> None:
        """Refuses masks that could be larger than the features."""
        for key, size in (("freq_mask", bins), ("time_mask", frames)):
            if (mask := getattr(self.augmentation, key)) > size:
                raise UserError(f"augmentation.{key}: {mask} is more than the {size} that the features have")

    def normalised(self, features: Tensor) -> Tensor:
        """Normalised features (clips, frames, bins).

        AST (Gong et al. 2021), section 2.1: to mean 0 and deviation 1/2 over the training clips.
        """
        mean, deviation = self.level(features)
        return (features - mean) / (deviation * (2 if self.normalisation == "ast" else 1))

    def level(self, features: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """The mean and deviation by which features (clips, frames, bins) are normalised."""
        if self.normalisation == "clip":
            deviation, mean = torch.std_mean(features, (1, 2), keepdim=True)
            return mean, deviation.clamp(min=1e-4)
        return (0.0, 1.0) if self.statistics is None else (self.statistics.mean, self.statistics.std)

    def augmented(self, features: Tensor) -> tuple[Tensor, Mix | None]:
        """Normalised features of training clips (clips, frames, bins), and how they were mixed.

        The order is that of the AST code, which mixes waveforms, though, and rolls last: mixed, rolled, masked,
        normalised, made noisy. Before all that comes what the DAT code does first: a rectangle is erased.
        """
        settings, mix = self.augmentation, None
        if settings.erasing:
            features = self.erased(features)
        if settings.mixup or settings.cutmix:
            mix = draw_mix(features, settings)
            features = mixed(features, mix)
        if settings.time_shift:
            features = rolled(features, settings.time_shift)
        if settings.mask_value == "zero":
            features = self.normalised(self.masked(features))
        else:
            features = self.masked(self.normalised(features))
        if settings.noise:
            amplitude = settings.noise * torch.rand(len(features), 1, 1, device=features.device)
            features = features + amplitude * torch.rand_like(features)
        return features, mix

    def erased(self, features: Tensor) -> Tensor:
        """A rectangle of some clips replaced by noise (Zhong et al. 2020), as loud and varied as all features are."""
        mark = RandomErasing(self.augmentation.erasing, (0.02, 1 / 3), (0.3, 1 / 0.3), value=1.0)
        plane = torch.zeros(1, *features.shape[1:])
        gone = torch.cat([mark(plane) for _ in features]).to(features.device, torch.bool)
        mean, deviation = self.level(features)
        return torch.where(gone, mean + deviation * torch.randn_like(features), features)

    def masked(self, features: Tensor) -> Tensor:
        """A random band of bins and a stretch of frames of each clip set to 0 (Park et al. 2019, SpecAugment)."""
        for axis, mask in ((2, self.augmentation.freq_mask), (1, self.augmentation.time_mask)):
            features = mask_along_axis_iid(features, mask, 0.0, axis)
        return features


def rolled(features: Tensor, largest: int) -> Tensor:
    """Features (clips, frames, bins), each clip's frames moved round by at most `largest`, either way."""
    clips, frames, bins = features.shape
    shift = torch.randint(-largest, largest + 1, (clips, 1), device=features.device)
    places = (torch.arange(frames, device=features.device) - shift) % frames
    return features.gather(1, places[:, :, None].expand(-1, -1, bins))


def draw_mix(features: Tensor, settings: Augmentation) -> Mix:
    """Which clips of (clips, frames, bins) are mixed, each with a random one, and how.

    By a share throughout (Zhang et al. 2018, mixup), or but for a rectangle (Yun et al. 2019, CutMix), whose area is
    the other's share.
    """
    clips, device = len(features), features.device
    drawn = clips if settings.mix_by == "clip" else 1
    share = torch.distributions.Beta(*torch.full((2, drawn), float(settings.mixup_alpha), device=device)).sample()
    chance = torch.rand(drawn, device=device)
    partner = torch.randperm(clips, device=device)
    share = torch.where(chance < settings.mixup, share, 1)
    own = share[:, None, None]
    if settings.cutmix:
        cut = (chance >= settings.mixup) & (chance < settings.mixup + settings.cutmix)
        whole = torch.stack([rectangle(features[0], settings.cutmix_alpha) for _ in range(drawn)]).to(device)
        own = torch.where(cut[:, None, None], whole, own)
        share = own.mean((1, 2))
    return Mix(partner, share.expand(clips), own.expand(clips, -1, -1))


def rectangle(clip: Tensor, alpha: float) -> Tensor:
    """Ones like the features of a clip (frames, bins), but zeros in a rectangle at random that CutMix cuts out."""
    left, top, right, bottom = CutMix(alpha=alpha, num_classes=1).make_params([clip[None]])["box"]
    kept = torch.ones(clip.shape)
    kept[top:bottom, left:right] = 0
    return kept


def mixed(features: Tensor, mix: Mix) -> Tensor:
    """Each clip's features (clips, frames, bins) times how much they count, and its partner's times the rest."""
    return mix.own * features + (1 - mix.own) * features[mix.partner]


def cross_entropy(
    logits: Mapping[str, Tensor], targets: Tensor, others: Tensor | None, share: Tensor | None, smoothing: float
) -> Tensor:
    """The mean over the clips of the sum over the heads; of mixed clips that of both targets by the first's `share`.

    `logits` are (clips, classes) for each head, `targets` and `others` class numbers (clips, heads).
    """
    loss = torch.zeros(len(targets), device=targets.device)
    for head, (values, target) in enumerate(zip(logits.values(), targets.T, strict=True)):
        own = functional.cross_entropy(values, target, reduction="none", label_smoothing=smoothing)
        if others is not None and share is not None:
            other = functional.cross_entropy(values, others[:, head], reduction="none", label_smoothing=smoothing)
            own = share * own + (1 - share) * other
        loss = loss + own
    return loss.mean()
