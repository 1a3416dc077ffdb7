"""A trained classifier as it predicts."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Self

import torch
from torch import Tensor, nn

from workflow_scripts import shards
from workflow_scripts.shards import Row
from workflow_scripts.training import predictor
from workflow_scripts.training.loop import autocast
from workflow_scripts.training.outputs import logit_schema
from workflow_scripts.training.predictor import Trained, load_weights
from workflow_scripts.training.stream import Block
from workflow_scripts.training.systems.classifier.settings import System


class Predictor(predictor.Predictor):
    """Logits of clips."""

    gives = "the class of a picture, a sound, or both"

    def __init__(
        self,
        system: System,
        network: nn.Module,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.system, self.network, self.device, self.autocast = system, network, device, autocast
        self.schema = logit_schema(system.classes)

    @classmethod
    def of(cls, trained: Trained) -> Self:
        network = trained.system.build({name: trained.shapes[name][1] for name in trained.system.streams})
        load_weights(network, trained.weights)
        precision = autocast(trained.device, trained.precision)
        return cls(trained.system, network.to(trained.device), trained.device, precision)

    def logits(self, block: Block) -> Tensor:
        """The logits (clips, classes) of clips, float32 on the CPU."""
        self.network.eval()
        streams = {name: torch.from_numpy(block[name]).to(self.device).float() for name in self.system.streams}
        with torch.inference_mode(), self.autocast():
            logits: Tensor = self.network(streams).float().cpu()
        return logits

    def rows(self, blocks: Iterable[Block]) -> Iterator[Row]:
        field = self.schema.field("logits")
        for block in blocks:
            for clip_id, seconds, logits in zip(
                block["clip_id"], block["seconds"], self.logits(block).numpy(), strict=True
            ):
                yield {"clip_id": clip_id, "seconds": seconds, "logits": shards.pack(logits, field)}
