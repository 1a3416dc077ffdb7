"""The residual network of VGGSound.

Chen et al., "VGGSound: a large-scale audio-visual dataset", ICASSP 2020, section 4: torchvision's ResNet with a stem of
one channel on a log spectrogram, pooled by its mean or by NetVLAD (Arandjelovic et al., CVPR 2016, section 3.1).
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock, Bottleneck

from workflow_scripts.models.audio_parts import Heads

# blocks of each stage by depth
DEPTHS: dict[int, tuple[type[BasicBlock | Bottleneck], tuple[int, ...]]] = {
    10: (BasicBlock, (1, 1, 1, 1)),
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
}


class NetVlad(nn.Module):
    """Residuals of local features to the clusters they lie near, summed, each cluster's and then all of length 1.

    `alpha`: how sharply a feature belongs to its nearest cluster only, at the beginning.
    """

    def __init__(self, features: int, clusters: int = 16, alpha: float = 100.0) -> None:
        super().__init__()
        self.centroids = nn.Parameter(torch.rand(clusters, features))
        self.assignment = nn.Linear(features, clusters)
        with torch.no_grad():
            self.assignment.weight.copy_(2 * alpha * self.centroids)
            self.assignment.bias.copy_(-alpha * self.centroids.norm(dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, features, bins, frames) to (batch, clusters * features)."""
        local = F.normalize(x.flatten(2), dim=1).transpose(1, 2)
        shares = self.assignment(local).softmax(2)
        residuals = shares.transpose(1, 2) @ local - shares.sum(1)[:, :, None] * self.centroids
        return F.normalize(F.normalize(residuals, dim=2).flatten(1), dim=1)


class AudioResNet(nn.Module):
    """ResNet of one of the DEPTHS on spectrograms; `width`: channels of the first stage, 64 in the publication."""

    def __init__(
        self,
        heads: Mapping[str, int],
        depth: int = 18,
        width: int = 64,
        pooling: Literal["mean", "netvlad"] = "mean",
        clusters: int = 16,
    ) -> None:
        super().__init__()
        block, counts = DEPTHS[depth]
        self.conv1 = nn.Conv2d(1, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages = nn.Sequential()
        channels = width
        for number, count in enumerate(counts):
            planes = width * 2**number
            self.stages.append(stage(block, channels, planes, count, stride=2 if number else 1))
            channels = planes * block.expansion
        netvlad = pooling == "netvlad"
        self.pool = NetVlad(channels, clusters) if netvlad else nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.heads = Heads(channels * clusters if netvlad else channels, heads)
        for module in self.modules():  # as the published code
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1, 0.02)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Spectrograms (batch, frames, bins) to logits by head."""
        x = self.bn1(self.conv1(x.transpose(1, 2).unsqueeze(1))).relu()
        x = self.stages(F.max_pool2d(x, 3, stride=2, padding=1))
        return self.heads(self.pool(x))


def stage(block: type[BasicBlock | Bottleneck], channels: int, planes: int, count: int, stride: int) -> nn.Sequential:
    """Residual blocks of one resolution; the first has a projection where the shape changes."""
    outputs = planes * block.expansion
    projection = None
    if stride != 1 or channels != outputs:
        projection = nn.Sequential(nn.Conv2d(channels, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    first = block(channels, planes, stride, projection)
    return nn.Sequential(first, *(block(outputs, planes) for _ in range(1, count)))
