"""A captioner and its optimiser while they learn."""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from workflow_scripts.models.alignment import Alignment, TextEncoder
from workflow_scripts.models.caption_decoders import Search, caption_loss
from workflow_scripts.shards import Row
from workflow_scripts.training.caption_network import Network
from workflow_scripts.training.checkpoints import State
from workflow_scripts.training.data import ahead
from workflow_scripts.training.stream import Block
from workflow_scripts.training.streamed_run import Scores, StreamedRun

if TYPE_CHECKING:
    from workflow_scripts.training.caption_settings import Settings

PARTS = 4  # in which texts are read, short ones first: less padding


@dataclass(frozen=True)
class Heard:
    """What a step reads: features (clips, frames, dims), of which the first `frames` (clips,) are valid.

    `eligible` (clips,) tells which clips have negatives; `texts` (n, 1 + K, length) are the tokens of the temporal
    captions of these n clips, the true one first; None where there are none.
    """

    features: Tensor
    frames: Tensor
    eligible: Tensor
    texts: Tensor | None = None

    def to(self, device: torch.device) -> "Heard":
        """The same on a device."""
        texts = None if self.texts is None else self.texts.to(device)
        return Heard(self.features.to(device), self.frames.to(device), self.eligible.to(device), texts)


class Run(StreamedRun):
    """A captioner while it learns, in `total` steps, an epoch being `passes` of all clips.

    `text_encoder`, which is frozen, is no part of its state: it is made anew with the first weights. `average` follows
    the weights from the epoch of that setting on. `best_epoch`, from 1, has the highest `score`, and `best` are its
    weights, if they are to predict.
    """

    plain = (*StreamedRun.plain, "caption_loss", "alignment_loss", "best", "best_epoch", "best_score")
    model: Network

    def __init__(
        self,
        model: Network,
        text_encoder: TextEncoder | None,
        system: "Settings",
        seed: int,
        total: int,
        passes: int,
        device: torch.device,
        precision: str,
    ) -> None:
        self.system, self.settings, self.total, self.passes = system, system.optimisation, total, passes
        self.text_encoder = text_encoder.to(device) if text_encoder else None
        rule = torch.optim.Adam(
            [parameter for parameter in model.to(device).parameters() if parameter.requires_grad],
            self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            fused=True,
        )
        super().__init__(model, rule, seed, device, precision)
        first = self.settings.average_from
        self.average = None if first is None else AveragedModel(model, use_buffers=True)
        if align := system.alignment:
            self.alignment = Alignment(align.normalize, align.include_positive, align.temperature)
        self.caption_loss, self.alignment_loss = torch.zeros(()), torch.zeros(())
        self.score = f"{system.validation_split}_cider_d"
        self.keep_best = system.select_by == "cider_d"
        self.best: State = {}
        self.best_epoch, self.best_score = 0, -1.0
        if system.compile:
            self.model.compile()

    def rate(self) -> float:
        """The learning rate of the next step."""
        settings = self.settings
        return settings.schedule.rate(settings.learning_rate, self.steps, self.total, settings.epochs)

    def truth(self) -> float:
        """The chance that the decoder reads a true word in the next step."""
        return 1 - (1 - self.settings.truth_at_end) * self.steps / max(self.total - 1, 1)

    def batch_loss(self, inputs: Heard, targets: Tensor) -> Tensor:
        """The cross entropy of captions (clips, length), and the alignment loss (Temp4Cap, equation 4)."""
        pad = self.model.tokens.pad
        with self.autocast():
            decoded = self.model(inputs.features.float(), inputs.frames, targets, self.truth())
        loss = caption_loss(decoded.logits, targets, pad, self.settings.label_smoothing)
        self.caption_loss = loss.detach()
        if self.text_encoder is None or self.system.alignment is None:
            return loss
        aligned = self.align(decoded.states, targets != pad, inputs)
        self.alignment_loss = aligned.detach()
        return loss + self.system.alignment.weight * aligned

    def weight(self, inputs: Heard, targets: Tensor) -> float:
        """The number of tokens, over which the cross entropy is a mean."""
        return int((targets != self.model.tokens.pad).sum())

    def align(self, states: Tensor, mask: Tensor, inputs: Heard) -> Tensor:
        """The alignment loss of decoder states (clips, length, dims), 0 where no clip has negatives."""
        if self.text_encoder is None or inputs.texts is None:
            return states.new_zeros((), dtype=torch.float32)
        read = self.read(self.text_encoder, inputs.texts)
        loss: Tensor = self.alignment(states, mask, inputs.eligible, read[:, 0], read[:, 1:])
        return loss

    def read(self, encoder: TextEncoder, texts: Tensor) -> Tensor:
        """Texts (n, 1 + K, dims) of tokens (n, 1 + K, length), pooled; those of a like length are read together."""
        flat = texts.flatten(0, 1)
        lengths = (flat != encoder.pad).sum(1)
        parts = lengths.argsort(stable=True).chunk(PARTS)
        with self.autocast():
            read = [
                encoder.pooled(flat[part][:, : int(lengths[part].max())], self.alignment.normalize) for part in parts
            ]
        back = torch.cat(parts).argsort()
        return torch.cat(read)[back].unflatten(0, texts.shape[:2])

    def adjust_gradients(self) -> None:
        """Clips all gradients together, if so set."""
        if self.settings.clip is not None:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)

    def record(self) -> Row:
        """A line of the history, with both parts of the loss where there are two."""
        row = super().record() | {"learning_rate": float(self.optimiser.param_groups[0]["lr"])}
        row["caption_loss"] = self.caption_loss.item()
        return row if self.text_encoder is None else row | {"alignment_loss": self.alignment_loss.item()}

    def follow(self) -> None:
        """Takes the weights at the end of an epoch into the average, from that epoch on in which it begins."""
        if self.average is not None and self.epoch + 1 >= (self.settings.average_from or 0):
            self.average.update_parameters(self.model)

    @property
    def teller(self) -> Network:
        """The network that tells: the averaged one, once there is one."""
        if self.average is not None and self.average.n_averaged > 0:
            return cast(Network, self.average.module)
        return self.model

    def finish_epoch(self, scores: Scores) -> None:
        """Records the epoch with its scores, if there are any, and the best epoch so far."""
        super().finish_epoch(scores)
        if not scores:
            return
        if scores[self.score] > self.best_score:
            self.best_epoch, self.best_score = self.epoch, scores[self.score]
            if self.keep_best:
                self.best = copy.deepcopy(self.teller.state_dict())
        self.history[-1] |= {"best_epoch": self.best_epoch, "best_score": self.best_score}

    def told(self, blocks: Iterable[Block], search: Search) -> Iterator[tuple[Block, np.ndarray]]:
        """Each block, which also holds `frames`, with the token numbers (clips, length) of its captions."""
        network = self.teller.eval()
        for block in ahead(iter(blocks)):
            most = int(block["frames"].max())
            features = torch.from_numpy(block["features"][:, :most]).to(self.device).float()
            frames = torch.from_numpy(block["frames"]).to(self.device)
            with torch.inference_mode(), self.autocast():
                yield block, network.generate(features, frames, search).cpu().numpy()

    def finish(self) -> None:
        """Takes the weights that are to predict, and frees the memory that only learning needs."""
        if self.keep_best:
            self.model.load_state_dict(self.best)
        elif self.teller is not self.model:
            self.model.load_state_dict(self.teller.state_dict())
        super().finish()
        self.average, self.best = None, {}

    def state(self) -> State:
        """All that the next step depends on."""
        return super().state() | ({"average": self.average.state_dict()} if self.average is not None else {})

    def restore(self, state: State) -> None:
        """Goes on from a `state`."""
        super().restore(state)
        if self.average is not None:
            self.average.load_state_dict(state["average"])
