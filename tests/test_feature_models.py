"""The networks behind the feature extractors, against outputs of their reference implementations."""

import csv
import json
import math
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from workflow_scripts.errors import UserError
from workflow_scripts.features.extractors import efficientnet_lite0, vgg16, vggish
from workflow_scripts.models.efficientnet_lite import EfficientNetLite0
from workflow_scripts.models.mel import htk_filters
from workflow_scripts.models.pretrained import pretrained
from workflow_scripts.models.vggish import LogMel, Vggish

torch.set_num_threads(1)


def filled(build: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """The state dict of a network without batch norms, with the values on which the golden outputs rest:
    sin(12.9898 i + phase of the key), scaled by the layer's inputs. Sums of angles save 138 million sines."""
    with torch.device("meta"):
        state = build().state_dict()
    low = torch.arange(65536, dtype=torch.float64) * 12.9898
    result = {}
    for key, old in state.items():
        phase = (zlib.crc32(key.encode()) % 10007) / 10007 * 2 * math.pi
        high = torch.arange(math.ceil(old.numel() / 65536), dtype=torch.float64)[:, None] * 65536 * 12.9898 + phase
        wave = high.sin().float() * low.cos().float() + high.cos().float() * low.sin().float()
        value = wave.flatten()[: old.numel()].reshape(old.shape)
        result[key] = value * (0.05 if old.dim() == 1 else math.sqrt(2 / math.prod(old.shape[1:])))
    return result


def signal(*shape: int) -> Tensor:
    i = torch.arange(math.prod(shape), dtype=torch.float64)
    return (0.6 * torch.sin(i * 0.0137) + 0.4 * torch.sin(i * 0.2713 + 1)).reshape(shape).float()


def assert_golden(output: Tensor, golden: dict) -> None:
    flat = output.flatten().double()
    assert len(flat) == golden["n"]
    assert flat[:8].tolist() == pytest.approx(golden["first"], rel=1e-4, abs=1e-5)
    assert flat[-4:].tolist() == pytest.approx(golden["last"], rel=1e-4, abs=1e-5)
    assert flat.mean().item() == pytest.approx(golden["mean"], rel=1e-4)
    assert flat.std().item() == pytest.approx(golden["std"], rel=1e-4)


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict:
    return json.loads((shared / "checkpoints" / "golden.json").read_text())


def saved(build: Callable[[], nn.Module], folder: Path, name: str) -> Iterator[Path]:
    """A weights file in the layout and old file format of the published one, removed after the tests."""
    path = folder / name
    torch.save(filled(build), path, _use_new_zipfile_serialization=False)
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def vggish_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield from saved(Vggish, tmp_path_factory.mktemp("vggish"), "vggish-10086976.pth")


@pytest.fixture(scope="module")
def vgg16_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    from torchvision.models import vgg16 as torchvision_vgg16

    yield from saved(torchvision_vgg16, tmp_path_factory.mktemp("vgg16"), "vgg16-397923af.pth")


def layout(path: Path) -> dict[str, str]:
    with path.open() as file:
        return {row["key"]: row["shape"] for row in csv.DictReader(file, delimiter="\t")}


def shapes(network: nn.Module) -> dict[str, str]:
    return {key: "x".join(map(str, tensor.shape)) for key, tensor in network.state_dict().items()}


def test_vggish_has_the_published_layout(shared: Path) -> None:
    with torch.device("meta"):
        network = Vggish()
    assert shapes(network) == layout(shared / "checkpoints" / "vggish.tsv")
    assert sum(p.numel() for p in network.parameters()) == 72_141_184


@torch.inference_mode()
def test_vggish_gives_the_reference_output(vggish_file: Path, golden: dict) -> None:
    patches = signal(3, 1, 96, 64)[:, 0]
    assert_golden(pretrained(lambda: Vggish(final_relu=True), vggish_file)(patches), golden["vggish"]["output"])
    before = pretrained(Vggish, vggish_file)(patches)
    assert before.min() < 0
    assert_golden(before.relu(), golden["vggish"]["output"])


@torch.inference_mode()
def test_vggish_extractor_hears_each_patch_of_a_clip(vggish_file: Path) -> None:
    extractor = vggish.Extractor(hop_frames=30)
    waveforms = 0.1 * np.random.default_rng(0).standard_normal((2, 32_000)).astype(np.float32)
    features = extractor.load({"vggish_weights": vggish_file}, "cpu")(waveforms)
    assert features.shape == (2, *extractor.shape(2.0)) == (2, 4, 128)
    patch = LogMel()(torch.from_numpy(waveforms[1:, 3 * 30 * 160 :]), 96)[0, :1]
    expected = pretrained(Vggish, vggish_file)(patch)[0]
    np.testing.assert_allclose(features[1, 3], expected, rtol=1e-4, atol=1e-4)


def test_vggish_front_end_follows_its_definition() -> None:
    waveform = signal(1, 16_000).double()
    patches = LogMel()(waveform.float(), 6)
    assert patches.shape == (1, 1, 96, 64)
    frame = 40
    samples = waveform[0, frame * 160 : frame * 160 + 400].numpy()
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    magnitudes = np.abs(np.exp(-2j * np.pi * np.outer(np.arange(257), np.arange(400)) / 512) @ (samples * window))

    def mel(hertz: np.ndarray) -> np.ndarray:
        return 1127 * np.log(1 + hertz / 700)

    edges = np.linspace(mel(np.array(125)), mel(np.array(7500)), 66)
    bins = mel(np.arange(257) * 16_000 / 512)
    bands = [np.interp(bins, edges[b : b + 3], [0, 1, 0]) @ magnitudes for b in range(64)]
    np.testing.assert_allclose(patches[0, 0, frame], np.log(np.array(bands) + 0.01), rtol=1e-4, atol=1e-4)


def test_silence_and_short_clips_have_a_vggish_input() -> None:
    patches = LogMel()(torch.zeros(1, 800), 6)
    assert patches.shape == (1, 1, 96, 64)
    torch.testing.assert_close(patches, torch.full_like(patches, math.log(0.01)))


def test_htk_filters_are_triangles_with_peaks_of_at_most_one() -> None:
    filters = htk_filters(16_000, 512, 64, 125.0, 7500.0)
    assert filters.shape == (257, 64)
    assert filters[0].sum() == 0
    assert filters.max() <= 1
    assert (filters.sum(0) > 0).all()


@torch.inference_mode()
def test_vgg16_gives_the_reference_output(vgg16_file: Path, golden: dict) -> None:
    network = vgg16.fc7(vgg16_file)
    assert_golden(network(signal(1, 3, 224, 224)), golden["torchvision_vgg16"]["fc7_after_relu"])


@torch.inference_mode()
def test_vgg16_sees_frames_as_torchvision_prepares_them(vgg16_file: Path) -> None:
    from PIL import Image
    from torchvision.models import VGG16_Weights

    from workflow_scripts.features.images import fit

    yy, xx = np.mgrid[:180, :320]
    picture = np.stack([yy, xx // 2, (yy * xx) // 256], -1).astype(np.uint8)
    frames = fit(picture[None], 224, "resize256_crop")
    extractor = vgg16.Extractor(frames_per_clip=1, resize="resize256_crop")
    features = extractor.load({"vgg16_weights": vgg16_file}, "cpu")(frames[None])
    assert features.shape == (1, *extractor.shape(10.0)) == (1, 1, 4096)
    prepared = VGG16_Weights.IMAGENET1K_V1.transforms()(Image.fromarray(picture))
    expected = vgg16.fc7(vgg16_file)(prepared[None])[0].numpy()
    assert np.abs(features[0, 0] - expected).max() < 0.02 * expected.max()


def test_efficientnet_equals_the_reference_package(asset: Callable[[str], Path]) -> None:
    """Logits of efficientnet-lite-pytorch 0.1.0 for the same input and weights."""
    network = pretrained(EfficientNetLite0, asset("efficientnet_lite0_weights"))
    assert sum(p.numel() for p in network.parameters()) == 4_652_008
    reference = {
        128: ([-1.11136, 0.07483, -1.89008, -3.807], -0.10971912, 1.82598042),
        224: ([-0.54396, 0.18152, -0.80014, -1.4295], -0.06445802, 1.17880750),
    }
    with torch.inference_mode():
        for size, (first, mean, deviation) in reference.items():
            images = signal(1, 3, size, size)
            logits = network(images)
            assert logits[0, :4].tolist() == pytest.approx(first, abs=1e-4)
            assert (logits.mean().item(), logits.std().item()) == pytest.approx((mean, deviation), abs=1e-4)
        plain = network.features(images)
        torch.testing.assert_close(network.fuse().features(images), plain, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_efficientnet_recognises_photographs(asset: Callable[[str], Path]) -> None:
    """ImageNet's 698 is a palace and 985 a daisy; through the extractor, so that its pixel scaling is tested too."""
    from sklearn.datasets import load_sample_images

    from workflow_scripts.features.images import fit

    weights = asset("efficientnet_lite0_weights")
    frames = np.stack([fit(image[None], 224, "resize256_crop") for image in np.array(load_sample_images().images)])
    extractor = efficientnet_lite0.Extractor(frames_per_clip=1, size=224)
    features = extractor.load({"efficientnet_lite0_weights": weights}, "cpu")(frames)
    assert features.shape == (2, *extractor.shape(5.0)) == (2, 1, 1280)
    classifier = pretrained(EfficientNetLite0, weights)._fc
    assert classifier(torch.from_numpy(features[:, 0])).argmax(1).tolist() == [698, 985]


def test_files_that_are_not_the_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match=r"weights\.pth: not a file of PyTorch weights"):
        pretrained(EfficientNetLite0, path)
    torch.save(nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(UserError, match="weights of another network than EfficientNetLite0"):
        pretrained(EfficientNetLite0, path)
    torch.save(nn.Linear(2, 2), path)
    with pytest.raises(UserError, match="not a file of PyTorch weights"):
        pretrained(EfficientNetLite0, path)
    with pytest.raises(UserError, match="not a file of PyTorch weights"):
        pretrained(EfficientNetLite0, tmp_path / "absent.pth")
