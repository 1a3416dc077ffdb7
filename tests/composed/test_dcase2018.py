"""Composed corpora: scenes, pictures, videos, and the corpus in the form of DCASE 2018 task 4."""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from composed.composers.dcase2018 import Composer
from composed.pictures.glyphs import Pictures
from composed.pictures.video import Video, encode
from composed.scenes import videos
from composed.scenes.scene import (
    Material,
    Mixture,
    SoundClass,
    cut,
    frames,
    sample_labels,
    sample_scene,
    waveform,
)
from composed.tools import preview
from workflow_scripts.corpora.readers.dcase2018 import Reader
from workflow_scripts.errors import UserError

RATE = 32_000
SMALL = {
    "clips": {"weak": 10, "unlabelled": 2, "validation": 2, "test": 8},
    "clip_seconds": 4,
    "source_seconds": [5.5, 7],
    "video": {"width": 64, "height": 48, "fps": 4},
    "without_events": {"test": 0.3},
    "short_clips": 0.3,
}


class Tones:
    """A quick sound bank: events are tones of random pitch, and every draw is written down."""

    def __init__(self, assets: dict[str, Path], splits: list[str], seed: int) -> None:
        self.drawn: list[tuple[str, float]] = DRAWN

    def load(self, sounds: Iterable[str]) -> None:
        """Tones need nothing."""

    def draw(self, sound: str, split: str, rng: np.random.Generator, seconds: float | None = None) -> np.ndarray:
        pitch = rng.uniform(200, 2000)
        self.drawn.append((split, pitch))
        count = int((seconds or 1.0) * rng.uniform(0.6, 1.3) * RATE)
        return np.sin(2 * np.pi * pitch * np.arange(count) / RATE).astype(np.float32)

    def background(self, split: str, rng: np.random.Generator, seconds: float) -> np.ndarray:
        return rng.normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


DRAWN: list[tuple[str, float]] = []


@pytest.fixture(scope="module", autouse=True)
def tones() -> Iterator[None]:
    """Lets composers in this process use `Tones`."""
    module = ModuleType("sounds")
    module.SAMPLE_RATE, module.SoundBank = RATE, Tones
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "composed.sounds.bank", module)
        yield


@pytest.fixture(scope="module")
def font(asset: Callable[[str], Path]) -> dict[str, Path]:
    return {name: asset(name) for name in Composer().assets}


