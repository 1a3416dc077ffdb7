"""From feature shards to what the tagging networks read."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from workflow_scripts import shards
from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.formats.youtube8m import AUDIO, BIAS, RGB, SCALE
from workflow_scripts.models.dbof import DeepBagOfFrames
from workflow_scripts.models.keyword_decoder import KeywordDecoder
from workflow_scripts.models.lstm_tagger import StackedLSTM
from workflow_scripts.models.mixture_of_experts import MixtureOfExperts, normalised
from workflow_scripts.models.textcnn import TextCNN
from workflow_scripts.training.data import Inputs
from workflow_scripts.training.outputs import read_weights
from workflow_scripts.training.stream import Block, Source, Stream
from workflow_scripts.training.tagger_settings import Dbof, Lstm, Model, Moe, Network, Settings, TextCnn

Tensors = dict[str, torch.Tensor]
Tagger = MixtureOfExperts | DeepBagOfFrames | StackedLSTM | TextCNN | KeywordDecoder


class Lexicon:
    """The words of a corpus, with their vectors and the clusters that count them."""

    def __init__(self, path: Path) -> None:
        table = pq.ParquetFile(path).read(columns=["word", "cluster", "vector"])
        stated = (table.schema.metadata or {}).get(b"clusters")
        if stated is None:
            raise UserError(f"{path}: does not state its number of clusters; make this reduction anew")
        self.path, self.count = path, int(stated)
        self.words = table["word"].combine_chunks()
        self.clusters = table["cluster"].to_numpy()
        self.vectors = shards.stack(table, "vector")
        with path.open("rb") as file:
            self.digest = hashlib.file_digest(file, "blake2b").hexdigest()

    def places(self, column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of every word of the clips' lists: its clip, its place in the list, its place in the lexicon."""
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
        words = pc.list_flatten(column)
        found = pc.index_in(words, value_set=self.words)
        if found.null_count:
            word = words.filter(pc.is_null(found))[0]
            raise UserError(
                f"{self.path}: the word '{word}' is not in it; make this reduction anew from the same texts"
            )
        clips = np.repeat(np.arange(len(lengths)), lengths)
        starts = np.cumsum(lengths) - lengths
        return clips, np.arange(len(clips)) - starts[clips], found.to_numpy()

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


def only_lexicon(inputs: Inputs) -> Lexicon:
    """The lexicon among the reductions."""
    if len(inputs.reductions) != 1:
        given = ", ".join(inputs.reductions) or "none"
        raise UserError(f"--reduction: texts need one lexicon, given: {given}; name it in the experiment's reductions")
    return Lexicon(next(iter(inputs.reductions.values())))


def open_stream(
    system: Settings, inputs: Inputs, lexicon: Lexicon | None, title_length: int, splits: list[str]
) -> tuple[Stream, list[str]]:
    """The clips that a system reads, and the names of the classes."""
    for name in system.streams:
        if name not in inputs.features:
            raise UserError(f"--features: the stream '{name}' is not given{did_you_mean(name, inputs.features)}")
    classes: list[str] = []

    def with_labels(decode: Callable[[pa.Table], Block]) -> Callable[[pa.Table], Block]:
        return lambda table: decode(table) | {"labels": packed_labels(table, len(classes))}

    def words(table: pa.Table) -> Block:
        block: Block = {}
        if lexicon and "title" in system.inputs:
            block["title"] = lexicon.titles(table[system.column("title")], title_length)
        if lexicon and "keywords" in system.inputs:
            block["keywords"] = lexicon.histograms(table[system.column("keywords")])
        return block

    readers: dict[str, tuple[list[str], Callable[[pa.Table], Block]]] = {
        "video": (["features"], means),
        "frames": (["frames", "num_frames"], frames),
        "words": (system.texts, words),
    }
    sources: list[Source] = []
    for name in system.streams:
        columns, decode = readers[name]
        if not sources:
            columns, decode = [*columns, "labels"], with_labels(decode)
        require = system.required if name == "words" else []
        sources.append(Source(name, inputs.features[name], columns, decode, require))
    stream = Stream(sources, splits, system.cache_megabytes << 20)
    classes += json.loads(stream.classes)
    return stream, classes


def means(table: pa.Table) -> Block:
    """A vector for each clip: its picture's dimensions, then its sound's."""
    features = shards.stack(table, "features")
    check_dimensions(features)
    return {"features": features.reshape(len(features), RGB + AUDIO)}


def frames(table: pa.Table) -> Block:
    """Quantised frames (clips, time, dimensions), and how many of them are valid."""
    quantised = shards.stack(table, "frames")
    check_dimensions(quantised)
    return {"frames": quantised, "num_frames": table["num_frames"].to_numpy().astype(np.int64)}


def check_dimensions(features: np.ndarray) -> None:
    """Refuses features that are not those of YouTube-8M."""
    if features.shape[-1] != RGB + AUDIO:
        raise UserError(f"--features: found {features.shape[-1]} dimensions, expected {RGB} + {AUDIO}")


def packed_labels(table: pa.Table, classes: int) -> np.ndarray:
    """The labels as bits, eight classes a byte: uint8 (clips, bytes)."""
    lengths = pc.fill_null(pc.list_value_length(table["labels"]), 0).to_numpy()
    labels = pc.list_flatten(table["labels"]).to_numpy()
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise UserError(f"--features: the label {labels.max()} is not below the number of classes, {classes}")
    dense = np.zeros((len(lengths), classes), bool)
    dense[np.repeat(np.arange(len(lengths)), lengths), labels] = True
    return np.packbits(dense, axis=1)


