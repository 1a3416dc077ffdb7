"""Digit pairs: composed from pictures and recordings, read into a manifest, taken as features."""

import gzip
import io
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from composed.composers.digit_pairs import Composer
from composed.digits import digits
from composed.digits.noise import Noise, dropped, embedded, scaled
from workflow_scripts.corpora.readers.digit_pairs import Reader, clip_id, place
from workflow_scripts.errors import UserError
from workflow_scripts.features.extractors import tensor_audio, tensor_images
from workflow_scripts.features.plan import ExtractCorpus
from workflow_scripts.shards import read

ROOT = Path(__file__).parents[2]
SPEAKERS = ("anna", "bert", "cora", "dora")


def wav(digit: int, speaker: int, number: int, rate: int) -> bytes:
    """A tone: the digit is its frequency, the speaker its number of harmonics."""
    time = np.arange(int(rate * (0.3 + 0.02 * number))) / rate
    tone = sum(np.sin(2 * np.pi * 100 * (digit + 1) * (h + 1) * time) for h in range(speaker + 1))
    target = io.BytesIO()
    soundfile.write(target, 0.2 * tone, rate, format="WAV")
    return target.getvalue()


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings of four speakers, 8 kHz and 48 kHz."""
    folder = tmp_path_factory.mktemp("voices") / "recordings"
    folder.mkdir()
    for speaker, name in enumerate(SPEAKERS):
        for digit in range(10):
            for number in range(2):
                path = folder / f"{digit}_{name}_{number}.wav"
                path.write_bytes(wav(digit, speaker, number, (8000, 48_000)[speaker % 2]))
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures a digit as in mnist_5k: the digit's line is white, the first pixels tell the picture."""
    lines = []
    for number in range(120):
        pixels = np.zeros((28, 28), int)
        pixels[2 * (number % 10) + 5] = 255
        pixels[0, : 1 + number // 10] = 255
        lines.append(",".join(map(str, [*pixels.ravel(), number % 10])))
    path = tmp_path_factory.mktemp("pictures") / "mnist_5k.csv.gz"
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return path


CLEAR = {"levels": [[0, 0]], "jitter": 0}


def composer(**changes: object) -> Composer:
    sizes = {"pairs": {"training": 80, "test": 20}, "speakers": {"training": 3, "test": 1}, "recordings": "voices"}
    return Composer.check({**sizes, "noise": CLEAR, **changes}, "test")


@pytest.fixture(scope="module")
def composed(pictures: Path, voices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("composed")
    composer().compose({"mnist_5k": pictures, "voices": voices}, folder, 1)
    return folder


def load(folder: Path, without: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
    return {
        role: torch.load(folder / file, weights_only=True) for role, file in Reader.files.items() if role not in without
    }


def files(folder: Path, without: tuple[str, ...] = ()) -> dict[str, Path]:
    return {role: folder / file for role, file in Reader.files.items() if role not in without}


def test_the_tensors_have_the_exercises_form(composed: Path) -> None:
    tensors = load(composed)
    for part, count in (("training", 80), ("test", 20)):
        images, audio, labels = (tensors[f"{part}_{kind}"] for kind in ("images", "audio", "images_labels"))
        assert (images.shape, images.dtype) == ((count, 1, 28, 28), torch.float32)
        assert (audio.shape, audio.dtype) == ((count, 1, 8000), torch.float64)
        assert (labels.shape, labels.dtype) == ((count,), torch.int64)
        assert torch.equal(labels, tensors[f"{part}_audio_labels"])
        assert labels.bincount(minlength=10).tolist() == [count // 10] * 10
        assert (images.min(), images.max()) == (-1, 1)
    assert (composed / "COMPOSED.md").read_text().count("composed") >= 1


def test_both_views_of_a_pair_show_its_digit(composed: Path) -> None:
    tensors = load(composed)
    for image, audio, label in zip(
        tensors["test_images"], tensors["test_audio"], tensors["test_images_labels"], strict=True
    ):
        assert image[0].mean(1).argmax() == 2 * int(label) + 5
        spectrum = torch.fft.rfft(audio[0]).abs()
        assert int(spectrum.argmax()) % (100 * (int(label) + 1)) < 4 or int(spectrum.argmax()) % 100 > 96


def test_parts_share_no_picture_and_no_speaker(composed: Path) -> None:
    tensors = load(composed)
    shown = {
        part: {(int(y), int((x[0, 0] > 0).sum())) for x, y in zip(images, labels, strict=True)}
        for part in ("training", "test")
        for images, labels in [(tensors[f"{part}_images"], tensors[f"{part}_images_labels"])]
    }
    assert not shown["training"] & shown["test"]

    def harmonics(audio: torch.Tensor, digit: int) -> int:
        spectrum = torch.fft.rfft(audio[0]).abs()
        bands = [spectrum[100 * (digit + 1) * (h + 1) + torch.arange(-5, 6)].max() for h in range(4)]
        return sum(int(band > 0.3 * max(bands)) for band in bands)

    heard = {
        part: {
            harmonics(x, 0)
            for x, y in zip(tensors[f"{part}_audio"], tensors[f"{part}_audio_labels"], strict=True)
            if y == 0
        }
        for part in ("training", "test")
    }
    assert len(heard["training"]) == 3
    assert len(heard["test"]) == 1
    assert not heard["training"] & heard["test"]


def test_composition_follows_from_the_seed(composed: Path, pictures: Path, voices: Path, tmp_path: Path) -> None:
    assets = {"mnist_5k": pictures, "voices": voices}
    composer().compose(assets, tmp_path / "again", 2)
    composer(seed=1).compose(assets, tmp_path / "other", 1)
    assert all(path.read_bytes() == (tmp_path / "again" / path.name).read_bytes() for path in composed.iterdir())
    assert not torch.equal(load(composed)["training_audio"], load(tmp_path / "other")["training_audio"])


def test_archives_hold_the_same_as_a_folder(voices: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "voices.zip", "w") as archive, tarfile.open(tmp_path / "v.tar.gz", "w:gz") as tar:
        for path in sorted(voices.iterdir(), reverse=True):
            archive.write(path, f"voices-1.0/recordings/{path.name}")
            tar.add(path, f"voices-1.0/recordings/{path.name}")
        archive.writestr("voices-1.0/readme.txt", "not a recording")
    expected = digits.recordings(voices)
    assert len(expected) == 80
    for found in (digits.recordings(tmp_path / "voices.zip"), digits.recordings(tmp_path / "v.tar.gz")):
        assert [(one.digit, one.speaker) for one in found] == [(one.digit, one.speaker) for one in expected]
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.waveform, other.waveform)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**32))
def test_about_the_given_share_is_lost_and_the_rest_untouched(share: float, value: float, seed: int) -> None:
    values = np.full(4000, value + 0.5)
    noisy = dropped(values, share, np.random.default_rng(seed))
    assert set(np.unique(noisy)) <= {0, value + 0.5}
    assert abs((noisy == 0).mean() - share) < 0.05


def test_one_view_stays_clear() -> None:
    noise, rng = Noise(), np.random.default_rng(0)
    shares = [noise.draw(rng) for _ in range(500)]
    assert all(0.05 <= min(image, audio) <= 0.4 for image, audio in shares)
    kinds = Counter((image > 0.6, audio > 0.6) for image, audio in shares)
    assert set(kinds) == {(True, False), (False, True), (False, False)}
    assert min(kinds.values()) > 100


@given(st.integers(1, 12_000), st.floats(0, 1), st.integers(0, 2**32))
def test_a_recording_lies_whole_within_silence(length: int, spread: float, seed: int) -> None:
    waveform = np.full(length, 0.5, np.float32)
    whole = embedded(waveform, 8000, spread, np.random.default_rng(seed))
    loud = np.flatnonzero(whole)
    kept = min(length, 8000)
    assert len(whole) == 8000
    assert len(loud) == kept == loud[-1] - loud[0] + 1
    assert abs(loud[0] - (8000 - kept) / 2) <= spread * (8000 - kept) / 2 + 1
    scale = 0.5 if kept > 400 else 0 if kept < 400 else None  # a shorter one does not reach the 95th percentile
    if scale is not None:
        np.testing.assert_allclose(whole[loud], 0.5 / (scale + 0.001))


def test_no_pixel_of_a_picture_is_grey() -> None:
    pixels = scaled(np.arange(256, dtype=np.uint8))
    assert (pixels.min(), pixels.max()) == (-1, 1)
    assert (pixels != 0).all()


@pytest.mark.parametrize("count", [0, 7, 17_559, 99_999])
def test_names_tell_places(count: int) -> None:
    assert place(clip_id("training", count)) == ("training", count)


def test_splits_are_stratified_and_complete(composed: Path) -> None:
    rows = list(Reader().read(files(composed)))
    assert Counter(row["split"] for row in rows) == {"train": 64, "validation": 16, "test": 20}
    assert {row["clip_id"] for row in rows if row["split"] == "test"} == {clip_id("test", n) for n in range(20)}
    assert len({row["clip_id"] for row in rows}) == 100
    tensors = load(composed)
    for row in rows:
        part, index = place(row["clip_id"])
        assert row["labels"] == [str(int(tensors[f"{part}_images_labels"][index]))]
        assert (row["start"], row.get("end"), row["video_id"]) == (0.0, None, row["clip_id"])
    trained = Counter(row["labels"][0] for row in rows if row["split"] == "train")
    assert max(trained.values()) - min(trained.values()) <= 1


def test_the_split_of_the_full_exercise_has_its_sizes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("training", 17_560), ("test", 5_859)):
        labels = torch.from_numpy(rng.integers(0, 10, count))
        for kind, tensor in {
            "images": torch.zeros(1, 1, 28, 28).expand(count, 1, 28, 28),
            "audio": torch.zeros(1).expand(count, 1, 8000),
            "images_labels": labels,
            "audio_labels": labels,
        }.items():
            torch.save(tensor, tmp_path / f"{part}_{kind}.pth")
    rows = list(Reader().read(files(tmp_path)))
    assert Counter(row["split"] for row in rows) == {"train": 14_048, "validation": 3_512, "test": 5_859}