@pytest.fixture(scope="module")
def composed(font: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A composed corpus, for tests that only look at it."""
    folder = tmp_path_factory.mktemp("composed")
    compose(font, folder)
    return folder


def compose(font: dict[str, Path], folder: Path, **changes: Any) -> Composer:
    composer = Composer.check(SMALL | changes, "test")
    composer.compose(font, folder, workers=1)
    return composer


def checksums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def decode(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Samples (n,) and frames (n, height, width, 3) of a file, from second 0 on."""
    with av.open(str(path)) as container:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    with av.open(str(path)) as container:
        pictures = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    return sound, pictures


# ---- the corpus


def test_annotations_have_the_form_of_the_challenge(composed: Path, shared: Path) -> None:
    for file in Composer.files.values():
        true = (shared / "data/metadata/dcase2018" / Path(file).name).read_text(encoding="utf-8").splitlines()
        made = (composed / file).read_text(encoding="utf-8").splitlines()
        assert made[0] == true[0]
        assert {line.count("\t") for line in made} == {line.count("\t") for line in true}
        assert not any(line.endswith("\r") for line in made)


def test_the_reader_finds_what_was_asked(composed: Path) -> None:
    composer = Composer.check(SMALL, "test")
    clips = list(Reader().read({split: composed / file for split, file in Composer.files.items()}))
    for split, count in composer.clips.items():
        assert sum(clip["split"] == split for clip in clips) == count
    for clip in clips:
        record = json.loads((composed / "recipes" / f"{clip['video_id']}.json").read_text())
        assert (composed / "sources" / f"{clip['video_id']}.mp4").is_file()
        assert 0 < clip["start"] < clip["end"] < record["seconds"]
        assert 2.5 <= clip["end"] - clip["start"] <= 4
        for event in clip.get("events") or []:
            assert event["label"] in composer.classes
            assert event["onset"] >= 0 and event["offset"] <= clip["end"] - clip["start"]
            assert event["offset"] - event["onset"] >= 0.25
    labelled = [clip for clip in clips if clip["split"] == "weak"]
    assert {label for clip in labelled for label in clip["labels"]} == set(composer.classes)
    lengths = {clip["end"] - clip["start"] for clip in clips}
    assert 4 in lengths and min(lengths) < 4
    tested = [clip for clip in clips if clip["split"] == "test"]
    assert any(not clip["events"] for clip in tested) and any(clip["events"] for clip in tested)


def test_the_same_seed_gives_the_same_bytes(composed: Path, font: dict[str, Path], tmp_path: Path) -> None:
    compose(font, tmp_path / "again")
    compose(font, tmp_path / "other", seed=1)
    assert checksums(tmp_path / "again") == checksums(composed)
    assert not set(checksums(tmp_path / "other").values()) & set(checksums(composed).values())


def test_more_clips_leave_the_others_alone(font: dict[str, Path], tmp_path: Path) -> None:
    compose(font, tmp_path)
    before = checksums(tmp_path / "sources")
    compose(font, tmp_path, clips=SMALL["clips"] | {"weak": 12})
    after = checksums(tmp_path / "sources")
    assert len(after) == len(before) + 2
    assert before.items() <= after.items()


def test_splits_share_no_draw(font: dict[str, Path], tmp_path: Path) -> None:
    DRAWN.clear()
    compose(font, tmp_path)
    assert {split for split, _ in DRAWN} == set(Composer.files)
    pitches = [pitch for _, pitch in DRAWN]
    assert len(set(pitches)) == len(pitches)


def test_only_what_is_missing_is_composed_again(font: dict[str, Path], tmp_path: Path) -> None:
    compose(font, tmp_path)
    before = checksums(tmp_path)
    first, second, third, *_ = sorted((tmp_path / "sources").glob("*.mp4"))
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "sources").iterdir()}
    first.unlink()
    second.write_bytes(second.read_bytes()[:1000])
    (tmp_path / "recipes" / f"{third.stem}.json").write_text('{"torn')
    (tmp_path / "sources" / ".torn.mp4.1.part").write_text("")
    compose(font, tmp_path)
    changed = {path for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert changed == {first, second, third}
    assert checksums(tmp_path) == before


def test_a_broken_run_continues(font: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def failing(path: Path, *rest: Any) -> None:
        if len(made) == 5:
            raise KeyboardInterrupt
        encode(path, *rest)
        made.append(path)

    monkeypatch.setattr(videos, "encode", failing)
    with pytest.raises(KeyboardInterrupt):
        compose(font, tmp_path)
    assert not list((tmp_path / "train").glob("*")) and len(list((tmp_path / "sources").iterdir())) == 5
    monkeypatch.setattr(videos, "encode", lambda path, *rest: (encode(path, *rest), made.append(path)))
    compose(font, tmp_path)
    assert len(made) == len(set(made)) == sum(SMALL["clips"].values())


def test_the_material_says_that_it_is_composed(composed: Path) -> None:
    notice = (composed / "COMPOSED.md").read_text(encoding="utf-8")
    assert "composed" in notice and "seed 2018" in notice and "| test | `eval/eval.csv` | 8 |" in notice


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sede": 1}, "unknown key 'sede'; did you mean 'seed'"),
        ({"mixture": {"snr": [1, 2]}}, "unknown key 'mixture.snr'; did you mean 'snr_db'"),
        ({"mixture": {"snr_db": [25, 6]}}, "first bound is greater"),
        ({"mixture": {"classes_per_clip": {0: 1}}}, "numbers from 1"),
        ({"clips": {"weak": 3}}, "give each of weak, unlabelled, validation, test"),
        ({"without_events": {"weak": 0.1}}, "every weakly labelled clip has a label"),
        ({"without_events": {"tset": 0.1}}, "the splits are"),
        ({"source_seconds": [5, 6]}, "longer than clip_seconds"),
        ({"video": {"width": 63}}, "multiple of 2"),
        ({"classes": {}}, "at least 1"),
    ],
)
def test_a_wrong_setting_is_one_sentence(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Composer.check(changes, "corpora.yaml")
    assert str(caught.value).startswith("corpora.yaml") and "\n" not in str(caught.value)


def test_a_missing_font_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--asset emoji_font=PATH"):
        compose({}, tmp_path)


@pytest.mark.slow
def test_a_killed_command_continues_with_real_sounds(asset: Callable[[str], Path], tmp_path: Path) -> None:
    small = json.dumps(SMALL | {"clips": dict.fromkeys(SMALL["clips"], 4)})
    module = [sys.executable, "-m", "composed", "--composer=dcase2018"]
    files = [f"--asset={name}={asset(name)}" for name in Composer().assets]
    command = [*module, f"--definition={small}", f"--output-dir={tmp_path}", "--workers=2", *files]
    folder = tmp_path / "sources"

    first = subprocess.Popen(command)
    limit = time.monotonic() + 120
    while len(list(folder.glob("*.mp4"))) < 3 and first.poll() is None and time.monotonic() < limit:
        time.sleep(0.02)
    first.kill()
    first.wait()
    time.sleep(0.5)  # the workers end with their parent
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "recipes").glob("*.json")}
    assert 0 < len(kept) < 16
    subprocess.run(command, check=True)
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())

    assert len(list(folder.iterdir())) == 16
    for recipe in (tmp_path / "recipes").iterdir():
        record = json.loads(recipe.read_text())
        heard, _ = decode(folder / f"{recipe.stem}.mp4")
        assert len(heard) / RATE == pytest.approx(record["seconds"], abs=0.05)
        assert 0.001 < heard.std() < 1


