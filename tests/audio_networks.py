"""What tests of classifiers of spectrograms share."""

import torch
from torch import nn

from workflow_scripts.models.audio_classifiers import build

HEADS = {"verb": 5, "noun": 7}


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def on_meta(settings: dict, shape: tuple[int, int], heads: dict[str, int]) -> nn.Module:
    with torch.device("meta"):
        return build(settings, shape, heads)


def shuffled(model: nn.Module) -> nn.Module:
    """The model in eval mode, with random statistics and scales in its batch norms."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return model.eval()
