"""From feature shards to what the tagging networks read."""

import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch

from workflow_scripts import shards
from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.formats.tfrecord import Memory
from workflow_scripts.formats.youtube8m import AUDIO, RGB, frames_at
from workflow_scripts.parquet import open_parquet, parquet_schema
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.stream import Block, Source, Stream, stated_classes
from workflow_scripts.training.systems.video_tagger.network import TitleNetwork
from workflow_scripts.training.systems.video_tagger.settings import Moe, System, TextCnn

Tensors = dict[str, torch.Tensor]


class Lexicon:
    """The words of a corpus, with their vectors and the clusters that count them."""

    def __init__(self, path: Path) -> None:
        table = open_parquet(path).read(columns=["word", "cluster", "vector"])
        stated = (table.schema.metadata or {}).get(b"clusters")
        if stated is None:
            raise UserError(f"{path}: does not state its number of clusters; make this reduction anew")
        self.path, self.count = path, int(stated)
        self.index = pd.Index(table["word"].to_pandas())
        self.index.get_indexer(self.index[:1])  # hashed once, at the first look-up: before threads share it
        self.clusters = table["cluster"].to_numpy()
        self.vectors = shards.stack(table, "vector")
        with path.open("rb") as file:
            self.digest = hashlib.file_digest(file, "blake2b").hexdigest()

    def places(self, column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of every word of the clips' lists: its clip, its place in the list, its place in the lexicon."""
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
        words = pc.list_flatten(column)
        different = pc.dictionary_encode(words).combine_chunks()
        known = self.index.get_indexer(different.dictionary.to_pandas())
        if (known < 0).any():
            word = different.dictionary[int(np.argmax(known < 0))]
            raise UserError(
                f"{self.path}: the word '{word}' is not in it; make this reduction anew from the same texts"
            )
        clips = np.repeat(np.arange(len(lengths)), lengths)
        starts = np.cumsum(lengths) - lengths
        return clips, np.arange(len(clips)) - starts[clips], known[different.indices.to_numpy()]

    def titles(self, column: pa.ChunkedArray, length: int) -> np.ndarray:
        """The first words as 1 + their places in the lexicon, then zeros: int32 (clips, length)."""
        clips, order, found = self.places(column)
        early = order < length
        result = np.zeros((len(column), length), np.int32)
        result[clips[early], order[early]] = found[early] + 1
        return result

    def histograms(self, column: pa.ChunkedArray) -> np.ndarray:
        """How many words belong to each cluster: int16 (clips, clusters)."""
        clips, _, found = self.places(column)
        cells = clips * self.count + self.clusters[found]
        return np.bincount(cells, minlength=len(column) * self.count).reshape(-1, self.count).astype(np.int16)

    def table(self, device: torch.device) -> torch.Tensor:
        """Word vectors (1 + words, dimensions) on a device in float16; the first is the zeros behind a title."""
        return torch.from_numpy(np.pad(self.vectors, ((1, 0), (0, 0)))).to(device)


class Data(Stream):
    """The clips of an experiment with the features that its network reads, and labels; `classes` are their names.

    A block holds `labels` (see `packed_labels`) and, as far as they are read, `features` (clips, dimensions), or
    `rgb`, `audio` and `num_frames` (see `Records`), `title` (clips, words) and `keywords` (clips, clusters).
    """

    def __init__(self, system: System, job: TrainingJob) -> None:
        for name in system.streams:
            if name not in job.features:
                raise UserError(f"features: the stream '{name}' is not given{did_you_mean(name, job.features)}")
        self.lexicon = only_lexicon(job) if {"title", "keywords"} & set(system.inputs) else None
        self.title_network = TitleNetwork(job) if isinstance(system.model, Moe) and "title" in system.inputs else None
        network = self.title_network.settings if self.title_network else system.model
        length = network.title_length if isinstance(network, TextCnn) else 0
        self.classes = stated_classes(job.features[system.streams[0]][0])

        def words(table: pa.Table) -> Block:
            return looked_up(system, self.lexicon, length, table) if self.lexicon else {}

        def labelled(decode: Callable[[pa.Table], Block]) -> Callable[[pa.Table], Block]:
            return lambda table: decode(table) | {"labels": packed_labels(table, len(self.classes))}

        self.most_frames = 0
        sources: list[Source] = []
        for name in system.streams:
            columns: list[str] = ["features"] if name == "video" else system.texts
            decode: Callable[[pa.Table], Block] = means if name == "video" else words
            if name == "frames":
                records = Records(job.features[name][0])
                columns, decode, self.most_frames = records.columns, records, records.most
            if not sources:
                columns, decode = [*columns, "labels"], labelled(decode)
            require = system.required if name == "words" else []
            sources.append(Source(name, job.features[name], columns, decode, require))
        splits = list(dict.fromkeys([system.train_split, system.dev_split, *system.predict_splits]))
        super().__init__(sources, splits, system.cache_megabytes << 20, job.manifest)
        self.vectors = self.lexicon.table(torch.device(job.device)) if self.lexicon else torch.empty(0)


def looked_up(system: System, lexicon: Lexicon, title_length: int, table: pa.Table) -> Block:
    """The words of texts as a network reads them: `title` (clips, title_length), `keywords` (clips, clusters)."""
    block: Block = {}
    if "title" in system.inputs:
        block["title"] = lexicon.titles(table[system.column("title")], title_length)
    if "keywords" in system.inputs:
        block["keywords"] = lexicon.histograms(table[system.column("keywords")])
    return block


def only_lexicon(job: TrainingJob) -> Lexicon:
    """The lexicon among the reductions."""
    if len(job.reductions) != 1:
        given = ", ".join(job.reductions) or "none"
        raise UserError(f"reductions: texts need one lexicon, given: {given}; name it in the experiment's reductions")
    return Lexicon(next(iter(job.reductions.values())))


def means(table: pa.Table) -> Block:
    """A vector for each clip: its picture's dimensions, then its sound's."""
    features = shards.stack(table, "features")
    check_dimensions(features)
    return {"features": features.reshape(len(features), RGB + AUDIO)}


class Records:
    """Reads the frames that the rows of feature shards point to, out of the record files."""

    columns: ClassVar[list[str]] = ["path", "start", "length", "num_frames"]

    def __init__(self, shard: Path) -> None:
        schema = parquet_schema(shard)
        if missing := {*self.columns} - {*schema.names}:
            raise UserError(f"{shard}: has no column '{min(missing)}'; make these features anew")
        self.folder = shard.parent / (schema.metadata or {})[b"records"].decode()
        self.most = int(schema.field("num_frames").metadata[b"most"])
        self.memory = Memory()

    def __call__(self, table: pa.Table) -> Block:
        """Quantised `rgb` and `audio`, an array (time, dimensions) for each clip, and `num_frames` (clips,)."""
        paths, starts, lengths, seconds = (table[name].to_pylist() for name in self.columns)
        places = list(zip(starts, lengths, strict=True))
        rgb, audio = np.empty(len(table), object), np.empty(len(table), object)
        first = 0
        for path, own in itertools.groupby(paths):
            last = first + sum(1 for _ in own)
            found = frames_at(self.folder / path, places[first:last], seconds[first:last], self.memory)
            for number, (seen, heard) in enumerate(found, first):
                rgb[number], audio[number] = seen[: self.most], heard[: self.most]
            first = last
        return {"rgb": rgb, "audio": audio, "num_frames": np.array(seconds, np.int64)}


def chosen_frames(block: Block, places: np.ndarray) -> np.ndarray:
    """The frames of each clip at its places (clips, n): uint8 (clips, n, dimensions), zeros behind its end."""
    there = places < np.array([[len(rgb)] for rgb in block["rgb"]])
    result = (np.empty if there.all() else np.zeros)((*places.shape, RGB + AUDIO), np.uint8)
    for own, rgb, audio, chosen, known in zip(result, block["rgb"], block["audio"], places, there, strict=True):
        if known.all():
            own[:, :RGB], own[:, RGB:] = rgb[chosen], audio[chosen]
        else:
            own[known, :RGB], own[known, RGB:] = rgb[chosen[known]], audio[chosen[known]]
    return result


def check_dimensions(features: np.ndarray) -> None:
    """Refuses features that are not those of YouTube-8M."""
    if features.shape[-1] != RGB + AUDIO:
        raise UserError(f"features: found {features.shape[-1]} dimensions, expected {RGB} + {AUDIO}")


def packed_labels(table: pa.Table, classes: int) -> np.ndarray:
    """The labels as bits, eight classes a byte: uint8 (clips, bytes)."""
    lengths = pc.fill_null(pc.list_value_length(table["labels"]), 0).to_numpy()
    labels = pc.list_flatten(table["labels"]).to_numpy()
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise UserError(f"features: the label {labels.max()} is not below the number of classes, {classes}")
    dense = np.zeros((len(lengths), classes), bool)
    dense[np.repeat(np.arange(len(lengths)), lengths), labels] = True
    return np.packbits(dense, axis=1)


def unpacked_labels(block: Block, classes: int) -> np.ndarray:
    """Whether a clip has a label: bool (clips, classes)."""
    return np.unpackbits(block["labels"], axis=1, count=classes).astype(bool)


def tensors(block: Block, device: torch.device) -> Tensors:
    """The network's share of a batch, on the device in its stored number format."""
    kept = {name: array for name, array in block.items() if array.dtype != object and name != "labels"}
    return {name: torch.from_numpy(array).to(device) for name, array in kept.items()}
