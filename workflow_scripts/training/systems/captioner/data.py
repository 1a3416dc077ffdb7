"""Captioned clips for training: features streamed from shards, captions from the manifest, temporal ones if wanted."""

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts import shards
from workflow_scripts.captions.grammar import GrammarError, TemporalCaption
from workflow_scripts.errors import UserError
from workflow_scripts.parquet import parquet_schema
from workflow_scripts.shards import Status
from workflow_scripts.training.clips import check_shards
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.stream import AnnotatedStream, Block
from workflow_scripts.training.systems.captioner.network import Denoised, texts_of
from workflow_scripts.training.systems.captioner.settings import System
from workflow_scripts.training.systems.captioner.texts import normal

RESERVOIR = 256  # temporal captions of the training split that give substitutes where a batch has none
Temporals = Mapping[tuple[str, int], TemporalCaption]  # by clip and place of the caption


class Data(AnnotatedStream):
    """Clips with a caption and the only feature that has a column `features`.

    `captions` are those of each clip, as they are learned and compared, `sentences` all that are learned from and
    `texts` what makes numbers of them; `passes` of all clips make an epoch.
    """

    def __init__(self, system: System, job: TrainingJob) -> None:
        self.pretrained = Denoised(system, job) if job.uses else None
        name = only(job, [n for n, files in job.features.items() if has_column(files, "features")], "features")
        watched = [system.validation_split] if system.validation_split else []
        splits = list(dict.fromkeys([system.train_split, *watched, *system.predict_splits]))
        rows = [row for row in shards.read(job.manifest) if row["split"] in splits]
        if rows and "captions" not in rows[0]:
            raise UserError(f"{job.manifest}: there is no column 'captions'; this system learns captions")
        self.captions = {
            row["clip_id"]: [normal(caption, system.remove_punctuation) for caption in row["captions"] or []]
            for row in rows
        }
        clips = {
            row["clip_id"]: {"split": row["split"], "labels": [*range(len(self.captions[row["clip_id"]]))]}
            for row in rows
        }
        check_shards(name, job.features[name], job.manifest, clips)
        cache = system.cache_megabytes << 20
        super().__init__(name, job.features[name], clips, splits, cache, lambda table: {})
        self.system, self.clip_seconds = system, job.clip_seconds
        learned = [row["clip_id"] for row in rows if row["split"] == system.train_split]
        self.sentences = [caption for clip_id in learned for caption in self.captions[clip_id]]
        self.texts = self.pretrained.texts if self.pretrained else texts_of(system, self.sentences, job.assets)
        most = max((len(self.captions[clip_id]) for clip_id in learned), default=1)
        self.passes = max(most, 1) if system.train_captions == "all" else 1
        self.temporal = TemporalCaptions.read(job, learned) if system.alignment else None
        text = json.dumps([self.digest, self.captions], sort_keys=True)
        self.learned_from = [
            hashlib.blake2b(text.encode(), digest_size=16).hexdigest(),
            self.temporal and self.temporal.digest,
        ]

    def valid(self, seconds: np.ndarray) -> np.ndarray:
        """The frames of each clip, one at least, that its `seconds` reach into: (clips,)."""
        return valid(seconds, self.frames, self.clip_seconds)

    def blocks(self, split: str) -> Iterator[Block]:
        """The clips of a split in the order of the shards, with their valid `frames`."""
        for block in self.in_order(split, self.system.optimisation.batch):
            yield block | {"frames": self.valid(block["seconds"])}

    def choose(self, clip_id: str, seed: int, epoch: int, number: int) -> int:
        """Which of a clip's captions a pass of an epoch takes; clips with fewer captions than passes repeat them.

        The seed, the epoch and the clip fix all passes of the epoch.
        """
        count = len(self.captions[clip_id])
        if self.system.train_captions == "first" or count == 1:
            return 0
        rng = np.random.default_rng([seed, epoch, zlib.crc32(clip_id.encode())])
        return int(rng.permutation(count)[number % count])


def valid(seconds: np.ndarray, frames: int, clip_seconds: float) -> np.ndarray:
    """Of features with so many `frames` of `clip_seconds` those, one at least, that `seconds` (clips,) reach into."""
    share = np.nan_to_num(seconds / clip_seconds, nan=1.0)
    return np.clip(np.ceil(share * frames - 1e-6), 1, frames).astype(np.int64)


@dataclass(frozen=True)
class TemporalCaptions:
    """The temporal captions of the training split by clip and place of the caption, and some of them as a reservoir."""

    of: Temporals
    reservoir: Sequence[TemporalCaption]
    digest: str

    @classmethod
    def read(cls, job: TrainingJob, clips: Sequence[str]) -> "TemporalCaptions":
        """Those of `clips`, of the only feature that is called `temporal` or ends so.

        Raises `UserError` where there is no such feature, where it holds no caption of these clips, or a broken one.
        """
        named = [name for name in job.features if name == "temporal" or name.endswith("_temporal")]
        files = job.features[only(job, named, "temporal")]
        wanted, found = set(clips), {}
        for file in files:
            for row in shards.read(file, ["clip_id", "caption_index", "temporal", "status"]):
                if row["status"] != Status.OK or row["clip_id"] not in wanted:
                    continue
                try:
                    found[row["clip_id"], row["caption_index"]] = TemporalCaption.parse(row["temporal"])
                except GrammarError as error:
                    raise UserError(f"{file}: clip '{row['clip_id']}': {error}; rewrite the captions anew") from None
        if not found:
            raise UserError(f"{files[0]}: has no temporal caption of the clips to learn from; rewrite that split's")
        texts = sorted((*key, str(caption)) for key, caption in found.items())
        digest = hashlib.blake2b(json.dumps(texts).encode(), digest_size=16).hexdigest()
        reservoir = [found[clip_id, place] for clip_id, place, _ in texts[:: max(1, len(texts) // RESERVOIR)]]
        return cls(found, reservoir, digest)


def only(job: TrainingJob, found: Sequence[str], column: str) -> str:
    """The only name found; `UserError` where there are more or none."""
    if len(found) != 1:
        given = ", ".join(job.features) or "none"
        raise UserError(f"features: needs exactly one feature with the column '{column}', given: {given}")
    return found[0]


def has_column(files: Sequence[Path], name: str) -> bool:
    return name in parquet_schema(files[0]).names
