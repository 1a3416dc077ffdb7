"""Front ends of the audio classifiers against straightforward references, and through the command."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.errors import UserError
from workflow_scripts.features.extractors import kaldi_fbank, log_density, log_spectrogram
from workflow_scripts.features.plan import ExtractFeatures
from workflow_scripts.features.waveforms import lengths, repeated
from workflow_scripts.shards import STATE, array_field, pack, read, write

ROOT = Path(__file__).parent.parent
RNG = np.random.default_rng(5)


def noise(samples: int) -> np.ndarray:
    """Sound whose level rises by 80 dB, on top of a constant: float32 (samples,)."""
    return (RNG.uniform(-1, 1, samples) * np.geomspace(1e-4, 1, samples) * 0.9 + 0.05).astype(np.float32)


def kaldi(waveform: np.ndarray, rate: int, bins: int, shift_ms: float) -> np.ndarray:
    """Kaldi's filter bank energies in float64, written from its definition."""
    size, shift = int(rate * 0.025), int(rate * shift_ms / 1000)
    fft = 1 << (size - 1).bit_length()
    starts = range(0, len(waveform) - size + 1, shift)
    windows = np.stack([waveform[start : start + size].astype(float) for start in starts])
    windows -= windows.mean(axis=1, keepdims=True)
    windows -= 0.97 * np.concatenate([windows[:, :1], windows[:, :-1]], axis=1)
    power = np.abs(np.fft.rfft(windows * np.hanning(size), fft)) ** 2

    def mel(hertz: float | np.ndarray) -> np.ndarray:
        return 1127 * np.log1p(np.asarray(hertz) / 700)

    edges = np.linspace(mel(20), mel(rate / 2), bins + 2)
    place = mel(np.arange(fft // 2) * rate / fft)[:, None]
    rise, fall = (place - edges[:-2]) / (edges[1:-1] - edges[:-2]), (edges[2:] - place) / (edges[2:] - edges[1:-1])
    energy = power[:, :-1] @ np.clip(np.minimum(rise, fall), 0, None)
    return np.log(np.maximum(energy, np.finfo(np.float32).eps))


@pytest.mark.parametrize(("rate", "bins", "shift"), [(43_000, 128, 10), (16_000, 64, 10), (43_000, 128, 9.7674)])
def test_fbank_equals_kaldis_definition(rate: int, bins: int, shift: float) -> None:
    extractor = kaldi_fbank.Extractor(sample_rate=rate, bins=bins, frame_shift_ms=shift, frames=128)
    waveforms = np.stack([noise(rate), noise(rate)])
    found = extractor.load({}, "cpu")(waveforms)
    assert found.shape == (2, *extractor.shape(1.0)) == (2, 128, bins)
    for clip, waveform in zip(found, waveforms, strict=True):
        expected = kaldi(waveform - waveform.mean(), rate, bins, shift)
        assert len(expected) < 128
        np.testing.assert_allclose(clip[: len(expected)], expected, atol=2e-3)
        assert not clip[len(expected) :].any()


def test_the_papers_input_is_1024_frames_of_128_bins() -> None:
    assert kaldi_fbank.Extractor(sample_rate=43_000).shape(10.0) == (1024, 128)
    waveform = noise(430_000)[None]
    for shift, filled in ((10, 998), (9.7674, 1024)):  # the windows that fit into 10 s
        found = kaldi_fbank.Extractor(sample_rate=43_000, frame_shift_ms=shift).load({}, "cpu")(waveform)
        assert (found[0] != 0).any(axis=1).sum() == filled


@given(st.integers(0, 8000))
@settings(max_examples=25, deadline=None)
def test_after_a_sounds_end_the_spectrogram_is_zero_and_not_silence(samples: int) -> None:
    extractor = kaldi_fbank.Extractor(sample_rate=8000, bins=16, frames=120)
    waveform = np.zeros((1, 8000), np.float32)
    waveform[0, :samples] = 0.25 + 0.5 * RNG.random(samples)
    found = extractor.load({}, "cpu")(waveform)[0]
    filled = 1 + (max(samples, 200) - 200) // 80
    assert (found[:filled] != 0).any(axis=1).all()
    assert not found[filled:].any()
    if samples:
        alone = extractor.load({}, "cpu")(waveform[:, : max(samples, 200)])[0]
        np.testing.assert_array_equal(found, alone)  # a clip is the same however far it is padded


@pytest.mark.parametrize(
    ("options", "mels"),
    [
        ({}, 128),  # AudioSlowFast on VGGSound, then on EPIC-KITCHENS-100
        ({"sample_rate": 24_000, "window_ms": 10, "hop_ms": 5}, 128),
        ({"sample_rate": 24_000, "window_ms": 10, "hop_ms": 5, "fft": 511, "mels": None, "power": 2}, None),
    ],
)
def test_log_spectrogram_equals_librosa(options: dict, mels: int | None) -> None:
    import librosa

    extractor = log_spectrogram.Extractor(**options)
    waveforms = np.stack([noise(extractor.samples(1.0)), noise(extractor.samples(1.0))])
    found = extractor.load({}, "cpu")(waveforms)
    assert found.shape == (2, *extractor.shape(1.0))
    for clip, waveform in zip(found, waveforms, strict=True):
        spectrum = librosa.stft(waveform, n_fft=extractor.fft, hop_length=extractor.hop, win_length=extractor.window,
                                window="hann", pad_mode="constant")  # fmt: skip
        if mels is None:
            expected = np.log(np.abs(spectrum) ** 2 + 1e-6)
        else:
            filters = librosa.filters.mel(sr=extractor.sample_rate, n_fft=2048, n_mels=mels, htk=True, norm=None)
            expected = np.log(filters @ np.abs(spectrum) + 1e-6)
        np.testing.assert_allclose(clip, expected.T, atol=2e-3)


def test_the_baselines_inputs_have_their_sizes() -> None:
    heard = {"sample_rate": 24_000, "window_ms": 10, "hop_ms": 5}
    assert log_spectrogram.Extractor().shape(5.119 - 1 / 16_000) == (512, 128)
    assert log_spectrogram.Extractor(**heard).shape(1.999 - 1 / 24_000) == (400, 128)
    assert log_spectrogram.Extractor(**heard, fft=511, mels=None, power=2).shape(1.279) == (256, 256)
    assert log_spectrogram.Extractor().shape(10.0) == (1001, 128)
    assert log_density.Extractor().shape(10.0) == (1004, 257)


def test_log_density_is_the_power_in_a_hertz() -> None:
    extractor = log_density.Extractor()
    waveforms = np.stack([noise(8000), noise(8000)])
    found = extractor.load({}, "cpu")(waveforms)
    assert found.shape == (2, *extractor.shape(0.5))
    edge = 0.25 * 512 / 2  # a Tukey window rises and falls along a quarter of its length, half of it at either end
    place = np.arange(512)
    window = 0.5 * (1 - np.cos(np.pi * np.minimum(np.minimum(place, 512 - place) / edge, 1)))
    for clip, waveform in zip(found, waveforms, strict=True):
        windows = np.stack([waveform[start : start + 512].astype(float) for start in range(0, 8000 - 511, 159)])
        windows -= windows.mean(axis=1, keepdims=True)
        density = np.abs(np.fft.rfft(windows * window)) ** 2 / (16_000 * np.square(window).sum())
        density[:, 1:-1] *= 2  # of positive and negative frequencies
        np.testing.assert_allclose(clip, np.log(density + 1e-7), atol=2e-3)


@given(st.integers(1, 60), st.integers(1, 40))
def test_a_repeated_sound_fills_its_clip(samples: int, sounding: int) -> None:
    sounding = min(sounding, samples)
    sound = np.arange(1, sounding + 1, dtype=np.float32)
    waveform = np.zeros((2, samples), np.float32)
    waveform[0, :sounding] = sound
    assert lengths(waveform).tolist() == [sounding, 0]
    full = repeated(waveform)
    np.testing.assert_array_equal(full[0], np.resize(sound, samples))
    assert not full[1].any()


def test_a_short_sound_is_followed_by_silence_or_itself() -> None:
    waveform = np.zeros((1, 16_000), np.float32)
    waveform[0, :4000] = RNG.uniform(-0.5, 0.5, 4000)
    silent, full = (log_density.Extractor(short=short).load({}, "cpu")(waveform)[0] for short in ("silence", "repeat"))
    np.testing.assert_allclose(silent[30:], np.log(1e-7), atol=1e-3)
    assert (full.max(axis=1) > np.log(1e-7) + 2).all()


@pytest.mark.parametrize(
    "extractor", [kaldi_fbank.Extractor(frames=98), log_spectrogram.Extractor(), log_density.Extractor()]
)
def test_half_precision_holds_the_features(extractor: kaldi_fbank.Extractor) -> None:
    waveform = np.stack([noise(extractor.sample_rate), np.zeros(extractor.sample_rate, np.float32)])
    found = extractor.load({}, "cpu")(waveform)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.astype(np.float16).astype(np.float32), found, atol=0.01)


@pytest.mark.parametrize("values", [{"window_ms": 200}, {"hop_ms": 0.001}])
def test_windows_that_do_not_fit_are_refused(values: dict) -> None:
    with pytest.raises(UserError, match="does not fit an FFT of 2048"):
        log_spectrogram.Extractor.check(values, "features")
    with pytest.raises(UserError, match="leaves gaps"):
        log_density.Extractor.check({"hop": 600}, "features")


def test_the_job_makes_a_shard_of_features(tmp_path: Path) -> None:
    audio = array_field("audio", "int16", (8000,))
    schema = pa.schema([pa.field("clip_id", pa.string()), pa.field("seconds", pa.float64()), audio, *STATE])
    sound = np.zeros(8000, np.int16)
    sound[:6000] = RNG.integers(-9000, 9000, 6000)
    rows = [
        {"clip_id": "a", "seconds": 0.75, "audio": pack(sound, audio), "status": "ok"},
        {"clip_id": "b", "status": "unavailable", "reason": "private"},
    ]
    write(tmp_path / "audio.parquet", rows, schema)
    settings = kaldi_fbank.Extractor(sample_rate=8000, bins=24, frames=110)
    ExtractFeatures(
        extractor="kaldi_fbank", settings=settings, clips=tmp_path / "audio.parquet", store=tmp_path, clip_seconds=1.0
    ).run(tmp_path / "features.parquet")
    made, missing = read(tmp_path / "features.parquet")
    features = np.frombuffer(made["features"], np.float16).reshape(110, 24)
    assert (features != 0).any(axis=1).sum() == 1 + (6000 - 200) // 80
    assert made["seconds"] == 0.75
    assert (missing["status"], missing["reason"], missing["features"]) == ("unavailable", "private", None)


def test_planning_imports_no_heavy_library() -> None:
    names = ["features.extractors.kaldi_fbank", "features.extractors.log_spectrogram", "features.reducers.class_index",
             "features.extractors.log_density", "features.reducers.feature_statistics", "scores.families.top_k",
             "figures.kinds.adaptor"]  # fmt: skip
    imports = "; ".join(f"import workflow_scripts.{name}" for name in names)
    heavy = "torch torchaudio librosa scipy matplotlib pandas"
    check = f"import sys; {imports}; print([m for m in '{heavy}'.split() if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"
