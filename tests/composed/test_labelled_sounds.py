"""Composed sound-only corpora in the forms of Kinetics, VGGSound and EPIC-KITCHENS-100."""

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from tones import DRAWN, RATE, Tones, use_tones

from composed.composers import epic_kitchens, kinetics, vggsound
from composed.composers.epic_kitchens import timestamp
from composed.scenes.soundscape import Pitched
from composed.scenes.sources import Source
from composed.sounds.envelopes import CURVES, Envelope, shaped
from workflow_scripts.corpora.annotate import MANIFEST, held_out, manifest
from workflow_scripts.corpora.readers.epic_kitchens import Reader as EpicReader
from workflow_scripts.corpora.readers.epic_kitchens import seconds
from workflow_scripts.corpora.readers.kinetics import Reader as KineticsReader
from workflow_scripts.corpora.readers.vggsound import Reader as VggReader
from workflow_scripts.errors import UserError
from workflow_scripts.media.audio import decode
from workflow_scripts.media.plan import FetchClips
from workflow_scripts.settings.download import Download
from workflow_scripts.shards import read, write

LABELLED = {"clips": {"train": 15, "validation": 14, "test": 14}, "clip_seconds": 2, "source_seconds": [4, 6]}
ACTIONS = {"clips": {"train": 34, "validation": 30, "test": 30}}
FEW_SOUNDS = {
    "sounds": {"a": {"sound": "rain"}, "b": {"sound": "Frying"}},
    "clips": {"train": 4, "validation": 2, "test": 3},
}
FEW_ACTIONS = {
    "clips": {"train": 6, "validation": 4, "test": 4},
    "verbs": {"a": "pulsing", "b": "rising"},
    "nouns": {"tap": "Running_water", "rain": "rain"},
}
FEW = {"kinetics": FEW_SOUNDS, "vggsound": FEW_SOUNDS, "epic_kitchens": FEW_ACTIONS}
CORPORA = {
    "kinetics": (kinetics.Composer, LABELLED, KineticsReader(classes="all")),
    "vggsound": (vggsound.Composer, LABELLED, VggReader(clip_seconds=2)),
    "epic_kitchens": (epic_kitchens.Composer, ACTIONS, EpicReader()),
}


