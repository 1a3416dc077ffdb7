"""Composed corpora of captioned scenes in the forms of AudioCaps and Clotho."""

import csv
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from tones import DRAWN, RATE, Tones, use_tones

from composed.composers import audiocaps, clotho
from composed.scenes.captioned_scenes import GAP, LONG_ENOUGH, RECORDINGS, Player, Repertoire
from composed.scenes.soundscape import Pitched
from composed.sounds.bank import SoundBank
from composed.text.caption_templates import KINDS, captions
from workflow_scripts.corpora.annotate import MANIFEST, manifest
from workflow_scripts.corpora.readers.audiocaps import Reader as AudioCapsReader
from workflow_scripts.corpora.readers.clotho import METADATA
from workflow_scripts.corpora.readers.clotho import Reader as ClothoReader
from workflow_scripts.errors import UserError
from workflow_scripts.media.plan import FetchClips
from workflow_scripts.settings.download import Download
from workflow_scripts.shards import read, write

SMOKE = {"clips": {"train": 5, "validation": 4, "test": 3}}
CORPORA: dict[str, tuple[Any, Any]] = {
    "audiocaps": (audiocaps.Composer, AudioCapsReader(clip_seconds=6)),
    "clotho": (clotho.Composer, ClothoReader()),
}
SEQUENCE = re.compile(r"\b(then|followed|before|after|first|finally)\b")
TIES = re.compile(r"\b(while|as)\b|at the same time")