# ---- scenes


CLASSES = {
    "short": SoundClass(sound="a", pictures="🐶", seconds=(0.3, 1.5), repeats=(1, 4)),
    "long": SoundClass(sound="b", pictures="🐱", seconds=(3, 9), weight=3),
    "never joins": SoundClass(sound="c", pictures="🔔", seconds=(0.5, 1), weight=0),
}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), start=st.floats(0.5, 3), length=st.floats(3, 5), overlap=st.booleans())
def test_scenes_obey_their_rules(seed: int, start: float, length: float, overlap: bool) -> None:
    rng = np.random.default_rng(seed)
    mixture = Mixture(overlap=overlap, outside=1)
    labels = sample_labels(mixture, CLASSES, rng, "short")
    section = (start, start + length)
    scene = sample_scene(Material(mixture, CLASSES, Tones({}, [], 0), RATE, "s"), rng, 9.0, section, labels)
    for event in scene.events:
        assert 0 <= event.onset < event.offset <= 9 + 1e-6
        assert event.offset - event.onset == pytest.approx(len(event.waveform) / RATE)
    for index, event in enumerate(scene.events):
        for other in scene.events[index + 1 :]:
            if event.label == other.label or not overlap:
                assert event.offset <= other.onset
    heard = cut([(event.onset, event.offset, event.label) for event in scene.events], section)
    assert {label for _, _, label in heard} <= set(labels) and heard
    for onset, offset, _ in heard:
        assert onset >= 0 and offset <= length + 1e-9 and offset - onset >= 0.25
    for picture in scene.pictures:
        assert picture.subject in CLASSES and 0 <= picture.onset < picture.offset


def test_labels_join_by_their_weights() -> None:
    rng = np.random.default_rng(0)
    mixture = Mixture(classes_per_clip={2: 1})
    assert {tuple(sample_labels(mixture, CLASSES, rng, "short")) for _ in range(50)} == {("short", "long")}


def test_shares_of_pictures_are_kept() -> None:
    rng = np.random.default_rng(0)
    material = Material(Mixture(outside=0), CLASSES, Tones({}, [], 0), RATE, "s")
    seen = [sample_scene(material, rng, 9.0, (2, 7), ["short"]).pictures for _ in range(600)]
    assert sum(not pictures for pictures in seen) / 600 == pytest.approx(0.25, abs=0.06)
    assert sum(bool(pictures) and pictures[0].subject != "short" for pictures in seen) / 600 == pytest.approx(
        0.10, abs=0.05
    )


def test_events_stand_above_the_background_as_asked() -> None:
    rng = np.random.default_rng(3)
    mixture = Mixture(outside=0, snr_db=(15, 15), background_dbfs=(-40, -40))
    scene = sample_scene(Material(mixture, CLASSES, Tones({}, [], 0), RATE, "s"), rng, 9.0, (2, 7), ["long"])
    event, sound = scene.events[0], waveform(scene)
    assert len(sound) == 9 * RATE
    inside = sound[int(event.onset * RATE) + 50 : int(event.offset * RATE) - 50]
    before = sound[: int(event.onset * RATE) - 50]
    assert 20 * np.log10(before.std()) == pytest.approx(-40, abs=0.3)
    assert 10 * np.log10((inside.var() - before.var()) / before.var()) == pytest.approx(15, abs=0.6)


def test_a_sound_that_is_too_short_is_named() -> None:
    class Clicks(Tones):
        def draw(self, *_: Any, **__: Any) -> np.ndarray:
            return np.ones(100, np.float32)

    material = Material(Mixture(), CLASSES, Clicks({}, [], 0), RATE, "s")
    with pytest.raises(UserError, match="'short' is never as long"):
        sample_scene(material, np.random.default_rng(0), 9.0, (2, 7), ["short"])