@pytest.fixture
def tones(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tones(monkeypatch)


def compose(name: str, folder: Path, workers: int = 1, given: dict[str, Path] | None = None, **changes: Any) -> Any:
    kind, small, _ = CORPORA[name]
    composer = kind.check({**small, **changes}, "test")
    if given is None:  # `Tones` reads no recording, but their content is part of what a source is made from
        folder.mkdir(exist_ok=True)
        (folder / "recording").write_text("")
        given = dict.fromkeys(composer.assets, folder / "recording")
    composer.compose(given, folder, workers)
    return composer


def clips_of(name: str, folder: Path) -> list[dict[str, Any]]:
    reader = CORPORA[name][2]
    files = {role: folder / file for role, file in reader.files.items()}
    return list(held_out(reader.read(files), folder / "held_out.txt"))


def checksums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(params=CORPORA)
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def test_the_reader_finds_what_was_asked(name: str, tmp_path: Path, tones: None) -> None:
    composer = compose(name, tmp_path)
    clips = clips_of(name, tmp_path)
    assert Counter(clip["split"] for clip in clips) == composer.clips
    assert len({clip["clip_id"] for clip in clips}) == len(clips)
    by_split = defaultdict(set)
    for clip in clips:
        info = soundfile.info(tmp_path / "sources" / f"{clip['video_id']}.flac")
        assert info.samplerate == RATE and info.channels == 1
        assert 0 < clip["start"] < clip["end"] < info.duration, "sources are longer than clips, on both sides"
        assert clip["end"] - clip["start"] <= composer.clip_seconds + 1e-9
        by_split[clip["split"]].add(tuple(clip["labels"]))
    assert by_split["train"] == by_split["validation"] == by_split["test"]
    whole = 30 if name == "epic_kitchens" else len(composer.sounds)
    assert len(by_split["train"]) == whole and whole >= 12
    assert len(list((tmp_path / "sources").iterdir())) == len({clip["video_id"] for clip in clips})
    notice = (tmp_path / "COMPOSED.md").read_text(encoding="utf-8")
    assert "composed" in notice and f"| test | {composer.clips['test']} |" in notice


def test_the_annotations_have_the_true_forms(tmp_path: Path, tones: None, shared: Path) -> None:
    for corpus in CORPORA:
        names = {"sounds": {"a, b": {"sound": "rain"}, "c": {"sound": "gong"}}} if corpus == "vggsound" else {}
        compose(corpus, tmp_path / corpus, **FEW[corpus] | names)
    assert (tmp_path / "kinetics/train.csv").read_text().startswith("label,youtube_id,time_start,time_end,split\n")
    with (tmp_path / "vggsound/vggsound.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert {len(row) for row in rows} == {4} and any("," in row[2] for row in rows)
    true = shared / "data/metadata/epic_kitchens"
    for file in ("EPIC_100_validation.csv", "EPIC_100_verb_classes.csv", "EPIC_100_noun_classes.csv"):
        forms = [
            (folder / file).read_text(encoding="utf-8").splitlines()[0] for folder in (true, tmp_path / "epic_kitchens")
        ]
        assert forms[0] == forms[1]


def test_the_same_seed_gives_the_same_bytes(name: str, tmp_path: Path, tones: None) -> None:
    compose(name, tmp_path / "one", **FEW[name])
    compose(name, tmp_path / "again", **FEW[name])
    compose(name, tmp_path / "other", **FEW[name], seed=1)
    assert checksums(tmp_path / "one") == checksums(tmp_path / "again")
    others = {path: value for path, value in checksums(tmp_path / "other").items() if path.startswith("sources")}
    assert not others.keys() & checksums(tmp_path / "one").keys(), "other sources have other names: none is stale"


def test_what_an_earlier_composition_left_is_removed(tmp_path: Path, tones: None) -> None:
    compose("kinetics", tmp_path, **FEW_SOUNDS)
    before = checksums(tmp_path / "sources")
    compose("kinetics", tmp_path, **FEW_SOUNDS | {"clips": {"train": 5, "validation": 2, "test": 3}})
    after = checksums(tmp_path / "sources")
    assert len(after) == 10 and before.items() <= after.items()
    compose("kinetics", tmp_path, **FEW_SOUNDS, seed=1)
    assert not checksums(tmp_path / "sources").keys() & after.keys()


def test_splits_share_no_draw(name: str, tmp_path: Path, tones: None) -> None:
    compose(name, tmp_path, **FEW[name])
    assert {split for split, _ in DRAWN} == {"train", "validation", "test"}
    assert len({pitch for _, pitch in DRAWN}) == len(DRAWN)


def test_real_sounds_do_not_depend_on_the_number_of_processes(asset: Callable[[str], Path], tmp_path: Path) -> None:
    given = {"water_recording": asset("water_recording")}
    for workers in (1, 2):
        compose("epic_kitchens", tmp_path / str(workers), workers, given, **FEW_ACTIONS)
    assert checksums(tmp_path / "1") == checksums(tmp_path / "2")
    for path in (tmp_path / "1" / "sources").iterdir():
        sound, rate = soundfile.read(path)
        assert rate == RATE and 0.001 < sound.std() < 1


def test_clips_are_cut_to_the_sample(tmp_path: Path, tones: None) -> None:
    compose("vggsound", tmp_path, **FEW_SOUNDS)
    rows = list(manifest(lambda: clips_of("vggsound", tmp_path), "{video_id}.flac"))[:3]
    write(tmp_path / "manifest.parquet", rows, MANIFEST)
    given = {"manifest": tmp_path / "manifest.parquet", "served": tmp_path / "sources", "store": tmp_path / "store"}
    FetchClips(download=Download(streams=("audio",)), **given).run(tmp_path / "clips.parquet")
    for row, clip in zip(rows, read(tmp_path / "clips.parquet"), strict=True):
        assert clip["status"] == "ok", clip
        first, last = int(row["start"] * RATE), int(row["end"] * RATE)
        wanted, _ = soundfile.read(tmp_path / "sources" / row["link"], start=first, stop=last, dtype="int16")
        (found,), _ = decode(tmp_path / "store" / clip["path"])
        assert np.array_equal(found * 32_768, wanted)


def test_sounds_come_at_many_times_pitches_and_levels(tmp_path: Path, tones: None) -> None:
    bank = Pitched(Tones({}, [], 0), (0.5, 2))
    rng = np.random.default_rng(0)
    lengths = [len(bank.draw("a", "train", rng, 1.0)) / RATE for _ in range(20)]
    assert all(length == pytest.approx(1, abs=0.03) for length in lengths), "a sound is as long as it was asked for"
    played = [
        np.abs(np.fft.rfft(bank.draw("a", "train", rng, 1.0))).argmax() / length
        for length in [bank.draw("a", "train", rng, 1.0).size / RATE for _ in range(20)]
    ]
    assert max(played) > 2 * min(played)

    composer = kinetics.Composer.check(LABELLED, "test")
    found = []
    for index in range(60):
        source = Source("x", "train", index)
        scene = composer.scene(Tones({}, [], 0), RATE, source, np.random.default_rng(index))
        start, end = scene.section
        inside = [e for e in scene.events if e.onset < end and e.offset > start]
        assert [e.label for e in inside] == [composer.label(source)], "no other label reaches into the clip"
        found.append((inside[0].onset - start, inside[0].gain_db))
    onsets, gains = np.array(found).T
    assert onsets.min() >= -1 and np.ptp(onsets[onsets > 0]) > 0.5
    assert gains.min() < 1 and gains.max() > 12


@pytest.mark.parametrize("envelope", CURVES)
def test_envelopes_differ_in_time(envelope: Envelope) -> None:
    rng = np.random.default_rng(1)
    sound = shaped(envelope, rng.normal(0, 1, 3 * RATE).astype(np.float32), RATE, rng)
    level = np.sqrt(np.square(sound).reshape(-1, RATE // 50).mean(axis=1))  # 20-ms frames
    early, late = level[2:40].mean(), level[-40:-2].mean()
    silent = level < 0.05
    rises = int(((silent[:-1]) & (~silent[1:])).sum())
    if envelope == "rising":
        assert late > 3 * early
    elif envelope == "falling":
        assert early > 3 * late
    elif envelope == "briefly":
        assert rises <= 1 and early == pytest.approx(late, rel=0.1)
    else:
        assert rises + 1 in (range(10, 19) if envelope == "pulsing" else range(3, 6))


@given(time=st.floats(0, 36_000))
def test_times_are_read_as_they_were_written(time: float) -> None:
    assert seconds(timestamp(time, 2)) == pytest.approx(round(time, 2))


def test_every_action_lies_in_its_time(tmp_path: Path, tones: None) -> None:
    composer = epic_kitchens.Composer.check(ACTIONS, "test")
    recording = tmp_path / "recording"
    recording.touch()
    for source in composer.wanted(dict.fromkeys(composer.assets, recording))[:8]:
        actions = composer.schedule(source)
        scene = composer.scene(Tones({}, [], 0), RATE, source, np.random.default_rng(0))
        for action, event in zip(actions, scene.events, strict=True):
            assert action.start <= event.onset < event.offset <= action.stop + 1e-9
            assert event.label == f"{action.verb} {action.noun}"
        assert all(before.stop < after.start for before, after in pairwise(actions))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("kinetics", {"sede": 1}, "unknown key 'sede'; did you mean 'seed'"),
        (
            "kinetics",
            {"clips": {"train": 20}},
            "clips: give each of train, validation, test at least 12, the number of labels",
        ),
        ("vggsound", {"clips": {"train": 20, "validation": 14, "test": 3}}, "at least 14, the number of labels"),
        ("kinetics", {"source_seconds": [3, 6]}, "at least 2 s longer than clip_seconds"),
        ("kinetics", {"soundscape": {"pitch": [2, 1]}}, "the first bound is greater"),
        ("kinetics", {"soundscape": {"pitch": [0, 1]}}, "a speed is above 0"),
        (
            "epic_kitchens",
            {"clips": {"train": 40, "validation": 30, "test": 29}},
            "at least 30, the number of verbs times nouns",
        ),
        ("epic_kitchens", {"verbs": {"a": "loudly", "b": "rising"}}, "verbs.a"),
        ("epic_kitchens", {"clip_seconds": 3}, "clip_seconds"),
    ],
)
def test_a_wrong_setting_is_one_sentence(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        CORPORA[name][0].check(changes, "corpora.yaml")
    assert str(caught.value).startswith("corpora.yaml") and "\n" not in str(caught.value)


def test_a_missing_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--asset water_recording=PATH"):
        compose("epic_kitchens", tmp_path, given={})
    with pytest.raises(UserError, match="'nightingale' is not in the sound bank"):
        nouns = {"a": "nightingale", "b": "Frying"}
        files = {"water_recording": tmp_path / "x"}
        files["water_recording"].touch()
        compose("epic_kitchens", tmp_path, given=files, nouns=nouns)
