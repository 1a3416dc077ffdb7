"""Captioned clips for training: features streamed from shards, captions from the manifest, temporal ones beside."""

import hashlib
import json
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts import shards
from workflow_scripts.captions.grammar import GrammarError, TemporalCaption
from workflow_scripts.errors import UserError
from workflow_scripts.shards import Status
from workflow_scripts.training.audio_data import annotate, features
from workflow_scripts.training.caption_texts import normal
from workflow_scripts.training.data import Inputs
from workflow_scripts.training.stream import Block, Source, Stream

RESERVOIR = 256  # temporal captions of the training split that give substitutes where a batch has none
Temporals = Mapping[tuple[str, int], TemporalCaption]  # by clip and place of the caption


class CaptionStream(Stream):
    """Clips with a caption and the only feature that has a column `features`.

    A block holds `seconds` and `features` (clips, frames, dims); `captions` are those of each clip, as they are
    learned and compared, and `digest` is also one of these.
    """

    def __init__(self, inputs: Inputs, splits: Sequence[str], remove_punctuation: bool, cache_bytes: int) -> None:
        name = only(inputs, [n for n, files in inputs.features.items() if has_column(files, "features")], "features")
        rows = [row for row in shards.read(inputs.manifest) if row["split"] in splits]
        if rows and "captions" not in rows[0]:
            raise UserError(f"{inputs.manifest}: there is no column 'captions'; this system learns captions")
        self.captions = {row["clip_id"]: [normal(c, remove_punctuation) for c in row["captions"] or []] for row in rows}
        clips = {
            row["clip_id"]: {"split": row["split"], "labels": [*range(len(self.captions[row["clip_id"]]))]}
            for row in rows
        }
        self.folder = tempfile.TemporaryDirectory(prefix="annotations-")
        files = inputs.features[name]
        beside = [annotate(file, Path(self.folder.name), clips) for file in files]
        told = Source("manifest", beside, [], nothing, require=["labels"])
        super().__init__([told, Source(name, files, ["seconds", "features"], features)], splits, cache_bytes)
        text = json.dumps([self.digest, self.captions], sort_keys=True)
        self.digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        self.frames, self.dims = shards.array_spec(self.schemas[1].field("features"))[1]
        self.clip_seconds = inputs.clip_seconds
        self.of_split: dict[str, list[str]] = {split: [] for split in splits}  # the clips that the manifest has
        for row in rows:
            self.of_split[row["split"]].append(row["clip_id"])

    def valid(self, seconds: np.ndarray) -> np.ndarray:
        """The frames of each clip, one at least, that its `seconds` reach into: (clips,)."""
        share = np.nan_to_num(seconds / self.clip_seconds, nan=1.0)
        return np.clip(np.ceil(share * self.frames - 1e-6), 1, self.frames).astype(np.int64)

    def sentences(self, split: str) -> list[str]:
        """All captions of a split."""
        return [caption for clip_id in self.of_split[split] for caption in self.captions[clip_id]]


@dataclass(frozen=True)
class Choice:
    """Which caption a clip gives: `passes` of all clips make an epoch."""

    kind: Literal["all", "random", "first"]
    passes: int

    @classmethod
    def of(cls, kind: Literal["all", "random", "first"], stream: CaptionStream, split: str) -> "Choice":
        """For `all` there are as many passes as a clip has captions; one that has fewer repeats them."""
        most = max((len(stream.captions[clip_id]) for clip_id in stream.of_split[split]), default=1)
        return cls(kind, max(most, 1) if kind == "all" else 1)

    def place(self, clip_id: str, captions: int, seed: int, epoch: int, number: int) -> int:
        """The place of the caption in a pass, from 0; the seed, the epoch and the clip fix all passes of the epoch."""
        if self.kind == "first" or captions == 1:
            return 0
        rng = np.random.default_rng([seed, epoch, zlib.crc32(clip_id.encode())])
        return int(rng.permutation(captions)[number % captions])


@dataclass(frozen=True)
class TemporalCaptions:
    """The temporal captions of the training split by clip and place of the caption, and some of them as a reservoir."""

    of: Temporals
    reservoir: Sequence[TemporalCaption]
    digest: str

    @classmethod
    def read(cls, inputs: Inputs, clips: Sequence[str]) -> "TemporalCaptions":
        """Those of `clips`, of the only feature that is called `temporal` or ends so.

        Raises `UserError` where there is no such feature, where it holds no caption of these clips, or a broken one.
        """
        named = [name for name in inputs.features if name == "temporal" or name.endswith("_temporal")]
        files = inputs.features[only(inputs, named, "temporal")]
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
        told = sorted((*key, str(caption)) for key, caption in found.items())
        digest = hashlib.blake2b(json.dumps(told).encode(), digest_size=16).hexdigest()
        reservoir = [found[clip_id, place] for clip_id, place, _ in told[:: max(1, len(told) // RESERVOIR)]]
        return cls(found, reservoir, digest)


def only(inputs: Inputs, found: Sequence[str], column: str) -> str:
    """The only name found; `UserError` where there are more or none."""
    if len(found) != 1:
        given = ", ".join(inputs.features) or "none"
        raise UserError(f"--features: needs exactly one feature with the column '{column}', given: {given}")
    return found[0]


def has_column(files: Sequence[Path], name: str) -> bool:
    return name in pq.read_schema(files[0]).names


def nothing(table: pa.Table) -> Block:
    """No array: what the column says is in memory."""
    return {}
