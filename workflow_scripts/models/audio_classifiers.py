"""Classifiers of log spectrograms (batch, frames, bins): how settings become one of them.

Each returns a dict of logits (batch, classes) by the name of the head: one for a single label, two for verb and noun.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from torch import nn

from workflow_scripts.errors import UserError


def build(settings: BaseModel | Mapping[str, Any], shape: tuple[int, int], heads: Mapping[str, int]) -> nn.Module:
    """The network of settings with a `kind` and that network's keywords.

    `shape`: (frames, bins) of the features; `heads`: the number of classes by head.
    """
    values = settings.model_dump() if isinstance(settings, BaseModel) else dict(settings)
    kind = values.pop("kind")
    match kind:
        case "datar":
            from workflow_scripts.models.dat import Datar

            return Datar(shape=shape, heads=dict(heads), **values)
        case "ast":
            from workflow_scripts.models.ast import Ast

            return Ast(shape, heads, **values)
        case "resnet":
            from workflow_scripts.models.audio_resnet import AudioResNet

            return AudioResNet(heads, **values)
        case "slowfast":
            from workflow_scripts.models.audio_slowfast import AudioSlowFast

            return AudioSlowFast(heads, **values)
        case "tbn":
            from workflow_scripts.models.audio_tbn import AudioTbn

            return AudioTbn(shape, heads, **values)
    raise UserError(f"there is no audio classifier '{kind}'; use datar, ast, resnet, slowfast or tbn")
