"""The published ImageNet weights of DAT (2022 layout, square images), put into a trunk for spectrograms.

The first convolution is summed over red, green and blue where the input has one channel (as in AST, Gong et al. 2021,
section 2.2); position bias tables are interpolated to the trunk's windows and maps.
"""

import math
import re
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workflow_scripts.errors import UserError
from workflow_scripts.models.pretrained import read_weights

PATCHES = {"conv": "0", "norm": "1.norm"}
PERCEPTRON = {"0": "linear1", "2": "linear2"}
OFFSETS = {"depthwise": "0", "norm": "1.norm", "project": "3"}
# The classifier, tables of numbers, and what a trunk without offsets, or without norms in their network, leaves out.
DISPENSABLE = re.compile(r"cls_head\.|.*\.(relative_position_index$|attn_mask$|conv_offset\.|rpe_table$)")


def published_name(key: str) -> str:
    """The published name of a parameter of `Dat`."""
    match key.split("."):
        case ["patch_proj", part, kind]:
            name = f"patch_proj.{PATCHES[part]}.{kind}"
        case ["down_projs", stage, part, kind]:
            name = f"down_projs.{stage}.{PATCHES[part]}.{kind}"
        case ["stages", stage, block, ("attention_norm" | "mlp_norm") as norm, kind]:
            name = f"stages.{stage}.layer_norms.{2 * int(block) + (norm == 'mlp_norm')}.norm.{kind}"
        case ["stages", stage, block, "mlp", layer, kind]:
            name = f"stages.{stage}.mlps.{block}.chunk.{PERCEPTRON[layer]}.{kind}"
        case ["stages", stage, block, "attention", "conv_offset", part, kind]:
            name = f"stages.{stage}.attns.{block}.conv_offset.{OFFSETS[part]}.{kind}"
        case ["stages", stage, block, "attention", *rest]:
            name = f"stages.{stage}.attns.{block}.{'.'.join(rest)}"
        case [norm, kind]:
            name = f"{norm}.norm.{kind}"
    return name


def joined(state: dict[str, Tensor], name: str) -> Tensor | None:
    """The projections of a deformable attention, taken out of the state, as the one of a window attention."""
    parts = [state.pop(name.replace("proj_qkv", f"proj_{part}"), None) for part in "qkv"]
    present = [part for part in parts if part is not None]
    return torch.cat(present) if len(present) == 3 else None


def fitted(name: str, found: Tensor, wanted: torch.Size) -> Tensor:
    """A published parameter in the shape that the trunk wants where there is a known way, or as it is."""
    if name.endswith("relative_position_bias_table") and found.dim() == 2:
        side = math.isqrt(len(found))
        found = found[: side * side].T.unflatten(1, (side, side))
    if name.endswith("_table") and len(found) == wanted[0] and found.shape != wanted:
        return F.interpolate(found[None], wanted[1:], mode="bicubic")[0]
    if name == "patch_proj.0.weight" and wanted[1] == 1:
        return found.sum(1, keepdim=True)
    if len(wanted) == 2 and found.shape[2:] == (1, 1):
        return found[:, :, 0, 0]
    return found


def load_square(trunk: nn.Module, path: Path) -> list[str]:
    """Puts published weights into a `Dat`; returns the published names of parameters that keep their first values.

    Those are the offset networks' convolutions of another kernel size and, where windows stand in the place of
    deformable attention, their bias tables. What else is missing, too much or of another shape is a `UserError`.
    """
    state = read_weights(path)
    new: dict[str, Tensor] = {}
    kept = []
    for key, own in trunk.state_dict().items():
        name = published_name(key)
        found = state.pop(name, None)
        if found is None and "proj_qkv" in name:
            found = joined(state, name)
        if found is None:
            if name.replace("relative_position_bias_table", "rpe_table") in state:
                kept.append(name)
                continue
            raise UserError(f"{path}: '{name}' is missing; give published weights of DAT of the network's size")
        value = fitted(name, found, own.shape)
        if value.shape == own.shape:
            new[key] = value
        elif name.endswith("conv_offset.0.weight") and value.shape[:2] == own.shape[:2]:
            kept.append(name)
        else:
            raise UserError(
                f"{path}: '{name}' has shape {tuple(found.shape)} instead of {tuple(own.shape)}; "
                "give published weights of DAT of the network's size"
            )
    if extra := next((name for name in state if not DISPENSABLE.match(name)), None):
        raise UserError(f"{path}: '{extra}' has no place in the network; give published weights of DAT of its size")
    trunk.load_state_dict(new, strict=False)
    return kept