# ---- pictures and videos


def test_pictures_are_seen_when_the_scene_says(font: dict[str, Path]) -> None:
    pictures = Pictures(font["emoji_font"], {name: kind.pictures for name, kind in CLASSES.items()}, 64, 48)
    material = Material(Mixture(picture_absent=0, outside=0), CLASSES, Tones({}, [], 0), RATE, "s")
    scene = sample_scene(material, np.random.default_rng(1), 9.0, (2, 7), ["short"])
    made = np.stack(list(frames(scene, pictures, 4))).astype(float)
    assert made.shape == (36, 48, 64, 3)
    times = np.arange(36) / 4
    seen = (times >= scene.pictures[0].onset) & (times < scene.pictures[0].offset)
    changed = np.abs(made - made[np.argmin(seen)]).max(axis=(1, 2, 3)) > 40
    assert seen.any() and not seen.all()
    np.testing.assert_array_equal(changed, seen)


def test_a_picture_varies_but_keeps_its_glyph(font: dict[str, Path]) -> None:
    pictures = Pictures(font["emoji_font"], {"dog": "🐶"}, 64, 48)
    first, second = (pictures.object("dog", np.random.default_rng(seed), 0) for seed in (1, 2))
    assert not np.allclose(first.centre, second.centre) and not np.allclose(first.body, second.body)
    body, strokes = first.masks[..., 0] > 127, first.masks[..., 1] > 127
    assert (body | strokes == body).all() and body.sum() > strokes.sum()


@pytest.mark.parametrize(
    ("glyphs", "message"),
    [({"x": "🐶\u1234"}, "no glyph '\u1234' \\(of 'x'\\)"), ({"x": ""}, "name at least one character")],
)
def test_a_glyph_that_the_font_lacks_is_named(font: dict[str, Path], glyphs: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Pictures(font["emoji_font"], glyphs, 64, 48)


def test_the_font_has_every_glyph_of_the_corpus(font: dict[str, Path]) -> None:
    pictures = Pictures(font["emoji_font"], Composer().glyphs(), 64, 48)
    assert set(pictures.glyphs) == set(Composer().classes)
    with pytest.raises(UserError, match="no picture of 'dog'; did you mean 'Dog'"):
        pictures.object("dog", np.random.default_rng(0), 0)


def test_a_file_that_is_no_font_is_named(tmp_path: Path) -> None:
    (tmp_path / "font.ttf").write_text("not a font")
    with pytest.raises(UserError, match="not a variable font that can be read"):
        Pictures(tmp_path / "font.ttf", {"dog": "🐶"}, 64, 48)


def test_sound_and_picture_stay_aligned(tmp_path: Path) -> None:
    video = Video(width=64, height=48, fps=10)
    sound = np.random.default_rng(0).normal(0, 0.002, 8 * RATE).astype(np.float32)
    sweep = np.sin(2 * np.pi * 3000 * np.linspace(0, 1, RATE) ** 2).astype(np.float32) * 0.5
    sound[3 * RATE : 4 * RATE] += sweep
    shown = [np.full((48, 64, 3), 200 if 30 <= index < 40 else 20, np.uint8) for index in range(80)]
    encode(tmp_path / "a.mp4", sound, RATE, shown, video)
    heard, seen = decode(tmp_path / "a.mp4")
    correlation = np.correlate(heard[: 5 * RATE : 4], sweep[::4], mode="valid")
    assert abs(np.argmax(correlation) * 4 / RATE - 3.0) < 0.002
    np.testing.assert_array_equal(seen.mean(axis=(1, 2, 3)) > 110, [30 <= index < 40 for index in range(80)])
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert float(container.streams.video[0].start_time * container.streams.video[0].time_base) == 0
        keys = [float(packet.pts * packet.time_base) for packet in container.demux(video=0) if packet.is_keyframe]
        assert max(np.diff(keys)) <= 1
        assert Fraction(container.duration, av.time_base) == pytest.approx(8, abs=0.05)


# ---- the preview


def test_the_preview_chooses_sources_with_new_labels_first(composed: Path) -> None:
    chosen = preview.choose(composed, 4, "weak")
    labels = [{event["label"] for event in record["events"]} for _, record in chosen]
    assert all(path.is_file() and record["split"] == "weak" for path, record in chosen)
    assert len(labels[0]) == max(map(len, labels)) and not labels[1] <= labels[0]
    with pytest.raises(UserError, match="no composed sources of split 'tset'; compose the corpus first"):
        preview.choose(composed, 4, "tset")
