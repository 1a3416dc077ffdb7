"""YAMNet and the reader of its TensorFlow checkpoint."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from composed.sounds.recordings import read
from workflow_scripts.errors import UserError
from workflow_scripts.formats.tensor_bundle import read_float_arrays
from workflow_scripts.models.yamnet import Yamnet, class_names

Asset = Callable[[str], Path]


@pytest.fixture(scope="module")
def bundle(asset: Asset) -> tuple[Path, Path]:
    return asset("yamnet_index"), asset("yamnet_weights")


@pytest.fixture(scope="module")
def network(bundle: tuple[Path, Path]) -> Yamnet:
    return Yamnet.from_bundle(*bundle)


def test_the_checkpoint_holds_every_float(bundle: tuple[Path, Path]) -> None:
    arrays = read_float_arrays(*bundle)
    assert sum(array.size for array in arrays.values()) == 3_751_371
    variances = [array for name, array in arrays.items() if "moving_variance" in name]
    assert len(variances) == 27
    assert all((variance >= 0).all() for variance in variances)


@pytest.mark.parametrize(
    "damage",
    [
        lambda index: index[:-1],
        lambda index: index[:20] + index[60:],
        lambda index: b"",
        lambda index: index[:-48] + b"\xff" * 40 + index[-8:],
        lambda index: index.replace(b"layer_with_weights", b"LAYER_with_weights"),
    ],
    ids=["cut short", "bytes missing", "empty", "footer overwritten", "other names"],
)
def test_a_damaged_index_is_one_sentence(
    bundle: tuple[Path, Path], tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    index = tmp_path / "damaged.index"
    index.write_bytes(damage(bundle[0].read_bytes()))
    with pytest.raises(UserError, match=r"damaged\.index.*fetch") as caught:
        Yamnet.from_bundle(index, bundle[1])
    assert "\n" not in str(caught.value)


def test_a_short_data_file_is_noticed(bundle: tuple[Path, Path], tmp_path: Path) -> None:
    data = tmp_path / "short.data"
    data.write_bytes(bundle[1].read_bytes()[:-6_000_000])
    with pytest.raises(UserError, match="does not fit"):
        read_float_arrays(bundle[0], data)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        read_float_arrays(tmp_path / "nowhere.index", tmp_path / "nowhere.data")


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 7729), st.integers(0, 255)), min_size=1, max_size=20))
def test_no_damage_to_the_index_ends_in_anything_but_a_user_error(
    asset: Asset, tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    damaged = bytearray(asset("yamnet_index").read_bytes())
    for position, value in changes:
        damaged[position] = value
    index = tmp_path_factory.getbasetemp() / "fuzzed.index"
    index.write_bytes(damaged)
    try:
        read_float_arrays(index, asset("yamnet_weights"))
    except UserError as error:
        assert "fuzzed.index" in str(error)


def test_shapes(network: Yamnet) -> None:
    log_mel = network.log_mel(torch.randn(2, 32_000))
    assert log_mel.shape == (2, 198, 64)
    patches = network.patches(log_mel, hop_frames=24)
    assert patches.shape == (2, 5, 96, 64)
    assert torch.equal(patches[1, 2], log_mel[1, 48:144])
    with torch.inference_mode():
        scores, embeddings = network(patches[0])
        assert network.feature_map(patches[0]).shape == (5, 1024, 3, 2)
    assert scores.shape == (5, 521)
    assert embeddings.shape == (5, 1024)
    assert 0 <= scores.min() <= scores.max() <= 1


def test_a_short_waveform_fills_one_patch(network: Yamnet) -> None:
    assert network.patches(network.log_mel(torch.zeros(1, 800)), hop_frames=48).shape == (1, 1, 96, 64)


def test_a_louder_tone_lies_in_its_mel_band(network: Yamnet) -> None:
    seconds = torch.arange(16_000) / 16_000
    quiet, loud = (network.log_mel(a * torch.sin(2 * torch.pi * 1000 * seconds)[None])[0].mean(0) for a in (0.1, 0.2))
    assert int(loud.argmax()) == int(quiet.argmax())
    edges = np.linspace(1127 * np.log1p(125 / 700), 1127 * np.log1p(7500 / 700), 66)
    assert int(loud.argmax()) == int(np.abs(edges[1:-1] - 1127 * np.log1p(1000 / 700)).argmin())
    assert loud.max() - quiet.max() == pytest.approx(np.log(2), abs=0.01)


def test_a_batch_is_its_clips(network: Yamnet) -> None:
    patches = torch.randn(3, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together = network(patches)[1]
        alone = torch.cat([network(patch[None])[1] for patch in patches])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("recording", "label"), [("dog", "Dog"), ("cow", "Moo"), ("duck", "Duck"), ("rooster", "Chicken, rooster")]
)
def test_real_recordings_are_heard(asset: Asset, network: Yamnet, recording: str, label: str) -> None:
    audio = read(asset(f"{recording}_recording"))[: 10 * 32_000]
    names = class_names(asset("yamnet_classes"))
    with torch.inference_mode():
        log_mel = network.log_mel(torch.from_numpy(audio[::2].copy())[None])
        scores, _ = network(network.patches(log_mel, hop_frames=48)[0])
    top_five = scores.mean(0).topk(5).indices.tolist()
    assert label in [names[index] for index in top_five]


def test_a_wrong_class_map_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    path.write_text("index,mid,display_name\n0,/m/09x0r,Speech\n", encoding="utf-8")
    with pytest.raises(UserError, match="expected 521 rows"):
        class_names(path)
