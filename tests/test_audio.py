"""The sound of clips: mean of the channels, resampling, padding, and what is not usable."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import librosa
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from media_files import RATE, tone, write_movie
from scipy.signal import lfilter

from workflow_scripts.media import audio
from workflow_scripts.media.fetch import SCHEMA
from workflow_scripts.media.plan import DecodeAudio
from workflow_scripts.shards import ClipError, Status, stack, write

STEREO = np.stack([tone(2), 0.5 * tone(2)])


def wav(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str = "FLOAT") -> Path:
    soundfile.write(path, samples.T, rate, subtype=subtype)
    return path


def test_channels_come_as_they_are(tmp_path: Path) -> None:
    channels, rate = audio.decode(wav(tmp_path / "a.wav", STEREO))
    assert rate == RATE
    assert channels.dtype == np.float32
    np.testing.assert_array_equal(channels, STEREO)


def test_mono_is_the_mean_and_not_three_decibels_louder(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", STEREO)
    mono = audio.read_mono(path, RATE)
    np.testing.assert_allclose(mono, STEREO.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(mono, librosa.load(path, sr=None)[0], atol=1e-6)


def test_the_sound_of_a_movie_is_neither_late_nor_louder(tmp_path: Path) -> None:
    noise = lfilter([0.1], [1, -0.9], np.random.default_rng(0).normal(0, 0.3, (2, 2 * RATE))).astype(np.float32)
    mono = audio.read_mono(write_movie(tmp_path / "a.mp4", 2, sound=noise), RATE)
    expected = noise.mean(axis=0)
    match = np.correlate(mono[10_000:20_000], expected[11_000:19_000], "valid")
    assert abs(int(np.argmax(match)) - 1_000) <= 1
    assert np.std(mono[10_000:60_000]) == pytest.approx(np.std(expected[10_000:60_000]), rel=0.05)


def test_sound_that_begins_late_has_silence_before_it(tmp_path: Path) -> None:

    movie = write_movie(tmp_path / "a.mp4", 2)
    late = tmp_path / "late.mp4"
    inputs = ["-i", str(movie), "-itsoffset", "0.5", "-i", str(movie), "-map", "0:v", "-map", "1:a", "-c", "copy"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *inputs, str(late)], check=True)
    mono = audio.read_mono(late, RATE)
    assert np.abs(mono[: int(0.47 * RATE)]).max() < 0.01
    assert np.abs(mono[int(0.53 * RATE) : RATE]).max() > 0.2


@pytest.mark.parametrize("resampler", ["soxr_hq", "soxr_vhq", "sinc", "polyphase"])
@pytest.mark.parametrize("sample_rate", [16_000, 22_100, 32_000, 48_000])
def test_resampling_keeps_length_pitch_and_level(tmp_path: Path, resampler: Any, sample_rate: int) -> None:
    path = wav(tmp_path / "a.wav", tone(1)[None])
    mono = audio.read_mono(path, sample_rate, resampler)
    assert abs(len(mono) - sample_rate) <= 1
    expected = tone(1, sample_rate)[200:-200]
    assert mono.dtype == np.float32
    np.testing.assert_allclose(mono[200 : 200 + len(expected)], expected, atol=2e-3)


@given(
    rate=st.sampled_from([8_000, 11_025, 44_100]),
    sample_rate=st.sampled_from([8_000, 22_100]),
    n=st.integers(2_000, 9_000),
)
def test_any_length_is_resampled_in_proportion(rate: int, sample_rate: int, n: int) -> None:
    for resampler in ("soxr_hq", "polyphase"):
        found = audio.resample(np.zeros(n, np.float32), rate, sample_rate, resampler)
        assert abs(len(found) - n * sample_rate / rate) <= 1


def shard(folder: Path, files: dict[str, Path], **settings: Any) -> tuple[dict[str, dict[str, Any]], Any]:
    """Decodes clips and gives its rows and table."""
    rows = [{"clip_id": name, "path": path.name, "status": Status.OK} for name, path in files.items()]
    carried = {"clip_id": "gone", "status": Status.UNAVAILABLE, "reason": "private", "detail": "Private video"}
    write(folder / "clips.parquet", [*rows, carried], SCHEMA)
    chosen = {"sample_rate": 16_000, "clip_seconds": 2, **settings}
    DecodeAudio(clips=folder / "clips.parquet", store=folder, audio=chosen).run(folder / "audio.parquet")
    table = pq.read_table(folder / "audio.parquet")
    return {row["clip_id"]: row for row in table.to_pylist()}, table


def test_clips_are_padded_truncated_and_never_scaled(tmp_path: Path) -> None:
    exact = np.arange(-16_000, 16_000).astype(np.int16)
    files = {
        "exact": wav(tmp_path / "exact.wav", exact[None], 16_000, "PCM_16"),
        "short": wav(tmp_path / "short.wav", exact[None, :24_000], 16_000, "PCM_16"),
        "long": wav(tmp_path / "long.wav", np.tile(exact, 2)[None], 16_000, "PCM_16"),
        "too loud": wav(tmp_path / "loud.wav", np.full((1, 32_000), 1.5), 16_000),
    }
    rows, table = shard(tmp_path, files)
    arrays = stack(table.slice(0, 4), "audio")
    assert arrays.dtype == np.int16
    np.testing.assert_array_equal(arrays[0], exact)
    np.testing.assert_array_equal(arrays[1], np.pad(exact[:24_000], (0, 8_000)))
    np.testing.assert_array_equal(arrays[2], exact)
    assert set(arrays[3]) == {32_767}
    assert [rows[name]["seconds"] for name in files] == [2, 1.5, 4, 2]
    assert (rows["gone"]["status"], rows["gone"]["reason"], rows["gone"]["audio"]) == ("unavailable", "private", None)


def test_what_is_not_usable_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(np.random.default_rng(0).bytes(5_000))
    movie = write_movie(tmp_path / "movie.mp4", 2).read_bytes()
    truncated = tmp_path / "truncated.mp4"
    truncated.write_bytes(movie[: len(movie) // 2])
    files = {
        "silent": wav(tmp_path / "silent.wav", np.zeros((2, 20_000)), 16_000),
        "faint": wav(tmp_path / "faint.wav", np.full((1, 20_000), 1e-5), 16_000),
        "short": wav(tmp_path / "short.wav", tone(0.05)[None]),
        "mute": write_movie(tmp_path / "mute.mp4", 1, sound=None),
        "broken": broken,
        "truncated": truncated,
        "fine": wav(tmp_path / "fine.wav", tone(1)[None]),
    }
    rows, _ = shard(tmp_path, files)
    found = {name: (rows[name]["status"], rows[name]["reason"]) for name in files}
    assert found == {
        "silent": ("failed", "silent"),
        "faint": ("failed", "silent"),
        "short": ("failed", "too_short"),
        "mute": ("failed", "no_audio_stream"),
        "broken": ("failed", "decode_error"),
        "truncated": ("failed", "decode_error"),
        "fine": ("ok", None),
    }
    assert rows["faint"]["detail"] == "the peak is -100 dB"


@pytest.mark.parametrize("channels", [7, 8, 9, 16, 64])
def test_any_number_of_channels(channels: int, tmp_path: Path) -> None:
    """In a process of its own, which a crash of the decoder would end."""
    sound = np.random.default_rng(0).integers(-9999, 9999, (2000, channels)).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", sound, 16_000)
    code = (
        "import sys; from pathlib import Path; from workflow_scripts.media.audio import decode; import numpy as np; "
        "np.save(sys.argv[2], decode(Path(sys.argv[1]))[0])"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.wav"), str(tmp_path / "a.npy")], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), sound.T / np.float32(32_768))


def test_a_hole_in_the_sound_is_silence(tmp_path: Path) -> None:
    """What is heard after missing packets stays where its time says; a jump of hours is refused."""
    sound = tone(4, 16_000)
    for hole, name in ((1.5, "hole.mkv"), (5000, "jump.mkv")):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
            for start in range(0, len(sound), 1600):
                block = (sound[None, start : start + 1600] * 32_768).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
                frame.sample_rate, frame.pts = 16_000, start + (round(hole * 16_000) if start >= 32_000 else 0)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    found, rate = audio.decode(tmp_path / "hole.mkv")
    assert rate == 16_000
    wanted = np.concatenate([sound[:32_000], np.zeros(24_000, np.float32), sound[32_000:]])
    np.testing.assert_allclose(found[0], wanted, atol=1e-3)
    with pytest.raises(ClipError, match="its time jumps by 5000 s"):
        audio.decode(tmp_path / "jump.mkv")
