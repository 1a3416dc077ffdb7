"""A small composed corpus in the form of YouTube-8M of 2018: records, download plans, vocabulary and texts."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from composed import composer
from composed.files import write_csv, write_text
from composed.pictures.glyphs import FONT
from composed.tagged_videos.embeddings import ASSETS, Features, Reduction, Whitening
from composed.tagged_videos.scenery import PARTS, Clip, LongTail, Scenery, clips, long_tail
from composed.text.topics import TOPICS
from composed.text.video_text import Text, Wording, uploaded
from composed.types import Assets, Rng, Seed

if TYPE_CHECKING:
    from composed.tagged_videos.filming import Footage

LEVELS = ("video", "frame")
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_LENGTH = 4
VERTICALS = ("Vertical1", "Vertical2", "Vertical3")
COLUMNS = ("Index", "TrainVideoCount", "KnowledgeGraphId", "Name", "WikiUrl", *VERTICALS, "WikiDescription")
RECORDINGS = ("cow", "dog", "duck", "frog", "horse", "owl", "pig", "rainforest", "rooster", "train", "water")
NOTICE = """# Composed material

These are no videos and no data of YouTube-8M: only the form of the files is that of its 2018 edition, with the text
files of YouTube-8M-Text. Clips are composed: pictures are drawn from the glyphs of an emoji font, sounds are cut from
recordings and synthesised, and no clip is kept as a video. An image network (EfficientNet-lite0) and an audio network
(YAMNet) embed every second; principal components, fitted on the part `train` and whitened, stand in the places of
YouTube-8M's features, and its quantiser is applied. The first video of a clip has the clip's own features; others, if
there are any, are sampled around it, with noise as within the clips of its part. No feature follows from a label.
Titles and keywords are put together from patterns and word lists. Everything follows from the seed {seed}.

| part | clips | videos | labels a video |
|---|---|---|---|
{table}

The parts share neither a segment of a recording nor a parameter draw; they share the glyphs of a topic, drawn each time
in other colours, places, turns and perspectives. A topic is not seen in {absent:.0%} of its clips, and in {wrong:.0%}
another is seen in its place; a sounding topic is not heard in {silent:.0%}. Videos of one clip have neighbouring ids in
the order in which ids divide a part, so that dividing it parts clips as well.

`sources/` holds what a download server serves: plans, and records of videos and of their frames.

"""


@dataclass(frozen=True)
class Made:
    """A video to be written: the `number`-th of the clip at `place` among its part's; the first is the clip itself."""

    clip_id: str
    place: int
    number: int


