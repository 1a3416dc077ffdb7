"""A trained tagger as it predicts."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Self

import numpy as np
import torch

from workflow_scripts.errors import UserError
from workflow_scripts.models.dbof import DeepBagOfFrames
from workflow_scripts.shards import Row
from workflow_scripts.training import predictor
from workflow_scripts.training.loop import autocast
from workflow_scripts.training.outputs import ranked_lists, ranking_schema
from workflow_scripts.training.predictor import Trained, load_weights
from workflow_scripts.training.sampling import prefetch
from workflow_scripts.training.stream import Block
from workflow_scripts.training.systems.video_tagger.data import chosen_frames, tensors
from workflow_scripts.training.systems.video_tagger.network import Feed, Tagger, Tensors, build_network
from workflow_scripts.training.systems.video_tagger.settings import System


class Predictor(predictor.Predictor):
    """The likeliest classes of videos, of which at most so many frames are read."""

    gives = "the labels of a video, from YouTube-8M's features of it"

    def __init__(
        self,
        system: System,
        network: Tagger,
        feed: Feed,
        classes: list[str],
        most_frames: int,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.network, self.feed, self.most_frames, self.device = network, feed, most_frames, device
        self.has_logits, self.autocast = system.model.logits, autocast
        self.schema = ranking_schema(classes, min(system.top_k, len(classes)))

    @classmethod
    def of(cls, trained: Trained) -> Self:
        system, classes = trained.system, trained.known("classes")
        if system.texts:
            raise UserError(
                f"it reads the {' and '.join(system.texts)} of videos, which record files do not hold; predict with "
                "an experiment that reads picture and sound only"
            )
        network = build_network(system.model, len(classes), 0, 0, 0)
        load_weights(network, trained.weights)
        feed, precision = Feed(system, torch.empty(0), None), autocast(trained.device, trained.precision)
        most = trained.known("most_frames")
        return cls(system, network.to(trained.device), feed, classes, most, trained.device, precision)

    def read(self, block: Block, generator: torch.Generator | None = None) -> Tensors:
        """What the network reads of a batch, on the device; of frames those that it draws, or all, padded."""
        batch = tensors({name: block[name] for name in block if name != "seconds"}, self.device)
        if "rgb" in block:
            places = np.broadcast_to(np.arange(self.most_frames), (len(block["rgb"]), self.most_frames))
            if isinstance(self.network, DeepBagOfFrames):
                places = self.network.draw(batch.pop("num_frames"), generator).cpu().numpy()
            batch["frames"] = torch.from_numpy(chosen_frames(block, places)).to(self.device)
        return batch

    def probabilities(self, blocks: Iterable[Block]) -> Iterator[tuple[Block, torch.Tensor]]:
        """Each block with the probabilities (clips, classes) of its clips, float32 on the device.

        Networks that draw frames at random draw the same ones each time.
        """
        self.network.eval()
        generator = torch.Generator(self.device).manual_seed(0)
        for block in prefetch(iter(blocks)):
            with torch.inference_mode(), self.autocast():
                outputs = self.network(*self.feed(self.read(block, generator))).float()
                probabilities = outputs.sigmoid() if self.has_logits else outputs
            yield block, probabilities

    def rows(self, blocks: Iterable[Block]) -> Iterator[Row]:
        for block, probabilities in self.probabilities(blocks):
            for clip_id, lists in zip(block["clip_id"], ranked_lists(probabilities, self.schema), strict=True):
                yield {"clip_id": clip_id, **lists}
