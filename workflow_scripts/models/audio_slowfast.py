"""Auditory Slow-Fast.

Kazakos, Nagrani, Zisserman and Damen, "Slow-Fast auditory streams for audio recognition", ICASSP 2021, section 2: two
residual networks on a log-mel spectrogram, whose convolutions run over time or over frequency. The slow one has many
channels and few frames, the fast one few channels and all frames; after each stage but the last the slow one hears the
fast one. Keys of the weights are those of the authors' files.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from workflow_scripts.models.audio_parts import Heads, Pointwise, views
from workflow_scripts.models.pretrained import put, read_weights

# kernels over time of the stem and of the stages: slow, fast
STEM_KERNELS = (1, 5)
STAGE_KERNELS = ((1, 3), (1, 3), (3, 3), (3, 3))
UNFROZEN = ("s1.pathway0_stem.bn", "s1.pathway1_stem.bn", "s1_fuse.bn")


class Block(nn.Module):
    """A bottleneck of a convolution over time, one over frequency, and one over neither, beside a shortcut."""

    def __init__(self, inputs: int, inner: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.projects = inputs != outputs or stride != 1
        if self.projects:
            self.branch1 = Pointwise(inputs, outputs, (1, stride), bias=False)
            self.branch1_bn = nn.BatchNorm2d(outputs)
        if kernel == 1:
            over_time: nn.Conv2d = Pointwise(inputs, inner, bias=False)
        else:
            over_time = nn.Conv2d(inputs, inner, (kernel, 1), padding=(kernel // 2, 0), bias=False)
        last = nn.BatchNorm2d(outputs)
        nn.init.zeros_(last.weight)  # each block begins as its shortcut
        self.branch2 = nn.Sequential(
            OrderedDict(
                a=over_time,
                a_bn=nn.BatchNorm2d(inner),
                a_relu=nn.ReLU(inplace=True),
                b=nn.Conv2d(inner, inner, (1, 3), (1, stride), padding=(0, 1), bias=False),
                b_bn=nn.BatchNorm2d(inner),
                b_relu=nn.ReLU(inplace=True),
                c=Pointwise(inner, outputs, bias=False),
                c_bn=last,
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.branch1_bn(self.branch1(x)) if self.projects else x
        return (shortcut + self.branch2(x)).relu()


class Pathways(nn.Module):
    """Modules of one place of the two networks: `pathway0_…` of the slow one, `pathway1_…` of the fast one."""

    def forward(self, slow: Tensor, fast: Tensor) -> tuple[Tensor, Tensor]:
        for name, module in self.named_children():
            if name.startswith("pathway0"):
                slow = module(slow)
            else:
                fast = module(fast)
        return slow, fast


def stem(width: Sequence[int]) -> Pathways:
    """A quarter of the frames and of the bins."""
    both = Pathways()
    for pathway, (channels, kernel) in enumerate(zip(width, STEM_KERNELS, strict=True)):
        layers = OrderedDict(
            conv=nn.Conv2d(1, channels, (kernel, 7), 2, padding=(kernel // 2, 3), bias=False),
            bn=nn.BatchNorm2d(channels),
            relu=nn.ReLU(inplace=True),
            pool=nn.MaxPool2d(3, 2, padding=1),
        )
        both.add_module(f"pathway{pathway}_stem", nn.Sequential(layers))
    return both


def stage(inputs: Sequence[int], inner: Sequence[int], kernels: Sequence[int], depth: int, stride: int) -> Pathways:
    """`depth` blocks of each network; the first divides the bins by `stride`."""
    both = Pathways()
    for pathway in (0, 1):
        channels, narrow = inputs[pathway], inner[pathway]
        for number in range(depth):
            block = Block(channels, narrow, 4 * narrow, kernels[pathway], 1 if number else stride)
            both.add_module(f"pathway{pathway}_res{number}", block)
            channels = 4 * narrow
    return both


class Lateral(nn.Module):
    """The slow network's channels, and twice the fast one's at the slow one's frames."""

    def __init__(self, channels: int, alpha: int, kernel: int) -> None:
        super().__init__()
        self.conv_f2s = nn.Conv2d(channels, 2 * channels, (kernel, 1), (alpha, 1), (kernel // 2, 0), bias=False)
        self.bn = nn.BatchNorm2d(2 * channels)

    def forward(self, slow: Tensor, fast: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([slow, self.bn(self.conv_f2s(fast)).relu()], dim=1), fast


class AudioSlowFast(nn.Module):
    """Slow-Fast on pieces of a spectrogram: a random one in training, `test_views` otherwise, averaged.

    The fast network has `1 / beta` of the slow one's channels (`width` in its stem), the slow one `1 / alpha` of the
    frames. `freeze_norms` keeps the batch norms behind the stem as they are, for training on from `checkpoint`.
    """

    def __init__(
        self,
        heads: Mapping[str, int],
        view_frames: int = 512,
        test_views: int = 2,
        depths: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
        alpha: int = 4,
        beta: int = 8,
        fusion_kernel: int = 7,
        dropout: float = 0.5,
        freeze_norms: bool = False,
        checkpoint: Path | str | None = None,
    ) -> None:
        super().__init__()
        self.view_frames, self.test_views, self.alpha, self.freeze_norms = view_frames, test_views, alpha, freeze_norms
        widths = width, width // beta
        self.s1 = stem(widths)
        channels = widths
        for number, (depth, kernels) in enumerate(zip(depths, STAGE_KERNELS, strict=True), start=2):
            self.add_module(f"s{number - 1}_fuse", Lateral(channels[1], alpha, fusion_kernel))
            inner = [2 ** (number - 2) * w for w in widths]
            inputs = channels[0] + 2 * channels[1], channels[1]
            self.add_module(f"s{number}", stage(inputs, inner, kernels, depth, stride=1 if number == 2 else 2))
            channels = 4 * inner[0], 4 * inner[1]
        self.dropout = nn.Dropout(dropout)
        self.head = Heads(sum(channels), heads)
        self.head.initialise(0.01)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if checkpoint is not None:
            self.load(Path(checkpoint))
        self.train()

    def load(self, path: Path) -> None:
        """The authors' weights, all but the classifiers."""
        state = {key: value for key, value in read_weights(path).items() if not key.startswith("head.")}
        own = {f"head.{key}": value for key, value in self.head.state_dict().items()}
        put(self, state | own, path)

    def train(self, mode: bool = True) -> Self:
        """Training mode, without the frozen batch norms."""
        super().train(mode)
        for name, module in self.named_modules():
            if self.freeze_norms and isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm) and name not in UNFROZEN:
                module.eval().requires_grad_(False)
        return self

    def features(self, x: Tensor) -> Tensor:
        """Spectrograms (n, frames, bins) to (n, channels)."""
        fast = x.unsqueeze(1)
        frames = torch.linspace(0, x.shape[1] - 1, x.shape[1] // self.alpha, device=x.device).long()
        slow, fast = self.s1(fast[:, :, frames], fast)
        for number in range(2, 6):
            slow, fast = self.get_submodule(f"s{number - 1}_fuse")(slow, fast)
            slow, fast = self.get_submodule(f"s{number}")(slow, fast)
        return torch.cat([slow.mean((2, 3)), fast.mean((2, 3))], dim=1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Spectrograms (batch, frames, bins) to logits by head; of several pieces, the logarithm of their mean."""
        count = 1 if self.training else self.test_views
        pieces = views(x, self.view_frames, count, random=self.training)
        logits = self.head(self.dropout(self.features(pieces.flatten(0, 1))))
        if count == 1:
            return logits
        return {
            name: values.unflatten(0, (-1, count)).log_softmax(2).logsumexp(1) - log(count)
            for name, values in logits.items()
        }
