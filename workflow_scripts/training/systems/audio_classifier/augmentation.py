"""From stored features to what a network is given: normalisation, and for training clips mixing, masks and noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torchaudio.functional import mask_along_axis_iid

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
    """For each clip of a batch the other one that was added to it, and the first's share: both (clips,)."""

    partner: Tensor
    share: Tensor


class Preparation:
    """Normalises features, and augments those of training clips.

    `normalisation` is that of the settings; `statistics` may be None where it needs none. All random numbers are
    torch's own, of the features' device.
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
        if self.normalisation == "clip":
            deviation, mean = torch.std_mean(features, (1, 2), keepdim=True)
            return (features - mean) / deviation.clamp(min=1e-4)
        if self.statistics is None:
            return features
        return (features - self.statistics.mean) / (self.statistics.std * (2 if self.normalisation == "ast" else 1))

    def augmented(self, features: Tensor) -> tuple[Tensor, Mix | None]:
        """Normalised features of training clips (clips, frames, bins), and how they were mixed.

        The order is that of the AST code, which mixes waveforms, though, and rolls last: mixed, rolled, masked,
        normalised, made noisy.
        """
        settings, mix = self.augmentation, None
        if settings.mixup:
            mix = draw_mix(len(features), settings.mixup, settings.mixup_alpha, features.device)
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


def draw_mix(clips: int, chance: float, alpha: float, device: torch.device) -> Mix:
    """Which clips are mixed, each with a random one, and by which share (Zhang et al. 2018, mixup)."""
    share = torch.distributions.Beta(*torch.full((2, clips), float(alpha), device=device)).sample()
    chosen = torch.rand(clips, device=device) < chance
    return Mix(torch.randperm(clips, device=device), torch.where(chosen, share, 1))


def mixed(features: Tensor, mix: Mix) -> Tensor:
    """Each clip's features (clips, frames, bins) times its share, and its partner's times the rest."""
    share = mix.share[:, None, None]
    return share * features + (1 - share) * features[mix.partner]


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
