"""EfficientNet-lite0, a small ImageNet classifier.

Architecture: Tan and Le, "EfficientNet", ICML 2019; the lite variant (no squeeze and excitation, ReLU6) is Google's.
Parameter names are those of the package efficientnet-lite-pytorch.
"""

from typing import Self

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

MEAN, SCALE = 127.0, 128.0  # pixel values 0 … 255 become (value - MEAN) / SCALE
STEM, HEAD, CLASSES = 32, 1280, 1000
# (blocks, kernel, stride of the first block, expansion, output channels)
STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]
BATCH_NORM_OF = {
    "_conv_stem": "_bn0",
    "_conv_head": "_bn1",
    "_expand_conv": "_bn0",
    "_depthwise_conv": "_bn1",
    "_project_conv": "_bn2",
}


class Convolution(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": to ceil(size / stride), the odd row or column at the end."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        total = [max(0, (-(-side // stride) - 1) * stride + kernel - side) for side in x.shape[2:]]
        lead = [side % 2 for side in total]
        # One more at the end is the same at both sides of a kernel that begins with a zero, and that is smaller to pad.
        weight = F.pad(self.weight, (lead[1], 0, lead[0], 0)) if any(lead) else self.weight
        padding = [(side + 1) // 2 for side in total]
        return F.conv2d(x, weight, self.bias, self.stride, padding, groups=self.groups)


def norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """An inverted bottleneck: expand, depthwise convolution, project; with a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.shortcut = stride == 1 and inputs == outputs
        self.expands = expansion != 1
        if self.expands:
            self._expand_conv = Convolution(inputs, inner, 1)
            self._bn0 = norm(inner)
        self._depthwise_conv = Convolution(inner, inner, kernel, stride, groups=inner)
        self._bn1 = norm(inner)
        self._project_conv = Convolution(inner, outputs, 1)
        self._bn2 = norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu6(self._bn0(self._expand_conv(x)), inplace=True) if self.expands else x
        inner = F.relu6(self._bn1(self._depthwise_conv(inner)), inplace=True)
        inner = self._bn2(self._project_conv(inner))
        return inner + x if self.shortcut else inner


class EfficientNetLite0(nn.Module):
    """ImageNet features and scores of images (n, 3, height, width), pixels as (value - MEAN) / SCALE."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = Convolution(3, STEM, 3, stride=2)
        self._bn0 = norm(STEM)
        self._blocks = nn.ModuleList()
        channels = STEM
        for blocks, kernel, stride, expansion, outputs in STAGES:
            for position in range(blocks):
                self._blocks.append(Block(channels, outputs, kernel, 1 if position else stride, expansion))
                channels = outputs
        self._conv_head = Convolution(channels, HEAD, 1)
        self._bn1 = norm(HEAD)
        self._fc = nn.Linear(HEAD, CLASSES)

    def features(self, images: Tensor) -> Tensor:
        """The globally pooled last layer before the classifier, (n, 1280)."""
        x = F.relu6(self._bn0(self._conv_stem(images)), inplace=True)
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x)), inplace=True).mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """ImageNet scores before the softmax, (n, 1000)."""
        return self._fc(self.features(images))

    def fuse(self) -> Self:
        """Folds the batch norms into the convolutions before them, for inference."""
        for module in list(self.modules()):
            for convolution, batch_norm in BATCH_NORM_OF.items():
                if hasattr(module, convolution):
                    pair = getattr(module, convolution), getattr(module, batch_norm)
                    setattr(module, convolution, fuse_conv_bn_eval(*pair))
                    setattr(module, batch_norm, nn.Identity())
        return self
