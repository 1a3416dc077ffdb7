"""What the runs that learn from streamed features have in common, and the loop that trains them."""

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from workflow_scripts.progress import progress
from workflow_scripts.shards import Row
from workflow_scripts.training import audio_settings, caption_settings, tagger_settings
from workflow_scripts.training.arithmetic import autocast, refuse_infinite
from workflow_scripts.training.checkpoints import State, load, random_state, restore_random_state, save, stop_signal
from workflow_scripts.training.data import ahead
from workflow_scripts.training.stream import Block, Stream, steps_an_epoch

Settings = audio_settings.Settings | caption_settings.Settings | tagger_settings.Settings
Scores = dict[str, float]


class StreamedRun(ABC):
    """A network and its optimiser, and how far they are; `state` holds all that the next step depends on.

    `epoch` counts the finished epochs, `batch` the steps in the present one, `steps` all of them, `examples` the clips
    learned from in `seconds`; `stopped` tells that the run ends before its last epoch. An epoch goes through all clips
    `passes` times.
    """

    plain: tuple[str, ...] = ("history", "epoch", "batch", "steps", "examples", "seconds", "loss")  # of the state
    stopped = False
    passes = 1

    def __init__(
        self, model: nn.Module, optimiser: torch.optim.Optimizer, seed: int, device: torch.device, precision: str
    ) -> None:
        self.model, self.optimiser, self.seed, self.device = model, optimiser, seed, device
        self.autocast = autocast(device, precision)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "16-mixed")
        self.history: list[Row] = []
        self.epoch = self.batch = self.steps = self.examples = 0
        self.seconds, self.loss = 0.0, torch.zeros(())
        self.finished_at = time.monotonic()

    @abstractmethod
    def rate(self) -> float:
        """The learning rate of the next step."""

    @abstractmethod
    def batch_loss(self, inputs: Any, targets: Tensor) -> Tensor:
        """The loss that a step lowers."""

    @abstractmethod
    def adjust_gradients(self) -> None:
        """Changes the gradients, which the scaler may still have to unscale, before the weights follow them."""

    def step(self, inputs: Any, targets: Tensor) -> None:
        """One update; the time since the step before counts as learning, however the batch was made meanwhile."""
        self.model.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        loss = self.batch_loss(inputs, targets)
        self.optimiser.zero_grad()
        self.scaler.scale(loss).backward()
        self.adjust_gradients()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.loss = loss.detach()
        self.batch, self.steps, self.examples = self.batch + 1, self.steps + 1, self.examples + len(targets)
        now = time.monotonic()
        self.seconds, self.finished_at = self.seconds + now - self.finished_at, now

    def record(self) -> Row:
        """A line of the history."""
        return {"seed": self.seed, "step": self.steps, "epoch": self.epoch + 1, "loss": self.loss.item()}

    def finish_epoch(self, scores: Scores) -> None:
        """Records the epoch with its scores, if there are any."""
        if not self.history or self.history[-1]["step"] != self.steps:
            self.history.append(self.record())
        self.history[-1] |= scores
        self.epoch, self.batch = self.epoch + 1, 0
        self.finished_at = time.monotonic()  # to find the scores was not learning

    def finish(self) -> None:
        """Frees the memory that only learning needs."""
        self.optimiser.zero_grad()
        self.optimiser.state.clear()

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


def learn(
    run: StreamedRun,
    system: Settings,
    stream: Stream,
    on_device: Callable[[Block], tuple[Any, Tensor]],
    evaluate: Callable[[], Scores],
    checkpoint: Path,
    folder: Path,
) -> None:
    """Finishes a run; goes on from its checkpoint, which is written after every epoch and at times within it.

    `on_device` makes the inputs and targets of a step, `evaluate` the scores at the end of an epoch. SIGTERM saves and
    raises `SystemExit`; a loss that is no number raises `UserError`, which names the results' `folder`.
    """
    if state := load(checkpoint, run.device):
        run.restore(state)
    with stop_signal() as stopping:

        def leave_if_asked() -> None:
            if stopping():
                save(checkpoint, run.state())
                raise SystemExit(f"stopped by SIGTERM after step {run.steps} of seed {run.seed}; run again to go on")

        def refuse_divergence() -> None:
            where = f"{folder}: seed {run.seed}, step {run.steps}"
            refuse_infinite(run.history[-1]["loss"], where, "learning_rate")

        while run.epoch < system.optimisation.epochs and not run.stopped:
            for block in rest_of_epoch(run, system, stream):
                leave_if_asked()
                run.step(*on_device(block))
                if run.steps % system.record_every == 0:
                    run.history.append(run.record())
                    refuse_divergence()
                if run.batch % system.checkpoint_every == 0:
                    save(checkpoint, run.state())
            run.finish_epoch(evaluate())
            refuse_divergence()
            save(checkpoint, run.state())
            leave_if_asked()
    run.finish()


def rest_of_epoch(run: StreamedRun, system: Settings, stream: Stream) -> Iterator[Block]:
    """The batches of a run's present epoch that it has not seen; a killed run reads past the others."""
    settings, split = system.optimisation, system.train_split
    batches = itertools.chain.from_iterable(
        stream.shuffled(split, settings.batch, settings.shuffle_rows, run.seed, run.epoch * run.passes + number)
        for number in range(run.passes)
    )
    return progress(
        ahead(itertools.islice(batches, run.batch, None)),
        f"seed {run.seed}, epoch {run.epoch + 1}",
        run.passes * steps_an_epoch(stream.counts[split], settings.batch) - run.batch,
        "batch",
    )
