"""Features through their jobs and the extractors' interface."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.errors import UserError
from workflow_scripts.features.align import align
from workflow_scripts.features.extract import features_of
from workflow_scripts.features.extractors import efficientnet_lite0, logmel, vgg16, vggish, yamnet
from workflow_scripts.features.images import fit
from workflow_scripts.features.plan import ExtractFeatures, extract_features
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.papers import Feature
from workflow_scripts.settings.scale import Scale
from workflow_scripts.shards import STATE, ClipError, Reason, Row, Status, array_field, read, stack, write

ROOT = Path(__file__).parent.parent


def test_full_scale_shapes_are_the_papers() -> None:
    assert logmel.Extractor(sample_rate=22_100, hop=366).shape(10.0) == (604, 128)
    assert vggish.Extractor(hop_frames=6).shape(10.0) == (151, 128)
    assert vgg16.Extractor(frames_per_clip=151).shape(10.0) == (151, 4096)
    times = vgg16.Extractor(frames_per_clip=151).times(10.0)
    assert (times[0], times[-1], len(times)) == (0.5 * 10 / 151, pytest.approx(150.5 * 10 / 151), 151)
    assert vggish.Extractor(hop_frames=6).shape(0.5) == (1, 128)
    assert yamnet.Extractor(hop_frames=48).shape(5.0) == (9, 1024)


def test_planning_imports_no_heavy_library() -> None:
    names = ["efficientnet_lite0", "logmel", "vgg16", "vggish", "yamnet"]
    imports = "; ".join(f"import workflow_scripts.features.extractors.{name}" for name in names)
    heavy = "torch librosa torchvision torchaudio cv2"
    check = f"import sys; {imports}; print([m for m in '{heavy}'.split() if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("log", ["ln", "db"])
@pytest.mark.parametrize("settings", [{}, {"sample_rate": 16_000, "window": 1024, "hop": 500, "mels": 40}])
def test_logmel_equals_librosa(log: str, settings: dict) -> None:
    import librosa

    extractor = logmel.Extractor(log=log, **settings)
    samples = extractor.samples(2.0)
    waveforms = np.random.default_rng(0).uniform(-1, 1, (2, samples)).astype(np.float32)
    waveforms[1] *= np.geomspace(1, 1e-6, samples)
    features = extractor.load({}, "cpu")(waveforms)
    assert features.shape == (2, *extractor.shape(2.0))
    for waveform, found in zip(waveforms, features, strict=True):
        spectrum = librosa.stft(waveform, n_fft=extractor.window, hop_length=extractor.hop, pad_mode="reflect")
        filters = librosa.filters.mel(sr=extractor.sample_rate, n_fft=extractor.window, n_mels=extractor.mels)
        mel = filters @ np.abs(spectrum)
        expected = librosa.amplitude_to_db(mel) if log == "db" else np.log(mel + 1e-5)
        np.testing.assert_allclose(found, expected.T, atol=1e-4, rtol=1e-4)


@given(st.integers(1, 200), st.integers(1, 200), st.lists(st.integers(0, 10**6), min_size=1, max_size=3, unique=True))
def test_align_takes_the_nearest_centre(n: int, frames: int, marks: list[int]) -> None:
    features = np.stack([np.arange(n), *(np.full(n, mark) for mark in marks)], axis=-1)
    aligned = align(features, frames)
    assert aligned.shape == (frames, 1 + len(marks))
    chosen = aligned[:, 0]
    distance = np.abs((chosen + 0.5) / n - (np.arange(frames) + 0.5) / frames)
    every = np.abs((np.arange(n)[:, None] + 0.5) / n - (np.arange(frames) + 0.5) / frames)
    np.testing.assert_allclose(distance, every.min(0), atol=1e-9)
    assert (np.diff(chosen) >= 0).all()
    assert (aligned[:, 1:] == marks).all()  # vectors stay whole


@given(st.integers(1, 300))
def test_align_leaves_equal_rates_alone(n: int) -> None:
    features = np.random.default_rng(n).standard_normal((2, n, 3))
    np.testing.assert_array_equal(align(features, n), features)


def test_fit_squeezes_or_crops() -> None:
    frames = np.zeros((2, 64, 128, 3), np.uint8)
    frames[:, :, 64:] = 200  # the right half is bright
    frames[:, :, :16, 0] = 255  # a red stripe at the left edge
    squeezed = fit(frames, 32, "direct")
    assert squeezed.shape == (2, 32, 32, 3)
    assert (squeezed[:, :, 1, 0] == 255).all()
    assert (squeezed[:, :, 20] == 200).all()
    cropped = fit(frames, 32, "resize256_crop")
    assert cropped.shape == (2, 32, 32, 3)
    assert cropped[:, :, :14].max() == 0  # the stripe is cut off
    assert (cropped[:, :, 18:] == 200).all()
    assert fit(frames[:, :, :64], 64, "direct").shape == (2, 64, 64, 3)


def audio_shard(path: Path, waveforms: dict[str, np.ndarray], sample_rate: int, clip_seconds: float) -> Path:
    """An audio shard with the given clips and one that could not be fetched."""
    field = array_field("audio", "int16", [round(sample_rate * clip_seconds)])
    schema = pa.schema([pa.field("clip_id", pa.string()), pa.field("seconds", pa.float64()), field, *STATE])
    rows: list[Row] = [
        {"clip_id": name, "seconds": clip_seconds, "audio": waveform.astype(np.int16).tobytes(), "status": "ok"}
        for name, waveform in waveforms.items()
    ]
    rows.insert(1, {"clip_id": "gone", "status": "unavailable", "reason": "removed", "detail": "by its owner"})
    write(path, rows, schema)
    return path


def test_audio_features_through_the_job(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    loud, silent = rng.integers(-20_000, 20_000, 8000), np.zeros(8000)
    clips = {"a": loud, "b": loud // 4, "c": silent}
    shard = audio_shard(tmp_path / "audio.parquet", clips, 8000, 1.0)
    settings = logmel.Extractor(sample_rate=8000, peak_normalise=True, window=512, hop=100, mels=20)
    where = {"clips": shard, "store": tmp_path, "clip_seconds": 1.0}
    ExtractFeatures(extractor="logmel", settings=settings, batch=2, **where).run(tmp_path / "out.parquet")
    rows = {row["clip_id"]: (row["status"], row["reason"], row["seconds"]) for row in read(tmp_path / "out.parquet")}
    assert rows == {"gone": ("unavailable", "removed", None), **dict.fromkeys("abc", ("ok", None, 1.0))}
    table = pq.read_table(tmp_path / "out.parquet").filter(pa.compute.field("status") == "ok")
    features = stack(table, "features")
    assert features.dtype == np.float16
    assert features.shape == (3, 81, 20)
    np.testing.assert_allclose(features[0], features[1], atol=0.02)  # peaks are normalised
    np.testing.assert_allclose(features[2], np.float16(np.log(1e-5)))


def test_yamnet_features_tell_a_tone_from_noise(asset: Callable[[str], Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    time = np.arange(32_000) / 16_000
    clips = {
        "tone": 9000 * np.sin(2 * np.pi * 440 * time),
        "tone later": 9000 * np.sin(2 * np.pi * 450 * time + 1),
        "noise": rng.normal(0, 3000, 32_000),
    }
    shard = audio_shard(tmp_path / "audio.parquet", clips, 16_000, 2.0)
    assets = {name: asset(name) for name in yamnet.Extractor.assets}
    settings = yamnet.Extractor(hop_frames=48)
    where = {"clips": shard, "store": tmp_path, "clip_seconds": 2.0}
    ExtractFeatures(extractor="yamnet", settings=settings, assets=assets, **where).run(tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet").filter(pa.compute.field("status") == "ok")
    features = stack(table, "features").astype(np.float32)
    assert features.shape == (3, 3, 1024)
    tone, later, noise = features.mean(1) / np.linalg.norm(features.mean(1), axis=-1, keepdims=True)
    assert tone @ later > 0.9 > tone @ noise


def video(path: Path, colours: list[tuple[int, int, int]]) -> None:
    """A second of each colour at 5 frames a second."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for colour in colours:
            picture = np.full((64, 96, 3), colour, np.uint8)
            for _ in range(5):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def test_frame_features_through_the_job(asset: Callable[[str], Path], tmp_path: Path) -> None:
    red, blue = (220, 30, 30), (20, 40, 220)
    (tmp_path / "files").mkdir()
    video(tmp_path / "files" / "whole.mp4", [red, blue])
    video(tmp_path / "files" / "short.mp4", [red])
    (tmp_path / "files" / "bad.mp4").write_bytes(b"no video at all" * 50)
    schema = [pa.field("clip_id", pa.string()), pa.field("path", pa.string()), pa.field("seconds", pa.float64())]
    clips = [
        {"clip_id": name, "path": f"files/{name}.mp4", "seconds": seconds, "status": "ok"}
        for name, seconds in {"whole": 2.0, "bad": 2.0, "short": 1.0}.items()
    ]
    write(tmp_path / "clips.parquet", clips, pa.schema([*schema, *STATE]))
    ExtractFeatures(
        extractor="efficientnet_lite0",
        settings=efficientnet_lite0.Extractor(frames_per_clip=4, size=64),
        assets={"efficientnet_lite0_weights": asset("efficientnet_lite0_weights")},
        clips=tmp_path / "clips.parquet",
        store=tmp_path,
        clip_seconds=2.0,
    ).run(tmp_path / "out.parquet")
    rows = {row["clip_id"]: row for row in read(tmp_path / "out.parquet")}
    assert list(rows) == ["whole", "bad", "short"]
    assert rows["bad"]["status"] == Status.FAILED
    assert rows["bad"]["reason"] in {Reason.DECODE, Reason.NO_VIDEO}
    whole, short = (np.frombuffer(rows[name]["features"], np.float16).reshape(4, 1280) for name in ("whole", "short"))
    change = np.linalg.norm(whole[1:].astype(float) - whole[:-1], axis=1)
    assert change[1] > 5 * max(change[0], change[2])  # red until 1 s, blue from then on
    np.testing.assert_allclose(short[3], short[1], atol=0.1)  # its last frame stays


