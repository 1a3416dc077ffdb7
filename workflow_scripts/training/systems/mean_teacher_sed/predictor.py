"""A trained CRNN as it predicts."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Self

import numpy as np
import torch
from torch import nn

from workflow_scripts import shards
from workflow_scripts.shards import Row
from workflow_scripts.training import predictor
from workflow_scripts.training.outputs import prediction_schema
from workflow_scripts.training.predictor import Trained, load_weights
from workflow_scripts.training.stream import Block
from workflow_scripts.training.systems.mean_teacher_sed.data import aligned
from workflow_scripts.training.systems.mean_teacher_sed.settings import System


class Predictor(predictor.Predictor):
    """Probabilities of clips and frames."""

    gives = "sound events with onset and offset"

    def __init__(self, system: System, network: nn.Module, device: torch.device) -> None:
        self.system, self.network, self.device = system, network, device
        self.schema = prediction_schema(system.classes, system.frames, system.frame_seconds)

    @classmethod
    def of(cls, trained: Trained) -> Self:
        network = trained.system.build({name: trained.shapes[name][1] for name in trained.system.streams})
        load_weights(network, trained.weights)
        return cls(trained.system, network.to(trained.device), trained.device)

    def probabilities(self, streams: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Of clips (clips, classes) and of their frames (clips, frames, classes), from streams that are aligned."""
        self.network.eval()
        with torch.inference_mode():
            inputs = {name: torch.from_numpy(values).to(self.device).float() for name, values in streams.items()}
            clips, frames = self.network(inputs)
        return clips.cpu().numpy(), frames.cpu().numpy()

    def columns(self, clip: np.ndarray, frames: np.ndarray) -> Row:
        """Those of a clip's row: its probabilities (classes,) and those of its frames (frames, classes)."""
        fields = self.schema.field("clip"), self.schema.field("frames")
        return {"clip": shards.pack(clip, fields[0]), "frames": shards.pack(frames, fields[1])}

    def rows(self, blocks: Iterable[Block]) -> Iterator[Row]:
        for block in blocks:
            streams = {name: aligned(self.system, name, block[name]) for name in self.system.streams}
            found = zip(block["clip_id"], block["seconds"], *self.probabilities(streams), strict=True)
            for clip_id, seconds, clip, frames in found:
                yield {"clip_id": clip_id, "seconds": seconds} | self.columns(clip, frames)
