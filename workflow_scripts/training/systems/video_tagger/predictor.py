"""A trained tagger as it predicts."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Self

import numpy as np
import pyarrow as pa
import torch

from workflow_scripts.models.dbof import DeepBagOfFrames
from workflow_scripts.shards import Row
from workflow_scripts.training import predictor
from workflow_scripts.training.loop import autocast
from workflow_scripts.training.outputs import ranked_lists, ranking_schema
from workflow_scripts.training.predictor import Trained, load_weights
from workflow_scripts.training.sampling import prefetch
from workflow_scripts.training.stream import Block
from workflow_scripts.training.systems.video_tagger.data import Lexicon, chosen_frames, looked_up, tensors
from workflow_scripts.training.systems.video_tagger.network import Feed, Tagger, Tensors, build_network, loaded
from workflow_scripts.training.systems.video_tagger.settings import System, TextCnn

WORDS = pa.list_(pa.string())


class Predictor(predictor.Predictor):
    """The likeliest classes of videos, of which at most so many frames are read.

    With a `lexicon`, texts in the blocks are lists of words, of which those that training never met are left out.
    """

    gives = "the labels of a video, from YouTube-8M's features of it or its texts"

    def __init__(
        self,
        system: System,
        network: Tagger,
        feed: Feed,
        classes: list[str],
        most_frames: int,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[object]],
        lexicon: Lexicon | None = None,
        title_length: int = 0,
    ) -> None:
        self.network, self.feed, self.most_frames, self.device = network, feed, most_frames, device
        self.has_logits, self.autocast = system.model.logits, autocast
        self.schema = ranking_schema(classes, min(system.top_k, len(classes)))
        self.system, self.lexicon, self.title_length = system, lexicon, title_length
        if lexicon:
            self.texts = [system.column(name) for name in system.inputs if name in ("title", "keywords")]
            self.required = [name for name in self.texts if name in system.required]

    @classmethod
    def of(cls, trained: Trained) -> Self:
        system, classes = trained.system, trained.known("classes")
        lexicon, feed, title_length, sizes = None, Feed(system, torch.empty(0), None), 0, (0, 0, 0)
        if "words" in system.predicts_from:
            lexicon = Lexicon(*trained.reductions.values())
            clusters, dimensions = lexicon.count, lexicon.vectors.shape[1]
            titles, title = system.model, None
            if trained.used:
                titles, weights = trained.used["textcnn"].system.model, dict(trained.used["textcnn"].weights)
                title = loaded(titles, weights, len(classes), dimensions, trained.device)
            feed = Feed(system, lexicon.table(trained.device), title)
            title_length = titles.title_length if isinstance(titles, TextCnn) else 0
            sizes = clusters, dimensions, titles.hidden if title else 0
        network = build_network(system.model, len(classes), *sizes)
        load_weights(network, trained.weights)
        precision, most = autocast(trained.device, trained.precision), trained.known("most_frames")
        about = classes, most, trained.device, precision
        return cls(system, network.to(trained.device), feed, *about, lexicon, title_length)

    def read(self, block: Block, drawn: np.ndarray | None = None) -> Tensors:
        """What the network reads of a batch, on the device; of frames those that it draws, or all, padded.

        `drawn`: numbers in [0, 1) (clips, frames) that choose the frames; by default they are drawn anew.
        """
        batch = tensors({name: block[name] for name in block if name != "seconds"}, self.device)
        if "rgb" in block:
            places = np.broadcast_to(np.arange(self.most_frames), (len(block["rgb"]), self.most_frames))
            if isinstance(self.network, DeepBagOfFrames):
                chances = None if drawn is None else torch.from_numpy(drawn).to(self.device)
                places = self.network.draw(batch.pop("num_frames"), chances).cpu().numpy()
            batch["frames"] = torch.from_numpy(chosen_frames(block, places)).to(self.device)
        return batch

    def probabilities(self, blocks: Iterable[Block]) -> Iterator[tuple[Block, torch.Tensor]]:
        """Each block with the probabilities (clips, classes) of its clips, float32 on the device.

        Networks that draw frames at random draw the same ones of a clip each time, whatever clips come with it.
        """
        self.network.eval()
        for block in prefetch(iter(blocks)):
            drawn = own_chances(block, self.network.samples) if isinstance(self.network, DeepBagOfFrames) else None
            with torch.inference_mode(), self.autocast():
                outputs = self.network(*self.feed(self.read(block, drawn))).float()
                probabilities = outputs.sigmoid() if self.has_logits else outputs
            yield block, probabilities

    def rows(self, blocks: Iterable[Block]) -> Iterator[Row]:
        for block, probabilities in self.probabilities(map(self.numbered, blocks)):
            for clip_id, lists in zip(block["clip_id"], ranked_lists(probabilities, self.schema), strict=True):
                yield {"clip_id": clip_id, **lists}

    def numbered(self, block: Block) -> Block:
        """A block with the words of its texts looked up."""
        if not self.lexicon:
            return block
        known = self.lexicon.index
        table = {name: [[word for word in words if word in known] for words in block[name]] for name in self.texts}
        words = pa.table({name: pa.chunked_array([pa.array(lists, WORDS)]) for name, lists in table.items()})
        others = {name: values for name, values in block.items() if name not in self.texts}
        return others | looked_up(self.system, self.lexicon, self.title_length, words)


def own_chances(block: Block, samples: int) -> np.ndarray:
    """Numbers in [0, 1), float32 (clips, samples), that depend on a clip's id alone."""

    def of(clip_id: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.blake2b(clip_id.encode(), digest_size=8).digest())
        return np.random.default_rng(seed).random(samples, np.float32)

    ids: Sequence[str] = block["clip_id"].tolist()
    return np.stack([of(clip_id) for clip_id in ids])