def test_values_beyond_half_precision_are_a_row_of_the_ledger() -> None:
    column = array_field("features", "float16", [1, 2])
    function = features_of(lambda rows: [row["x"] for row in rows], lambda batch: batch, column)
    values = ([1.0, 2.0], [1.0, 7e4], [1.0, np.nan])
    results = function([{"x": np.array([value], np.float32)} for value in values])
    assert np.frombuffer(results[0]["features"], np.float16).tolist() == [1.0, 2.0]
    assert all(isinstance(result, ClipError) and "half precision" in result.detail for result in results[1:])


def test_mistakes_are_named(tmp_path: Path) -> None:
    shard = audio_shard(tmp_path / "audio.parquet", {"a": np.ones(8000), "b": np.ones(8000)}, 8000, 1.0)
    wrong: dict[str, dict[str, Any]] = {
        "holds 8000 samples a clip, and 1 s at 22050 Hz are 22050; give the audio shard of that rate": {},
        "has no column 'path'": {
            "extractor": "efficientnet_lite0",
            "settings": efficientnet_lite0.Extractor(frames_per_clip=1),
        },
        f"{__file__}: not a readable Parquet file": {"clips": Path(__file__)},
    }
    job = ExtractFeatures(
        extractor="logmel", settings=logmel.Extractor(), clips=shard, store=tmp_path, clip_seconds=1.0
    )
    for sentence, change in wrong.items():
        with pytest.raises(UserError, match=re.escape(sentence)):
            job.model_copy(update=change).run(tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("extractor", "settings", "sentence"),
    [
        ("logmle", {}, "extractor: 'logmle' is not in workflow_scripts/features/extractors; did you mean 'logmel'?"),
        ("logmel", {"melz": 3}, "settings: unknown key 'melz'; did you mean 'mels'?"),
        ("logmel", {"hop": 0}, "settings: 'hop': input should be greater than or equal to 1 (found 0)"),
        ("tensor_images", {}, "the corpus 'dcase2018_task4' has no file 'training_images'"),
    ],
)
def test_mistakes_of_a_paper_are_named(
    extractor: str, settings: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale = Scale(ROOT, Config(), "full")
    features = {"sound": Feature(corpus="dcase", extractor=extractor, settings=settings)}
    paper = scale.paper("boes_avsed").model_copy(update={"features": features})
    monkeypatch.setattr(scale, "paper", lambda _: paper)
    with pytest.raises(UserError, match=rf"^papers/boes_avsed.*: features\.sound.*{re.escape(sentence)}"):
        extract_features(scale, "boes_avsed", "sound", "0")
