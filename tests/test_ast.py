"""The audio spectrogram transformer: it is DeiT, and published weights fit it."""

import csv
from pathlib import Path

import pytest
import torch
from audio_networks import HEADS, on_meta, parameters
from hypothesis import given
from hypothesis import strategies as st
from timm.models.deit import VisionTransformerDistilled

from workflow_scripts.errors import UserError
from workflow_scripts.models.ast import Ast, fit, from_deit
from workflow_scripts.models.pretrained import put


def deit(side: int, **keywords: int) -> VisionTransformerDistilled:
    return VisionTransformerDistilled(img_size=16 * side, patch_size=16, num_classes=1000, **keywords)


def test_ast_with_deit_weights_is_deit(tmp_path: Path) -> None:
    """On a square of patches that do not overlap, which equals an image whose colours are all the spectrogram."""
    torch.manual_seed(0)
    reference = deit(3, embed_dim=24, depth=2, num_heads=3).eval()
    torch.save({"model": reference.state_dict()}, tmp_path / "deit.pth")
    keywords = {"dims": 24, "depth": 2, "attention_heads": 3, "stride": 16}
    model = Ast((48, 48), {"class": 4}, **keywords, checkpoint=tmp_path / "deit.pth").eval()
    x = torch.randn(2, 48, 48)
    with torch.no_grad():
        tokens = reference.forward_features(x.transpose(1, 2)[:, None].expand(-1, 3, -1, -1))[:, :2]
        expected = model.heads(model.norm((tokens[:, 0] + tokens[:, 1]) / 2))["class"]
        torch.testing.assert_close(model(x)["class"], expected)


def test_ast_refuses_other_weights(tmp_path: Path) -> None:
    torch.save(deit(3, embed_dim=24, depth=1, num_heads=3).state_dict(), tmp_path / "deit.pth")
    with pytest.raises(UserError, match=r"deit\.pth: weights of another network .* differs"):
        Ast((48, 48), {"class": 4}, dims=24, depth=2, attention_heads=3, checkpoint=tmp_path / "deit.pth")


def test_published_deit_fits_full_size_ast(shared: Path) -> None:
    """All keys and shapes of the published file; the parameters of AST follow from them."""
    with (shared / "checkpoints" / "timm_deit_base_distilled_patch16_384.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    state = {row["key"]: torch.empty([int(n) for n in row["shape"].split("x")], device="meta") for row in rows}
    model = on_meta({"kind": "ast"}, (1024, 128), {"class": 527})
    assert model.grid == (12, 101)
    assert model.trunk.pos_embed.shape == (1, 1214, 768)
    put(model.trunk, from_deit(state, model.grid), Path("published"))
    weights = sum(value.numel() for key, value in state.items() if not key.startswith("head"))
    kernel, positions, head = 16 * 16 * 768, 768, 2 * 768 + 769 * 527
    assert parameters(model) == weights - 2 * kernel + (1212 - 24 * 24) * positions + head
    assert round(parameters(model) / 1e6) == 87


def test_ast_positions_are_cut_and_interpolated() -> None:
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    square = torch.stack([rows, columns], dim=2).flatten(0, 1)
    state = {"pos_embed": torch.cat([torch.full((2, 2), -1.0), square])[None]}
    found = from_deit(state, (12, 101))["pos_embed"][0]
    assert (found[:2] == -1).all()
    planes = found[2:].unflatten(0, (12, 101))
    torch.testing.assert_close(planes[:, :, 0], torch.arange(6.0, 18.0)[:, None].expand(12, 101))
    places = ((torch.arange(101) + 0.5) * 24 / 101 - 0.5).clamp(0, 23)
    torch.testing.assert_close(planes[:, :, 1], places.expand(12, 101))


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([2, 3]))
def test_fitting_keeps_the_middle(old: int, new: int, axis: int) -> None:
    plane = torch.arange(float(old)).reshape(1, 1, *((old, 1) if axis == 2 else (1, old)))
    found = fit(plane, axis, new).flatten()
    assert len(found) == new
    assert (found.diff() >= 0).all()
    assert abs(found.mean() - plane.mean()) <= 1


def test_ast_refuses_spectrograms_below_a_patch() -> None:
    with pytest.raises(UserError, match="8 frames x 128 bins are smaller"):
        Ast((8, 128), HEADS)