def unpacked_labels(block: Block, classes: int) -> np.ndarray:
    """Whether a clip has a label: bool (clips, classes)."""
    return np.unpackbits(block["labels"], axis=1, count=classes).astype(bool)


def tensors(block: Block, device: torch.device) -> Tensors:
    """The network's share of a batch, on the device in its stored number format."""
    kept = {name: array for name, array in block.items() if name not in ("clip_id", "labels")}
    return {name: torch.from_numpy(array).to(device) for name, array in kept.items()}


class Feed:
    """Makes a network's arguments from a batch.

    `vectors` are the lexicon's (1 + words, dimensions), without a word where no title is read; with a `title_network`
    the input `title` is its hidden features instead of word vectors.
    """

    def __init__(self, system: Settings, vectors: torch.Tensor, title_network: TextCNN | None) -> None:
        self.system, self.vectors, self.title_network = system, vectors, title_network

    def __call__(self, batch: Tensors) -> list[torch.Tensor]:
        """The arguments: one tensor of features (clips, …), for frames also their number (clips,)."""
        model = self.system.model
        if not isinstance(model, Network):
            return [self.part(name, batch) for name in model.inputs]
        features = normalised([self.part(name, batch) for name in model.inputs], model.normalise)
        return [features, batch["num_frames"]] if "num_frames" in batch else [features]

    def part(self, name: str, batch: Tensors) -> torch.Tensor:
        """One input in float32: (clips, dimensions) or, for frames, (clips, time, dimensions)."""
        if name == "keywords":
            return batch["keywords"].float()
        if name == "title":
            words = self.vectors[batch["title"]].float()
            if self.title_network is None:
                return words
            with torch.no_grad():
                return self.title_network.features(words).float()
        dimensions = slice(0, RGB) if name == "visual" else slice(RGB, RGB + AUDIO)
        if "frames" in batch:
            return batch["frames"][..., dimensions].float() * SCALE + BIAS
        return batch["features"][..., dimensions].float()


class TitleNetwork:
    """A finished TextCNN whose hidden features another network reads: the training folder of its experiment.

    yt8m_text, section 3.4: the text's features are those of the trained text model, which learns no more.
    """

    def __init__(self, uses: Mapping[str, Path]) -> None:
        if "textcnn" not in uses:
            raise UserError(
                f"--uses: the input 'title' needs a trained TextCNN: textcnn=folder{did_you_mean('textcnn', uses)}"
            )
        self.folder = uses["textcnn"]
        params = [json.loads(path.read_text("utf-8")) for path in sorted(self.folder.glob("seeds-*/params.json"))]
        model = params[0]["definition"].get("model", {}) if params else {}
        if model.get("kind") != "textcnn":
            raise UserError(f"--uses textcnn={self.folder}: holds no training of a TextCNN; train that one first")
        self.settings = TextCnn.check(model, f"--uses textcnn={self.folder}")

    def digest(self, seed: int) -> str:
        """A hash of all that the features depend on."""
        total = hashlib.blake2b(self.settings.model_dump_json().encode(), digest_size=16)
        for name, values in sorted(read_weights(self.folder, seed).items()):
            total.update(name.encode())
            total.update(values.numpy().data)
        return total.hexdigest()

    def load(self, seed: int, classes: int, dimensions: int, device: torch.device) -> TextCNN:
        """The network that was trained with this seed, in evaluation mode."""
        model = text_cnn(self.settings, classes, dimensions)
        try:
            model.load_state_dict(read_weights(self.folder, seed))
        except RuntimeError as error:
            raise UserError(
                f"--uses textcnn={self.folder}: its weights do not fit these classes and word vectors ({error}); "
                "train it with the same corpus"
            ) from None
        return model.to(device).eval()


def text_cnn(settings: TextCnn, classes: int, dimensions: int) -> TextCNN:
    """The TextCNN of some settings, untrained."""
    return TextCNN(classes, dimensions, **settings.model_dump(exclude={"kind", "title_length"}))


def build_network(model: Model, classes: int, lexicon: Lexicon | None, title_features: int) -> Tagger:
    """The network of some settings, untrained; `title_features` are those of the title network that it reads."""
    clusters, dimensions = (lexicon.count, lexicon.vectors.shape[1]) if lexicon else (0, 0)
    widths = {"visual": RGB, "audio": AUDIO, "keywords": clusters, "title": title_features}
    inputs = sum(widths[name] for name in model.inputs)
    if isinstance(model, Moe):
        return MixtureOfExperts(inputs, classes, model.experts)
    if isinstance(model, Dbof):
        sizes = model.model_dump(include={"projection", "hidden", "experts", "samples", "bn_momentum"})
        return DeepBagOfFrames(inputs, classes, **sizes)
    if isinstance(model, Lstm):
        return StackedLSTM(inputs, classes, model.cells, model.layers, model.experts)
    if isinstance(model, TextCnn):
        return text_cnn(model, classes, dimensions)
    return KeywordDecoder(clusters, classes, model.hidden, model.dropout)
