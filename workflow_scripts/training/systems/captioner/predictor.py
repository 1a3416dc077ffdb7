"""A trained captioner as it captions."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Self

import numpy as np
import torch

from workflow_scripts.models.caption_decoders import Search
from workflow_scripts.models.captioners import BART_TOKENS, WORD_TOKENS
from workflow_scripts.shards import Row
from workflow_scripts.training import predictor
from workflow_scripts.training.loop import autocast
from workflow_scripts.training.outputs import caption_schema
from workflow_scripts.training.predictor import Trained, load_weights
from workflow_scripts.training.sampling import prefetch
from workflow_scripts.training.stream import Block
from workflow_scripts.training.systems.captioner.data import valid
from workflow_scripts.training.systems.captioner.network import Network, build, texts_of
from workflow_scripts.training.systems.captioner.settings import Bart, Panns, Transformer
from workflow_scripts.training.systems.captioner.texts import Texts, Words


class Predictor(predictor.Predictor):
    """Captions of clips, the features of which span `clip_seconds`."""

    gives = "a sentence about a sound"

    def __init__(
        self,
        network: Network,
        texts: Texts,
        search: Search,
        clip_seconds: float,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.network, self.vocabulary, self.search, self.clip_seconds = network, texts, search, clip_seconds
        self.device, self.autocast, self.schema = device, autocast, caption_schema()

    @classmethod
    def of(cls, trained: Trained) -> Self:
        system, captioner = trained.system, trained.system.captioner
        changes: dict[str, Any] = {}
        if isinstance(system.encoder, Panns):  # what it starts from is all in the weights
            changes["encoder"] = system.encoder.model_copy(update={"checkpoint": None})
        if isinstance(captioner, Transformer):
            changes["captioner"] = captioner.model_copy(update={"word_vectors": None})
        if isinstance(captioner, Bart) and captioner.pretrained:
            texts = texts_of(system, [], trained.assets)
        else:
            tokens = BART_TOKENS if isinstance(captioner, Bart) else WORD_TOKENS
            texts = Words([], tokens, trained.known("words"))
        (shape,) = trained.shapes.values()
        network = build(system.model_copy(update=changes), shape[1], texts, [], trained.assets, trained.seed)
        load_weights(network, trained.weights)
        precision = autocast(trained.device, trained.precision)
        search = Search(**system.search.model_dump())
        return cls(network.to(trained.device), texts, search, trained.clip_seconds, trained.device, precision)

    def captions(self, blocks: Iterable[Block], search: Search) -> Iterator[tuple[Block, list[str]]]:
        """Each block, which also holds the `frames` that are valid, with the captions of its clips."""
        network = self.network.eval()
        for block in prefetch(iter(blocks)):
            most = int(block["frames"].max())
            features = torch.from_numpy(block["features"][:, :most]).to(self.device).float()
            frames = torch.from_numpy(block["frames"]).to(self.device)
            with torch.inference_mode(), self.autocast():
                numbers = network.generate(features, frames, search).tolist()
            yield block, [self.vocabulary.decode(row) for row in numbers]

    def rows(self, blocks: Iterable[Block]) -> Iterator[Row]:
        measured = (block | {"frames": self.valid(block)} for block in blocks)
        for block, captions in self.captions(measured, self.search):
            for clip_id, seconds, caption in zip(block["clip_id"], block["seconds"], captions, strict=True):
                yield {"clip_id": clip_id, "seconds": seconds, "caption": caption}

    def valid(self, block: Block) -> np.ndarray:
        return valid(block["seconds"], block["features"].shape[1], self.clip_seconds)
