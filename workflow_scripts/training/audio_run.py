"""A network of sounds and its optimiser while they learn."""

import copy
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.shards import Row
from workflow_scripts.training.augmentation import Preparation, cross_entropy
from workflow_scripts.training.checkpoints import State
from workflow_scripts.training.data import ahead
from workflow_scripts.training.stream import Block
from workflow_scripts.training.streamed_run import Scores, StreamedRun

if TYPE_CHECKING:
    from workflow_scripts.training.audio_settings import Optimisation, Settings

UNDECAYED = ("bias_table", "rpe_table", "pos_embed", "_token")  # besides biases and the scales of norms
Logits = dict[str, Tensor]


class Run(StreamedRun):
    """A network of sounds while it learns, in `total` steps.

    `best_epoch`, from 1, has the highest `accuracy` of the scores; `best` are its weights, if they are to be reported.
    """

    plain = (*StreamedRun.plain, "best", "best_epoch", "best_accuracy")

    def __init__(
        self,
        model: nn.Module,
        preparation: Preparation,
        system: "Settings",
        seed: int,
        total: int,
        accuracy: str,
        device: torch.device,
        precision: str,
    ) -> None:
        self.preparation, self.settings, self.total, self.accuracy = preparation, system.optimisation, total, accuracy
        super().__init__(model, optimiser(model.to(device), self.settings), seed, device, precision)
        if system.compile:
            self.model.compile()
        self.keep_best = system.report_epoch == "best"
        self.best: State = {}
        self.best_epoch, self.best_accuracy = 0, -1.0

    def rate(self) -> float:
        """The learning rate of the next step."""
        share = self.settings.schedule.share(self.steps, self.total, self.settings.epochs)
        return self.settings.learning_rate * share

    def batch_loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The cross entropy of an augmented batch of features."""
        prepared, mix = self.preparation.augmented(inputs.float())
        with self.autocast():
            logits = self.model(prepared)
        return cross_entropy(in_single(logits), targets, mix, self.settings.label_smoothing)

    def adjust_gradients(self) -> None:
        """Clips all gradients together, if so set."""
        if self.settings.clip is not None:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)

    def record(self) -> Row:
        """A line of the history."""
        return super().record() | {"learning_rate": float(self.optimiser.param_groups[0]["lr"])}

    def finish_epoch(self, scores: Scores) -> None:
        """Records the epoch with its scores, if there are any, and the best epoch so far."""
        super().finish_epoch(scores)
        if not scores:
            return
        if scores[self.accuracy] > self.best_accuracy:
            self.best_epoch, self.best_accuracy = self.epoch, scores[self.accuracy]
            if self.keep_best:
                self.best = copy.deepcopy(self.model.state_dict())
        self.history[-1] |= {"best_epoch": self.best_epoch, "best_accuracy": self.best_accuracy}

    def logits(self, blocks: Iterable[Block]) -> Iterator[tuple[Block, Logits]]:
        """Each block with the logits (clips, classes) of its clips by head, float32 on the CPU.

        A network that draws random numbers even now draws the same ones each time.
        """
        self.model.eval()
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(self.seed)
            for block in ahead(iter(blocks)):
                features = torch.from_numpy(block["features"]).to(self.device).float()
                with torch.inference_mode(), self.autocast():
                    logits = self.model(self.preparation.normalised(features))
                yield block, {head: values.float().cpu() for head, values in logits.items()}

    def finish(self) -> None:
        """Takes the best weights if they are to be reported, and frees the memory that only learning needs."""
        if self.keep_best:
            self.model.load_state_dict(self.best)
        super().finish()
        self.best = {}


def optimiser(model: nn.Module, settings: "Optimisation") -> torch.optim.Optimizer:
    """The optimiser of a network, in which biases, norms, position tables and class tokens do not decay."""
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (others if parameter.ndim < 2 or name.endswith(UNDECAYED) else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(
            groups, settings.learning_rate, settings.momentum, nesterov=settings.nesterov, fused=True
        )
    rule = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    return rule(groups, settings.learning_rate, settings.betas, fused=True)


def in_single(logits: Logits) -> Logits:
    """Logits in float32, whatever the precision of the network."""
    return {head: values.float() for head, values in logits.items()}


def scores(logits: Logits, targets: np.ndarray, split: str) -> Scores:
    """Loss and accuracies of a split: `<split>_top1`, and of several heads `<split>_<head>_top1`, `<split>_joint_top1`.

    `targets` are class numbers (clips, heads).
    """
    true = torch.from_numpy(targets)
    right = torch.stack([values.argmax(1) for values in logits.values()], 1) == true
    loss = sum(functional.cross_entropy(v.double(), t).item() for v, t in zip(logits.values(), true.T, strict=True))
    found = {f"{split}_loss": loss, f"{split}_{accuracy_name(logits)}": right.all(1).double().mean().item()}
    if len(logits) > 1:
        found |= {f"{split}_{head}_top1": right[:, n].double().mean().item() for n, head in enumerate(logits)}
    return found


def accuracy_name(heads: Iterable[str]) -> str:
    """What the share of the clips is called that all heads have right."""
    return "joint_top1" if len(list(heads)) > 1 else "top1"
