"""A trained network of sounds as it predicts."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Self

import torch
from torch import Tensor, nn

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.models.audio_classifiers import build
from workflow_scripts.shards import Row
from workflow_scripts.training import predictor
from workflow_scripts.training.loop import autocast
from workflow_scripts.training.outputs import heads_schema
from workflow_scripts.training.predictor import Trained, load_weights
from workflow_scripts.training.sampling import prefetch
from workflow_scripts.training.stream import Block
from workflow_scripts.training.systems.audio_classifier.augmentation import Preparation, Statistics

Logits = Mapping[str, Tensor]


class Predictor(predictor.Predictor):
    """Logits of clips, by head."""

    gives = "the class of a sound"

    def __init__(
        self,
        network: nn.Module,
        preparation: Preparation,
        classes: Mapping[str, Sequence[str]],
        seed: int,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.network, self.preparation, self.seed, self.device = network, preparation, seed, device
        self.schema, self.autocast = heads_schema(classes), autocast

    @classmethod
    def of(cls, trained: Trained) -> Self:
        system = trained.system
        if system.cross_validation:
            raise UserError(
                "cross_validation: it has a network for each fold, none of which has learned from all clips; train an "
                "experiment without it to predict with"
            )
        definition, classes = system.model.model_dump(), trained.known("classes")
        if "checkpoint" in definition:
            definition["checkpoint"] = None  # the weights are all there
        (shape,) = trained.shapes.values()
        network = build(definition, shape, {head: len(names) for head, names in classes.items()})
        load_weights(network, trained.weights)
        stated = trained.known("statistics")
        statistics = None if stated is None else Statistics(**stated)
        preparation = Preparation(system.normalisation, statistics, system.augmentation)
        precision = autocast(trained.device, trained.precision)
        return cls(network.to(trained.device), preparation, classes, trained.seed, trained.device, precision)

    def logits(self, blocks: Iterable[Block]) -> Iterator[tuple[Block, Logits]]:
        """Each block with the logits (clips, classes) of its clips by head, float32 on the CPU.

        A network that draws random numbers even now draws the same ones each time.
        """
        self.network.eval()
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(self.seed)
            for block in prefetch(iter(blocks)):
                features = torch.from_numpy(block["features"]).to(self.device).float()
                with torch.inference_mode(), self.autocast():
                    logits = self.network(self.preparation.normalised(features))
                yield block, {head: values.float().cpu() for head, values in logits.items()}

    def rows(self, blocks: Iterable[Block]) -> Iterator[Row]:
        for block, logits in self.logits(blocks):
            for place, clip_id in enumerate(block["clip_id"]):
                row = {"clip_id": clip_id, "seconds": block["seconds"][place]}
                for head, values in logits.items():
                    name = f"logits_{head}"
                    row[name] = shards.pack(values[place].numpy(), self.schema.field(name))
                yield row