class Composer(composer.Composer):
    """Films clips, samples videos around them, writes about them, and packs all as YouTube-8M does."""

    notice: ClassVar[str] = NOTICE

    revision: ClassVar[int] = 2

    seed: Seed = 2017
    videos: dict[str, int] = Field(
        default={"train": 2400, "validate": 1350}, description="Number of videos of the parts train and validate"
    )
    videos_a_clip: dict[str, float] = Field(
        default={"train": 3.5, "validate": 1},
        description="Videos made of one composed clip, on average, by part; with 1 the part's videos are independent",
    )
    tail: LongTail = Field(default=LongTail(), description="How frequent topics are")
    fewest: dict[str, int] = Field(
        default={"train": 4, "validate": 2},
        description="Videos of which even the rarest topic is the main one, by part",
    )
    files: int = Field(default=8, ge=1, le=len(ALPHABET) ** 2, description="Record files of each part and level")
    scenery: Scenery = Field(default=Scenery(), description="What is seen and heard in a clip")
    reduction: Reduction = Field(default=Reduction(), description="How embeddings become features")
    wording: Wording = Field(default=Wording(), description="What is written about a video")

    @property
    def assets(self) -> tuple[str, ...]:
        return (FONT, *ASSETS, *(f"{name}_recording" for name in RECORDINGS))

    @model_validator(mode="after")
    def both_parts(self) -> Self:
        for name in ("videos", "videos_a_clip", "fewest"):
            counts = getattr(self, name)
            if set(counts) != set(PARTS) or min(counts.values()) < 1:
                raise ValueError(f"{name}: give each of {', '.join(PARTS)} at least 1")
        if min(self.videos.values()) < self.files:
            raise ValueError("files: every file needs a video")
        return self

    def write(self, assets: Assets, folder: Path, workers: int) -> None:
        from threadpoolctl import threadpool_limits

        from composed.tagged_videos.filming import footage

        for old in ("sources", "text"):
            shutil.rmtree(folder / old, ignore_errors=True)
        wanted = {part: self.clips(part) for part in PARTS}
        shots = footage(self.scenery, self.seed, assets, [*wanted["train"], *wanted["validate"]], workers)
        edge = len(wanted["train"])
        filmed = {"train": shots[:edge], "validate": shots[edge:]}
        videos = self.made(wanted)
        classes = vocabulary(folder, [filmed["train"][video.place].labels for video in videos["train"]])
        with threadpool_limits(1):  # the same sums on every machine of a kind
            features = self.features(filmed)
            for part in PARTS:
                self.write_records(folder, part, videos[part], filmed[part], features[part], classes)
        self.write_texts(folder, videos, filmed)
        table = [
            (
                part,
                len(filmed[part]),
                len(videos[part]),
                f"{np.mean([len(filmed[part][video.place].labels) for video in videos[part]]):.2f}",
            )
            for part in PARTS
        ]
        about = self.scenery
        self.write_notice(
            folder, table, absent=about.picture_absent, wrong=about.picture_wrong, silent=about.sound_absent
        )

    def clips(self, part: str) -> list[Clip]:
        return clips(part, long_tail(self.videos[part], self.tail, self.fewest[part]), self.videos_a_clip[part])

    def made(self, wanted: Mapping[str, Sequence[Clip]]) -> dict[str, list[Made]]:
        """The videos of each part in the order of the records, with ids that no two videos share.

        A part is divided into splits by a hash of the id. Ids are given to clips in the order of that hash, and the
        clips of a topic are spread evenly over it: so videos of one clip fall into one split (but for a clip at the
        edge), and topics with several clips fall into both.
        """
        from workflow_scripts.formats.youtube8m import HASHES
        from workflow_scripts.shards import shard_of

        rng = np.random.default_rng([self.seed, len(PARTS)])
        every = identifiers(sum(self.videos.values()), rng)
        found: dict[str, list[Made]] = {}
        for part in PARTS:
            mine, every = every[: self.videos[part]], every[self.videos[part] :]
            ids = iter(sorted(mine, key=lambda name: shard_of(name, HASHES)))
            videos = [
                Made(next(ids), place, number)
                for place in spread([clip.topic for clip in wanted[part]], rng)
                for number in range(wanted[part][place].videos)
            ]
            found[part] = [videos[index] for index in rng.permutation(len(videos))]
        return found

    def features(self, filmed: Mapping[str, "Sequence[Footage]"]) -> dict[str, Features]:
        """The parts' clips as features; the components are those of the part `train`."""
        from workflow_scripts.formats.youtube8m import AUDIO, RGB

        train = filmed["train"]
        image = Whitening.fit(np.concatenate([shot.image for shot in train]), RGB, self.reduction)
        audio = Whitening.fit(np.concatenate([shot.audio for shot in train]), AUDIO, self.reduction)
        return {
            part: Features.of([np.hstack([image(shot.image), audio(shot.audio)]) for shot in shots])
            for part, shots in filmed.items()
        }

    def write_records(
        self,
        folder: Path,
        part: str,
        videos: Sequence[Made],
        filmed: "Sequence[Footage]",
        features: Features,
        classes: Mapping[str, int],
    ) -> None:
        """A part's records at both levels, and the plans by which they are downloaded."""
        from workflow_scripts.formats import tfrecord
        from workflow_scripts.formats.youtube8m import (
            RGB,
            Frames,
            Video,
            dequantise,
            encode_frames,
            encode_video,
            quantise,
        )

        plans: dict[str, dict[str, str]] = {level: {} for level in LEVELS}
        for file in range(self.files):
            records: dict[str, list[bytes]] = {level: [] for level in LEVELS}
            for video in videos[file :: self.files]:
                quantised = quantise(self.frames(part, video, features))
                labels = sorted(classes[label] for label in filmed[video.place].labels)
                frames = Frames(video.clip_id, labels, quantised[:, :RGB], quantised[:, RGB:])
                mean = dequantise(quantised).mean(axis=0)
                records["frame"].append(encode_frames(frames))
                records["video"].append(encode_video(Video(video.clip_id, labels, mean[:RGB], mean[RGB:])))
            name = f"{part}{ALPHABET[file // len(ALPHABET)]}{ALPHABET[file % len(ALPHABET)]}.tfrecord"
            for level in LEVELS:
                path = folder / "sources" / "2" / level / part / name
                tfrecord.write(path, records[level])
                plans[level][name] = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        for level in LEVELS:
            plan = folder / "sources" / "2" / "download_plans" / f"{level}_{part}.json"
            write_text(plan, json.dumps({"files": plans[level]}, indent=1) + "\n")

    def frames(self, part: str, video: Made, features: Features) -> np.ndarray:
        """A video's features, (seconds, image and audio dimensions)."""
        if video.number == 0:
            return features.clips[video.place]
        rng = np.random.default_rng([self.seed, PARTS.index(part), video.place, video.number])
        shortest, longest = self.scenery.seconds
        return features.sample(video.place, int(rng.integers(shortest, longest + 1)), self.reduction, rng)

    def write_texts(
        self, folder: Path, videos: Mapping[str, Sequence[Made]], filmed: Mapping[str, "Sequence[Footage]"]
    ) -> None:
        """Titles and keywords in the form of the authors' files: a list holds all keywords as one string."""
        texts: dict[str, Text] = {}
        for number, part in enumerate(PARTS):
            for video in videos[part]:
                rng = np.random.default_rng([self.seed, number, video.place, video.number, 1])
                texts[video.clip_id] = uploaded(self.wording, filmed[part][video.place].topics, rng)
        titles = {name: text.title for name, text in texts.items() if text.title is not None}
        keywords = [{"video_id": name, "keywords": [text.keywords]} for name, text in texts.items() if text.keywords]
        for name, content in (("video_titles_raw", titles), ("combined_metadata", keywords)):
            write_text(folder / "text" / f"{name}.json", json.dumps(content, ensure_ascii=False, indent=0) + "\n")