def test_without_test_labels_a_quarter_of_the_training_part_is_held_out(composed: Path) -> None:
    rows = list(Reader().read(files(composed, without=("test_images_labels", "test_audio_labels"))))
    assert Counter(row["split"] for row in rows) == {"train": 48, "validation": 12, "test": 20}
    assert {place(row["clip_id"])[0] for row in rows} == {"training"}
    assert len({row["clip_id"] for row in rows}) == 80


@pytest.fixture(scope="module")
def manifest(composed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("manifest") / "manifest.parquet"
    command = [sys.executable, "-m", "workflow_scripts.corpora.annotate", "--reader", "digit_pairs"]
    command += [f"--annotation={role}={file}" for role, file in files(composed).items()]
    command += ["--definition", json.dumps({"link": "{video_id}", "sample": {"limit": 18}}), "--output", str(path)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return path


@pytest.mark.parametrize(
    ("name", "kind", "shape"), [("tensor_images", "images", (28, 28)), ("tensor_audio", "audio", (1, 8000))]
)
def test_features_are_the_tensors_items(
    composed: Path, manifest: Path, tmp_path: Path, name: str, kind: str, shape: tuple[int, int]
) -> None:
    settings = {"tensor_images": tensor_images, "tensor_audio": tensor_audio}[name].Extractor()
    given_files = {f"{part}_{kind}": composed / f"{part}_{kind}.pth" for part in ("training", "test")}
    job = ExtractCorpus(
        extractor=name, settings=settings, manifest=manifest, files=given_files, shards=2, clip_seconds=1.0, batch=7
    )
    seen: dict[str, str] = {}
    tensors = load(composed)
    for shard in range(2):
        output = tmp_path / f"{shard}.parquet"
        job.model_copy(update={"shard": shard}).run(output)
        table = pq.read_table(output)
        states = dict(zip(table["clip_id"].to_pylist(), table["status"].to_pylist(), strict=True))
        assert set(table["seconds"].to_pylist()) == {1.0}
        assert not seen.keys() & states.keys()
        seen |= states
        for row in read(output):
            if row["status"] != "ok":
                continue
            part, index = place(row["clip_id"])
            found = np.frombuffer(row["features"], np.float16).reshape(shape)
            np.testing.assert_array_equal(found, tensors[f"{part}_{kind}"][index].half().numpy().reshape(shape))
    assert seen == {row["clip_id"]: row["status"] for row in read(manifest)}
    assert Counter(seen.values()) == {"ok": 18 + 16 + 18, "skipped": 48}


def idx(numbers: np.ndarray) -> bytes:
    """`numbers` as MNIST stores them: a header, then the bytes."""
    kind = {1: 2049, 3: 2051}[numbers.ndim]
    return np.array([kind, *numbers.shape], ">i4").tobytes() + numbers.astype(np.uint8).tobytes()


def test_mnist_keeps_its_own_parts(voices: Path, tmp_path: Path) -> None:
    assets = {"voices": voices}
    for part, shade, count in (("train", 255, 30), ("test", 128, 20)):
        pixels = np.full((count, 28, 28), shade)
        for kind, numbers in (("images", pixels), ("labels", np.arange(count) % 10)):
            assets[f"mnist_{part}_{kind}"] = tmp_path / f"{part}-{kind}.gz"
            assets[f"mnist_{part}_{kind}"].write_bytes(gzip.compress(idx(numbers)))
    composer(images="mnist").compose(assets, tmp_path / "out", 1)
    tensors = load(tmp_path / "out")
    assert tensors["training_images"].unique().tolist() == [1.0]
    assert tensors["test_images"].unique().tolist() == [pytest.approx(128 / 127.5 - 1)]


def test_synthetic_speakers_are_disjoint_and_say_the_digits(pictures: Path, tmp_path: Path) -> None:
    made = composer(recordings=None, speakers={"training": 2, "test": 1}, takes=2)
    voices = made.voices()
    assert {part: len(mine) for part, mine in voices.items()} == {"training": 2, "test": 1}
    assert not voices["training"].keys() & voices["test"].keys()
    made.compose({"mnist_5k": pictures}, tmp_path, 2)
    audio = load(tmp_path)["training_audio"]
    lengths = (audio != 0).sum(-1).squeeze()
    assert len(lengths.unique()) > 20  # ten words, two speakers, two takes, and some alike
    assert lengths.min() > 1000
    assert lengths.max() < 8000


def test_real_recordings_and_pictures(shared: Path, tmp_path: Path) -> None:
    fsdd, mnist = shared / "data" / "fsdd" / "recordings", shared / "data" / "mnist"
    found = digits.recordings(fsdd)
    assert Counter(one.digit for one in found) == dict.fromkeys(range(10), 300)
    assert len({one.speaker for one in found}) == 6
    images = digits.idx_images(mnist / "t10k-images-idx3-ubyte.gz", mnist / "t10k-labels-idx1-ubyte.gz")
    assert images.pixels.shape == (10_000, 28, 28)
    assert images.digits[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_mistakes_are_named(composed: Path, manifest: Path, pictures: Path, voices: Path, tmp_path: Path) -> None:
    broken, empty = tmp_path / "broken.zip", tmp_path / "empty"
    broken.write_bytes(b"not an archive" * 50)
    empty.mkdir()

    def composing(assets: dict[str, Path], **changes: object) -> Callable[[], None]:
        return lambda: composer(**changes).compose({"mnist_5k": pictures, **assets}, tmp_path / "out", 1)

    sounds = ExtractCorpus(
        extractor="tensor_images",
        settings=tensor_images.Extractor(),
        manifest=manifest,
        files={f"{part}_images": composed / "test_audio.pth" for part in ("training", "test")},
        clip_seconds=1.0,
    )
    other = files(composed) | {"training_audio_labels": composed / "test_audio_labels.pth"}
    short = files(composed) | {"training_audio": composed / "test_audio.pth"}
    no_tensor = files(composed) | {"test_images": broken}
    wrong: dict[str, Callable[[], object]] = {
        "the asset 'voices' is not given; add --asset voices=PATH": composing({}),
        "broken.zip: not a readable zip or tar file": composing({"voices": broken}),
        "empty: holds no file <digit>_<speaker>_<number>.wav": composing({"voices": empty}),
        "speakers: 5 are wanted, and": composing({"voices": voices}, speakers={"training": 4, "test": 1}),
        "pairs: give each of training, test at least 1": composing({}, pairs={"training": 10}),
        "'noise.levels.0.1': input should be less than or equal to 1": composing({}, noise={"levels": [[0, 2]]}),
        "broken.zip: not lines of numbers from 0 to 255": composing({"mnist_5k": broken, "voices": voices}),
        "images and recordings have different labels": lambda: list(Reader().read(other)),
        "test_audio.pth: does not hold 80 items": lambda: list(Reader().read(short)),
        "broken.zip: not a tensor saved by torch": lambda: list(Reader().read(no_tensor)),
        "holds items of shape (1, 8000), and (1, 28, 28) is expected": lambda: sounds.run(tmp_path / "out.parquet"),
    }
    for sentence, act in wrong.items():
        with pytest.raises(UserError, match=re.escape(sentence)):
            act()