@pytest.fixture
def tones(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tones(monkeypatch)


@pytest.fixture(params=CORPORA)
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def compose(name: str, folder: Path, workers: int = 1, given: dict[str, Path] | None = None, **changes: Any) -> Any:
    composer = CORPORA[name][0].check({**SMOKE, **changes}, "test")
    if given is None:  # `Tones` reads no recording, but their content is part of what a source is made from
        folder.mkdir(exist_ok=True)
        (folder / "recording").write_text("")
        given = dict.fromkeys(composer.assets, folder / "recording")
    composer.compose(given, folder, workers)
    return composer


def clips_of(name: str, folder: Path) -> list[dict[str, Any]]:
    reader = CORPORA[name][1]
    present = {role: folder / file for role, file in reader.files.items() if (folder / file).is_file()}
    return list(reader.read(present))


def truth_of(folder: Path) -> dict[tuple[str, int], list[dict[str, str]]]:
    """The rows of truth.csv by clip and number of the caption."""
    found = defaultdict(list)
    with (folder / "truth.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found[row["clip_id"], int(row["caption"])].append(row)
    return dict(found)


def checksums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def check_wordings(text: str, events: Sequence[tuple[int | str, str]], temporal: bool) -> None:
    """The order of events (order, wording) is the one that a caption tells, or at least lists."""
    text = text.lower()
    places = [(order, text.index(wording), wording) for order, wording in events]
    for _, _, wording in places:
        assert len(re.findall(rf"\b{wording}\b", text)) == 1, f"'{wording}' in '{text}'"
    first, last = (sorted(places, key=lambda place: place[1])[n] for n in (0, -1))
    orders = [order for order, *_ in places]
    numbers = sorted({order for order in orders if isinstance(order, int)})
    for before, after in pairwise(numbers):
        here = [place for number, place, _ in places if number == before]
        later = [place for number, place, _ in places if number == after]
        inverted = temporal and " after " in text
        assert (min(here) > max(later)) if inverted else (max(here) < min(later)), text
    assert bool(SEQUENCE.search(text)) == (temporal and len(numbers) > 1)
    if temporal and orders.count(1) == 2 and numbers == [1]:
        between = text[first[1] + len(first[2]) : last[1]] + text[last[1] + len(last[2]) :]
        assert TIES.search(between), text
    if not temporal:
        assert not TIES.search(text), text
    if "background" in orders:
        assert re.search(r"in the background|continuously|throughout", text)


# ---- captions


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[list[str]], str | None]:
    """What `cast` makes of a corpus's defaults."""
    seed, seconds = draw(st.integers(0, 2**32)), draw(st.floats(5, 8))
    composer: clotho.Composer = CORPORA["clotho"][0].check({}, "test")
    return composer.cast(np.random.default_rng(seed), seconds)


@settings(max_examples=120)
@given(scene=scenes(), seed=st.integers(0, 2**32), temporal=st.sampled_from([0.0, 0.5, 1.0]))
def test_captions_tell_the_order(scene: tuple[list[list[str]], str | None], seed: int, temporal: float) -> None:
    groups, background = scene
    names = [*(name for group in groups for name in group), *([background] if background else [])]
    orders = {name: order for order, group in enumerate(groups, 1) for name in group}
    made = captions(groups, background, temporal, np.random.default_rng(seed), ".", 5)
    assert len({caption.text for caption in made}) == 5, "no two references are the same"
    for caption in made:
        assert caption.wordings.keys() == set(names), "every event is named, and nothing else"
        assert caption.temporal == (len(names) > 1) if temporal == 1 else caption.temporal in (False, bool(temporal))
        events = [(orders.get(name, "background"), caption.wordings[name]) for name in names]
        check_wordings(caption.text, events, caption.temporal)
        assert re.fullmatch(r"[A-Z][a-z, ]+[a-z]\.", caption.text) and "  " not in caption.text
        assert not re.search(r"\b(a [aeiou]|an [^aeiou]|(\w+) \2\b)| ,", caption.text), caption.text


def test_the_check_can_fail() -> None:
    events = [(1, "a dog barks"), (2, "rain falls")]
    check_wordings("Rain falls after a dog barks", events, True)
    for text, temporal in (
        ("Rain falls before a dog barks", True),
        ("A dog barks and rain falls", True),
        ("A dog barks, then rain falls", False),
        ("A dog barks while rain falls", False),
    ):
        with pytest.raises(AssertionError):
            check_wordings(text, events, temporal)


def test_words_fit_their_subjects() -> None:
    assert len(KINDS) >= 30
    for name, kind in KINDS.items():
        for simple, ing in kind.verbs:
            assert re.search(r"\w+ing\b", ing), name
            assert simple.split()[0].endswith("s") != kind.plural, f"{name}: {simple}"
        assert all(subject == subject.lower() for subject in kind.subjects)


# ---- scenes


def test_rates(name: str) -> None:
    composer = CORPORA[name][0].check({}, "test")
    rng = np.random.default_rng(0)
    sampled = [composer.cast(rng, 6.0) for _ in range(3000)]
    numbers = Counter(sum(map(len, groups)) + (background is not None) for groups, background in sampled)
    for number, share in composer.events.items():
        assert numbers[number] / len(sampled) == pytest.approx(share, abs=0.03)
    several = [(groups, background) for groups, background in sampled if len(groups) + (background is not None) > 1]
    assert 0.7 < len(several) / len(sampled) < 0.9
    assert sum(b is not None for _, b in sampled) / (len(sampled) - numbers[1]) == pytest.approx(
        composer.background, abs=0.03
    )
    temporal = [captions(*scene, composer.temporal, rng, "", 1)[0].temporal for scene in several]
    assert np.mean(temporal) == pytest.approx(composer.temporal, abs=0.04)
    heard = Counter(KINDS[kind].sound for groups, _ in sampled for group in groups for kind in group)
    assert len(heard) >= 20 and max(heard.values()) < 2.5 * min(heard.values()), "no sound is rare"
    for groups, background in sampled:
        sounds = [KINDS[kind].sound for group in groups for kind in group] + [KINDS[b].sound for b in [background] if b]
        assert len(set(sounds)) == len(sounds), "no sound is there twice"
        enveloped = any(KINDS[kind].envelope for group in groups for kind in group)
        assert not enveloped or 6 / len(groups) >= LONG_ENOUGH, "an envelope takes time"


@settings(max_examples=60)
@given(
    sizes=st.lists(st.sampled_from([1, 1, 2]), min_size=1, max_size=4),
    section=st.tuples(st.floats(0, 3), st.floats(4, 9)).map(lambda pair: (pair[0], sum(pair))),
    seed=st.integers(0, 2**32),
)
def test_events_follow_each_other(sizes: list[int], section: tuple[float, float], seed: int) -> None:
    plain = iter([name for name, kind in KINDS.items() if kind.envelope is None])
    groups = [[next(plain) for _ in range(size)] for size in sizes]
    player = Player(Tones({}, [], 0), RATE, "train", np.random.default_rng(seed))
    events = [(o, onset, onset + len(sound) / RATE) for _, o, onset, sound in player.timeline(groups, section)]
    assert [order for order, *_ in events] == [n for n, size in enumerate(sizes, 1) for _ in range(size)]
    assert all(section[0] <= onset < offset <= section[1] for _, onset, offset in events)
    for order in range(1, len(sizes)):
        done = max(offset for number, _, offset in events if number == order)
        assert min(onset for number, onset, _ in events if number == order + 1) >= done + GAP - 1e-6
    for (order, onset, offset), (other, later, until) in pairwise(events):
        if order == other:
            assert min(offset, until) - max(onset, later) > 0.5 * min(offset - onset, until - later)


# ---- corpora


def test_the_reader_finds_what_was_asked(name: str, tmp_path: Path, tones: None) -> None:
    composer = compose(name, tmp_path)
    clips = clips_of(name, tmp_path)
    assert Counter(clip["split"] for clip in clips) == composer.clips
    assert len({clip["clip_id"] for clip in clips}) == len({clip["video_id"] for clip in clips}) == len(clips)
    suffix = ".flac" if name == "audiocaps" else ""
    for clip in clips:
        assert len(set(clip["captions"])) == composer.references[clip["split"]] and clip.get("labels") is None
        info = soundfile.info(tmp_path / "sources" / f"{clip['video_id']}{suffix}")
        assert info.samplerate == RATE and info.channels == 1
        if name == "audiocaps":
            assert 0 < clip["start"] < clip["end"] < info.duration, "sources are longer than clips, on both sides"
        else:
            assert clip["end"] is None and 5 <= info.duration <= 8
    for kept in ("sources", "recipes"):
        assert sum(path.is_file() for path in (tmp_path / kept).rglob("*")) == len(clips)
    notice = (tmp_path / "COMPOSED.md").read_text(encoding="utf-8")
    assert f"| train | 5 | {composer.references['train']} |" in notice


def test_the_annotations_have_the_true_forms(tmp_path: Path, tones: None, shared: Path) -> None:
    for corpus, files in (
        ("audiocaps", ["train.csv", "val.csv", "test.csv"]),
        ("clotho", ["clotho_captions_evaluation.csv"]),
    ):
        compose(corpus, tmp_path / corpus)
        for file in files:
            with (tmp_path / corpus / file).open(newline="", encoding="utf-8") as made:
                rows = list(csv.reader(made))
            assert ",".join(rows[0]) == (shared / f"data/metadata/{corpus}/{file}").read_text("utf-8").splitlines()[0]
            assert {len(row) for row in rows} == {len(rows[0])}
            if file == "val.csv":
                assert len(rows) == 1 + 4 * 5 and all(row[1] != after[1] for row, after in pairwise(rows))
                assert len({row[0] for row in rows}) == len(rows), "every caption has an id of its own"
    parts = {path.name for path in (tmp_path / "clotho/sources").iterdir()}
    assert parts == set(METADATA), "a folder a split"


def test_the_truth_is_what_captions_tell(name: str, tmp_path: Path, tones: None) -> None:
    compose(name, tmp_path, clips={"train": 9, "validation": 5, "test": 5})
    truth, shares = truth_of(tmp_path), []
    for clip in clips_of(name, tmp_path):
        for number, text in enumerate(clip["captions"], 1):
            rows = truth.pop((clip["clip_id"], number))
            events = [
                (row["order"] if row["order"] == "background" else int(row["order"]), row["wording"]) for row in rows
            ]
            check_wordings(text, events, rows[0]["temporal"] == "1")
            assert text.endswith(".") == (name == "clotho")
            shares.append(rows[0]["temporal"] == "1")
            onsets = [float(row["onset"]) for row in rows if row["order"] != "background"]
            assert onsets == sorted(onsets) and all(float(row["onset"]) < float(row["offset"]) for row in rows)
    assert not truth, "no truth about other clips"
    assert 0 < np.mean(shares) < 1


def test_the_truth_is_what_is_heard(name: str, tmp_path: Path, tones: None) -> None:
    compose(name, tmp_path, background=0, kinds=["cat", "dog", "crockery", "pig", "speech"])
    recipes = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "recipes").rglob("*.json")}
    gaps = 0
    for path in (tmp_path / "sources").rglob("*.flac"):
        sound, _ = soundfile.read(path)
        level = np.sqrt(np.square(sound[: len(sound) // 640 * 640]).reshape(-1, 640).mean(axis=1))  # 20-ms frames
        time = (np.arange(len(level)) + 0.5) / 50
        events = [(event["onset"], event["offset"]) for event in recipes[path.stem]["heard"]]
        inside = np.any([(on + 0.05 < time) & (time < off - 0.08) for on, off in events], axis=0)
        outside = np.all([(time < on - 0.05) | (time > off + 0.05) for on, off in events], axis=0)
        assert level[inside].min() > 1.5 * np.median(level[outside])
        gaps += outside.sum()
    assert gaps > 500


def test_the_same_seed_gives_the_same_bytes(name: str, tmp_path: Path, tones: None) -> None:
    compose(name, tmp_path / "one")
    compose(name, tmp_path / "other", seed=1)
    others = {path for path in checksums(tmp_path / "other") if path.startswith("sources")}
    assert not others & checksums(tmp_path / "one").keys(), "other sources have other names: none is stale"
    compose(name, tmp_path / "other")
    assert checksums(tmp_path / "other") == checksums(tmp_path / "one"), "nothing is left of another composition"


def test_more_clips_leave_the_others_as_they_are(name: str, tmp_path: Path, tones: None) -> None:
    compose(name, tmp_path)
    before, said = checksums(tmp_path / "sources"), {c["clip_id"]: c["captions"] for c in clips_of(name, tmp_path)}
    compose(name, tmp_path, clips={"train": 6, "validation": 4, "test": 4})
    assert before.items() <= checksums(tmp_path / "sources").items()
    assert said.items() <= {clip["clip_id"]: clip["captions"] for clip in clips_of(name, tmp_path)}.items()


def test_splits_share_no_draw(name: str, tmp_path: Path, tones: None) -> None:
    compose(name, tmp_path)
    assert {split for split, _ in DRAWN} == {"train", "validation", "test"}
    assert len({pitch for _, pitch in DRAWN}) == len(DRAWN)
    assert len(set(checksums(tmp_path / "sources").values())) == 12


def test_real_sounds_do_not_depend_on_the_number_of_processes(asset: Callable[[str], Path], tmp_path: Path) -> None:
    recordings = {f"{recording}_recording": asset(f"{recording}_recording") for recording in RECORDINGS}
    quick = [name for name, kind in KINDS.items() if kind.sound not in ("Speech", "bell", "gong")]
    for workers in (1, 2):
        compose("audiocaps", tmp_path / str(workers), workers, recordings, kinds=quick)
    assert checksums(tmp_path / "1") == checksums(tmp_path / "2")


def test_every_kind_can_be_drawn_in_every_split(asset: Callable[[str], Path]) -> None:
    recordings = {f"{recording}_recording": asset(f"{recording}_recording") for recording in RECORDINGS}
    splits = clotho.Composer.splits
    bank = Pitched(Repertoire(SoundBank(recordings, splits, 0)), (0.8, 1.25))
    by_sound = {kind.sound: name for name, kind in KINDS.items() if kind.sound != "Speech"}
    for split in splits:
        player = Player(bank, RATE, split, np.random.default_rng(1))
        for name in by_sound.values():
            sound = player.draw(name, 2.5)
            assert 0.3 * RATE <= len(sound) <= 2.5 * RATE and sound.std() > 0.005, name
        for kind in KINDS.values():
            if kind.lasting:
                length = len(bank.draw(kind.sound, split, player.rng, 9.0)) / RATE
                assert length > 8.5, f"{kind.sound} does not go on"


def test_files_with_odd_names_are_served(tmp_path: Path, tones: None) -> None:
    compose("clotho", tmp_path)
    rows = list(manifest(lambda: clips_of("clotho", tmp_path), "{video_id}"))
    write(tmp_path / "manifest.parquet", rows, MANIFEST)
    given = {"manifest": tmp_path / "manifest.parquet", "served": tmp_path / "sources", "store": tmp_path / "store"}
    FetchClips(download=Download(streams=("audio",)), **given).run(tmp_path / "clips.parquet")
    for row, clip in zip(read(tmp_path / "manifest.parquet"), read(tmp_path / "clips.parquet"), strict=True):
        assert clip["status"] == "ok", clip
        wanted, _ = soundfile.read(tmp_path / "sources" / row["link"], dtype="int16")
        assert np.array_equal(soundfile.read(tmp_path / "store" / clip["path"], dtype="int16")[0], wanted)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("clotho", {"sede": 1}, "unknown key 'sede'; did you mean 'seed'"),
        ("clotho", {"clips": {"train": 9, "test": 9}}, "give each of train, validation, test at least 2"),
        ("clotho", {"clips": {"train": 9, "validation": 1, "test": 9}}, "give each of train, validation, test at"),
        ("audiocaps", {"kinds": ["dog", "cats"]}, "'cats' is no kind of event; did you mean 'cat'"),
        (
            "audiocaps",
            {"kinds": ["dog", "rain", "rain that sets in"]},
            "2 sounds without an envelope are too few",
        ),
        ("audiocaps", {"events": {5: 1}}, "name numbers from 1 to 4 with weights"),
        ("audiocaps", {"events": {2: 0}}, "name numbers from 1 to 4 with weights"),
        ("audiocaps", {"source_seconds": [7, 9]}, "at least 2 s longer than clip_seconds"),
        ("audiocaps", {"temporal": 1.1}, "temporal"),
        ("clotho", {"seconds": [3, 8]}, "a file is at least 4 s"),
        ("clotho", {"seconds": [8, 5]}, "the first bound is greater"),
        ("clotho", {"snr_db": [8, 5]}, "the first bound is greater"),
    ],
)
def test_a_wrong_setting_is_one_sentence(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        CORPORA[name][0].check(changes, "corpora.yaml")
    assert str(caught.value).startswith("corpora.yaml") and "\n" not in str(caught.value)


def test_a_missing_recording_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--asset cow_recording=PATH"):
        compose(name, tmp_path, given={})