def identifiers(count: int, rng: Rng) -> list[str]:
    """Different random ids, as the 2018 edition has them in place of YouTube's."""
    numbers = rng.choice(len(ALPHABET) ** ID_LENGTH, size=count, replace=False)
    digits = numbers[:, None] // len(ALPHABET) ** np.arange(ID_LENGTH) % len(ALPHABET)
    return ["".join(ALPHABET[digit] for digit in row) for row in digits]


def spread(groups: Sequence[str], rng: Rng) -> Iterator[int]:
    """The places of `groups` in an order that has the members of every group at about equal distances."""
    sizes, begins, seen = Counter(groups), {group: rng.random() for group in dict.fromkeys(groups)}, Counter[str]()
    position = []
    for group in groups:
        position.append((seen[group] + begins[group]) / sizes[group])
        seen[group] += 1
    return iter(sorted(range(len(groups)), key=lambda place: position[place]))


def vocabulary(folder: Path, videos: Sequence[Sequence[str]]) -> dict[str, int]:
    """Writes the vocabulary, most frequent labels first, and returns the labels' numbers."""
    counts = Counter(label for labels in videos for label in labels)
    groups = {parent: parent for about in TOPICS.values() for parent in about.parents}
    groups |= {name: about.parents[0] if about.parents else name for name, about in TOPICS.items()}
    names = sorted(groups, key=lambda name: (-counts[name], name))
    rows = [
        (index, counts[name], f"/composed/{name.lower().replace(' ', '_')}", name, "", groups[name], "", "", "")
        for index, name in enumerate(names)
    ]
    write_csv(folder / "vocabulary.csv", [COLUMNS, *rows])
    return {name: index for index, name in enumerate(names)}
