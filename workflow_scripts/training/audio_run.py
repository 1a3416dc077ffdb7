"""A network of sounds and its optimiser while they learn."""

import copy
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.shards import Row
from workflow_scripts.training.arithmetic import autocast
from workflow_scripts.training.augmentation import Preparation, cross_entropy
from workflow_scripts.training.checkpoints import State, random_state, restore_random_state
from workflow_scripts.training.data import ahead
from workflow_scripts.training.stream import Block

if TYPE_CHECKING:
    from workflow_scripts.training.audio_settings import Optimisation, Settings

UNDECAYED = ("bias_table", "rpe_table", "pos_embed", "_token")  # besides biases and the scales of norms
Logits = dict[str, Tensor]


class Run:
    """A network and its optimiser, and how far they are; `state` holds all that the next step depends on.

    `epoch` counts the finished epochs, `batch` the steps in the present one, `steps` all of `total`, `examples` the
    clips learned from in `seconds`. `best` are the weights of `best_epoch`, from 1, if they are to be reported.
    """

    plain = (
        *("history", "epoch", "batch", "steps", "examples", "seconds", "loss"),
        *("best", "best_epoch", "best_accuracy"),
    )

    def __init__(
        self,
        model: nn.Module,
        preparation: Preparation,
        system: "Settings",
        seed: int,
        total: int,
        device: torch.device,
        precision: str,
    ) -> None:
        self.model, self.preparation, self.seed = model.to(device).train(), preparation, seed
        self.total, self.device, self.keep_best = total, device, system.report_epoch == "best"
        self.settings: Optimisation = system.optimisation
        self.optimiser = optimiser(self.model, self.settings)
        self.autocast = autocast(device, precision)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "16-mixed")
        if system.compile:
            self.model.compile()
        self.history: list[Row] = []
        self.epoch = self.batch = self.steps = self.examples = self.best_epoch = 0
        self.seconds, self.best_accuracy = 0.0, -1.0
        self.loss = torch.zeros(())
        self.best: State = {}
        self.finished_at = time.monotonic()

    def step(self, features: Tensor, targets: Tensor) -> None:
        """One update; the time since the step before counts as learning, however the batch was made meanwhile."""
        self.model.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        prepared, mix = self.preparation.augmented(features.float())
        with self.autocast():
            logits = self.model(prepared)
        loss = cross_entropy(in_single(logits), targets, mix, self.settings.label_smoothing)
        self.optimiser.zero_grad()
        self.scaler.scale(loss).backward()
        if self.settings.clip is not None:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.loss = loss.detach()
        self.batch, self.steps, self.examples = self.batch + 1, self.steps + 1, self.examples + len(targets)
        now = time.monotonic()
        self.seconds, self.finished_at = self.seconds + now - self.finished_at, now

    def rate(self) -> float:
        """The learning rate of the next step."""
        share = self.settings.schedule.share(self.steps, self.total, self.settings.epochs)
        return self.settings.learning_rate * share

    def record(self) -> Row:
        """A line of the history."""
        rate = float(self.optimiser.param_groups[0]["lr"])
        row = {"step": self.steps, "epoch": self.epoch + 1, "loss": self.loss.item(), "learning_rate": rate}
        return {"seed": self.seed, **row}

    def finish_epoch(self, scores: dict[str, float] | None, accuracy: str) -> None:
        """Records the epoch with its scores, if there are any; the best epoch has the highest `accuracy` of them."""
        if not self.history or self.history[-1]["step"] != self.steps:
            self.history.append(self.record())
        self.epoch, self.batch = self.epoch + 1, 0
        if scores is None:
            return
        if scores[accuracy] > self.best_accuracy:
            self.best_epoch, self.best_accuracy = self.epoch, scores[accuracy]
            if self.keep_best:
                self.best = copy.deepcopy(self.model.state_dict())
        best = {"best_epoch": self.best_epoch, "best_accuracy": self.best_accuracy}
        self.history[-1] |= scores | best

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
        self.finished_at = time.monotonic()

    def finish(self) -> None:
        """Takes the best weights if they are to be reported, and frees the memory that only learning needs."""
        if self.keep_best:
            self.model.load_state_dict(self.best)
        self.optimiser.zero_grad()
        self.optimiser.state.clear()
        self.best = {}

    def state(self) -> State:
        """All that the next step depends on."""
        return {name: getattr(self, name) for name in self.plain} | {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": random_state(self.device),
        }

    def restore(self, state: State) -> None:
        """Goes on from a `state`."""
        for name in self.plain:
            setattr(self, name, state[name])
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        restore_random_state(state["random"], self.device)


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


def scores(logits: Logits, targets: np.ndarray, split: str) -> dict[str, float]:
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
