"""The composed corpus in the form of YouTube-8M: its records, plans, vocabulary and texts."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from composed.composers.youtube8m import Composer
from composed.scenes.scene import Event
from composed.tagged_videos.embeddings import Features, Reduction, Whitening
from composed.tagged_videos.scenery import (
    GLYPHS,
    Clip,
    LongTail,
    Scenery,
    clips,
    film,
    long_tail,
    sample_labels,
    sample_topics,
)
from composed.text.topics import TOPICS
from composed.text.video_text import KEYWORD_PHRASES, OTHER_LANGUAGES, OTHER_SCRIPTS, Wording, uploaded
from workflow_scripts.errors import UserError
from workflow_scripts.formats import youtube8m

TINY: dict[str, Any] = {
    "videos": {"train": 14, "validate": 9},
    "files": 2,
    "videos_a_clip": {"train": 2, "validate": 2},
    "scenery": {"seconds": [2, 3], "talk": 0},
}
TOPIC = st.sampled_from(sorted(TOPICS))
SEED = st.integers(0, 2**32)


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def composed(asset: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    composer = Composer.check(TINY, "test")
    folder = tmp_path_factory.mktemp("composed")
    composer.compose({name: asset(name) for name in composer.assets}, folder, 2)
    return folder


def test_one_and_two_workers_compose_the_same_bytes_whatever_was_there(
    composed: Path, asset: Callable[[str], Path], tmp_path: Path
) -> None:
    composer = Composer.check(TINY, "test")
    stale = tmp_path / "sources/2/video/train/train0Z.tfrecord"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of another composition")
    composer.compose({name: asset(name) for name in composer.assets}, tmp_path, 1)
    assert contents(tmp_path) == contents(composed)


def test_records_of_both_levels_agree_and_are_those_of_the_plans(composed: Path) -> None:
    names = youtube8m.vocabulary(composed / "vocabulary.csv")
    ids: list[str] = []
    for part, count in TINY["videos"].items():
        found: dict[str, list[Any]] = {}
        for level, read in (("video", youtube8m.read_videos), ("frame", youtube8m.read_frames)):
            plan = json.loads((composed / f"sources/2/download_plans/{level}_{part}.json").read_text())
            files = youtube8m.plan_files(plan, 1, 1)
            assert len(files) == TINY["files"]
            for name, checksum in files.items():
                path = composed / "sources/2" / level / part / name
                assert hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == checksum
                found.setdefault(level, []).extend(read(path))
        assert len(found["video"]) == count
        for video, frames in zip(found["video"], found["frame"], strict=True):
            assert (video.clip_id, video.labels) == (frames.clip_id, frames.labels)
            assert 2 <= len(frames.rgb) == len(frames.audio) <= 3
            assert np.allclose(video.rgb, youtube8m.dequantise(frames.rgb).mean(axis=0), atol=1e-6)
            assert np.allclose(video.audio, youtube8m.dequantise(frames.audio).mean(axis=0), atol=1e-6)
            assert 2 <= len(video.labels) <= 4 and set(video.labels) <= set(range(len(names)))
            assert video.rgb.std() > 0.01 and video.audio.std() > 0.01
        ids += [video.clip_id for video in found["video"]]
    assert len(set(ids)) == len(ids)
    assert {len(name) for name in ids} == {4}


def test_the_vocabulary_counts_the_training_videos_from_the_most_frequent_label_on(composed: Path) -> None:
    names = youtube8m.vocabulary(composed / "vocabulary.csv")
    files = sorted((composed / "sources/2/video/train").iterdir())
    counted = Counter(label for path in files for video in youtube8m.read_videos(path) for label in video.labels)
    with (composed / "vocabulary.csv").open(newline="") as file:
        counts = [int(row["TrainVideoCount"]) for row in csv.DictReader(file)]
    assert counts == [counted[index] for index in range(len(names))] == sorted(counts, reverse=True)
    assert set(TOPICS) | {parent for about in TOPICS.values() for parent in about.parents} == set(names)


def test_texts_have_the_form_of_the_authors_files(composed: Path) -> None:
    files = (composed / "sources/2/video").rglob("*.tfrecord")
    ids = {video.clip_id for path in files for video in youtube8m.read_videos(path)}
    titles = json.loads((composed / "text/video_titles_raw.json").read_text())
    keywords = json.loads((composed / "text/combined_metadata.json").read_text())
    assert 0 < len(titles) < len(ids) and set(titles) < ids and all(titles.values())
    assert {entry["video_id"] for entry in keywords} < ids
    assert all(len(entry["keywords"]) == 1 and entry["keywords"][0] for entry in keywords)


@given(st.integers(1, 5000), st.integers(1, 9), st.floats(0, 20), st.floats(0, 4))
def test_the_long_tail_shares_out_all_videos_and_falls(videos: int, fewest: int, head: float, exponent: float) -> None:
    counts = long_tail(videos, LongTail(head=head, exponent=exponent), fewest)
    assert sum(counts) == videos and len(counts) == len(TOPICS)
    assert counts == sorted(counts, reverse=True)
    assert min(counts) >= min(fewest, videos // (2 * len(TOPICS)))


@given(st.integers(1, 3000), st.integers(1, 9))
def test_every_video_is_made_of_a_clip_and_no_topic_of_a_single_one(videos: int, videos_a_clip: int) -> None:
    counts = long_tail(videos, LongTail(), 2)
    found = clips("train", counts, videos_a_clip)
    assert [clip.index for clip in found] == list(range(len(found)))
    for name, count in zip(TOPICS, counts, strict=True):
        mine = [clip.videos for clip in found if clip.topic == name]
        assert sum(mine) == count and len(mine) >= min(2, count) and 0 not in mine


def test_labels_have_a_long_tail_and_are_two_to_four() -> None:
    composer = Composer()
    counts: Counter[str] = Counter()
    number = []
    for part in ("train", "validate"):
        for clip in composer.clips(part):
            rng = np.random.default_rng(clip.index)
            labels = sample_labels(composer.scenery, sample_topics(composer.scenery, clip.topic, rng), rng)
            counts.update(dict.fromkeys(labels, clip.videos))
            number += clip.videos * [len(labels)]
    frequent = sorted(counts.values(), reverse=True)
    assert 0.45 <= sum(frequent[:10]) / sum(frequent) <= 0.65
    assert 6 <= frequent[-1] <= 12
    assert {2, 3, 4} == set(number) and 2.5 <= np.mean(number) <= 3.3


@given(TOPIC, SEED)
def test_topics_bring_their_wider_labels(topic: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    topics = sample_topics(Scenery(), topic, rng)
    labels = sample_labels(Scenery(parent_kept=1), topics, rng)
    assert topics[0] == topic and labels[: len(topics)] == topics and len(set(labels)) == len(labels)
    assert 2 <= len(labels) <= 4
    assert set(labels) <= {label for name in topics for label in TOPICS[name].labels(name)}


class Hum:
    """A sound bank that writes down what is drawn from it."""

    def __init__(self) -> None:
        self.drawn: list[tuple[str, str]] = []

    def draw(self, sound: str, split: str, rng: np.random.Generator, seconds: float | None = None) -> np.ndarray:
        self.drawn.append((sound, split))
        return rng.standard_normal(int(100 * (seconds or 1) * rng.uniform(0.5, 2))).astype(np.float32)

    def background(self, split: str, rng: np.random.Generator, seconds: float) -> np.ndarray:
        return rng.standard_normal(int(100 * seconds)).astype(np.float32)


@given(TOPIC, SEED, st.sampled_from(["train", "validate"]))
def test_scenes_show_and_play_only_what_exists_within_the_clip(topic: str, seed: int, part: str) -> None:
    bank = Hum()
    take = film(Scenery(), bank, 100, Clip(part, 0, topic, 1), np.random.default_rng(seed))
    assert {split for _, split in bank.drawn} <= {part}
    assert [event.label for event in take.scene.events] == [sound for sound, _ in bank.drawn]
    things: tuple[Any, ...] = (*take.scene.events, *take.scene.pictures)
    assert all(0 <= thing.onset < thing.offset <= take.scene.seconds for thing in things)
    assert {picture.subject for picture in take.scene.pictures} <= set(GLYPHS)


def test_absent_pictures_and_sounds_come_at_their_rates() -> None:
    scenery = Scenery(talk=0, bystander=0, sound_wrong=0, picture_absent=0.3, picture_wrong=0.1, sound_absent=0.4)
    seen: list[bool] = []
    heard: list[bool] = []
    for seed in range(800):
        take = film(scenery, Hum(), 100, Clip("train", 0, "Dog", 1), np.random.default_rng(seed))
        seen.append("Dog" in {picture.subject for picture in take.scene.pictures})
        events: tuple[Event, ...] = take.scene.events
        heard.append("Dog" in {event.label for event in events})
    assert np.mean(seen) == pytest.approx(0.6, abs=0.06)
    assert np.mean(heard) == pytest.approx(0.6, abs=0.06)


def test_ids_differ_and_a_division_by_them_parts_clips() -> None:
    composer = Composer()
    wanted = {part: composer.clips(part) for part in ("train", "validate")}
    made = composer.made(wanted)
    ids = [video.clip_id for videos in made.values() for video in videos]
    assert len(set(ids)) == len(ids) == sum(composer.videos.values())
    for part, videos in made.items():
        splits: dict[int, set[str]] = {}
        for video in videos:
            splits.setdefault(video.place, set()).add(youtube8m.split_of(part, video.clip_id, 0.2039, 1 / 3))
        assert sum(len(names) > 1 for names in splits.values()) <= 1
        main = "train" if part == "train" else "validation"
        learnt = {wanted[part][place].topic for place, names in splits.items() if main in names}
        assert learnt == set(TOPICS)
        assert {(video.place, video.number) for video in videos} == {
            (clip.index, number) for clip in wanted[part] for number in range(clip.videos)
        }


def test_texts_are_missing_at_the_papers_rates() -> None:
    rng = np.random.default_rng(0)
    texts = [uploaded(Wording(), ["Owl", "Bell"], rng) for _ in range(4000)]
    foreign = {*OTHER_SCRIPTS, *OTHER_LANGUAGES}
    title = np.array([text.title is not None and text.title not in foreign for text in texts])
    keywords = np.array([text.keywords is not None and text.keywords not in foreign for text in texts])
    assert title.mean() == pytest.approx(0.79, abs=0.02)
    assert keywords.mean() == pytest.approx(0.66, abs=0.02)
    assert (title & keywords).mean() == pytest.approx(0.633, abs=0.02)
    for present in ([text.title for text in texts if text.title], [text.keywords for text in texts if text.keywords]):
        for texts_of in (OTHER_SCRIPTS, OTHER_LANGUAGES):
            assert np.mean([text in texts_of for text in present]) == pytest.approx(0.04, abs=0.012)


@given(st.lists(TOPIC, min_size=1, max_size=2, unique=True), SEED)
def test_keywords_keep_their_bounds_and_titles_fill_their_patterns(topics: list[str], seed: int) -> None:
    always = Wording(with_title=1, with_keywords=1, with_both=1, vague=0, general=0, misleading=0)
    text = uploaded(always, topics, np.random.default_rng(seed))
    assert text.title and not set("{}") & set(text.title)
    labels = {label.lower() for name in topics for label in TOPICS[name].labels(name)}
    words = labels | {word for name in topics for word in TOPICS[name].words}
    phrases = {phrase.format(word) for phrase in KEYWORD_PHRASES for word in words}
    assert text.keywords and set(text.keywords.split(",")) <= words | phrases
    assert any(word in text.title.lower() for word in words)
    assert len(text.keywords.split(",")) <= always.keywords[1]


def test_wider_labels_are_consistent() -> None:
    for name, about in TOPICS.items():
        for parent in set(about.parents) & set(TOPICS):
            assert set(TOPICS[parent].parents) <= set(about.parents), f"{name} is a {parent}"


def test_whitening_fills_the_quantisers_range_and_pads_missing_components() -> None:
    rng = np.random.default_rng(0)
    embeddings = (rng.standard_normal((60, 30)) * np.linspace(5, 0.1, 30) + 3).astype(np.float32)
    few = Whitening.fit(embeddings[:10], 20, Reduction())(embeddings[:10])
    assert not few[:, 9:].any() and few[:, :9].std(axis=0).min() > 0
    reduction = Reduction(whitening=1e-6, clipped=0.02)
    whole = Whitening.fit(embeddings, 20, reduction)(embeddings)
    assert np.mean(np.abs(whole) > 2) == pytest.approx(0.02, abs=0.003)
    correlation = np.corrcoef(whole.T)
    assert np.allclose(correlation, np.eye(20), atol=0.01) and np.allclose(whole.mean(axis=0), 0, atol=1e-4)
    assert whole.std(axis=0).max() / whole.std(axis=0).min() == pytest.approx(1, abs=0.01)


def test_sampled_videos_lie_around_their_clip_as_frames_lie_within_clips() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((5, 5))
    shots = [(rng.standard_normal((8, 5)) @ mixing + 10 * rng.standard_normal(5)).astype(np.float32) for _ in range(80)]
    features = Features.of(shots)
    silent = features.sample(3, 6, Reduction(frame_noise=0, video_noise=0), rng)
    assert silent.shape == (6, 5) and all((row == shots[3]).all(axis=1).any() for row in silent)
    noisy = np.concatenate([features.sample(3, 1, Reduction(frame_noise=0, video_noise=1), rng) for _ in range(4000)])
    within = np.concatenate([shot - shot.mean(axis=0) for shot in shots])
    expected = np.cov(within.T, bias=True) + np.cov(shots[3].T, bias=True)
    assert np.allclose(np.cov(noisy.T), expected, atol=0.12 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"videos": {"train": 10}}, "videos"),
        ({"videos": {"train": 10, "validate": 3}}, "files"),
        ({"scenery": {"shown": [0.9, 0.5]}}, "first bound"),
        ({"wording": {"titel": 1}}, "titel"),
    ],
)
def test_mistakes_in_the_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Composer.check(settings, "test")


def test_a_missing_asset_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="emoji_font"):
        Composer.check(TINY, "test").compose({}, tmp_path, 1)
