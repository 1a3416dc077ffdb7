"""What the runs that learn from streamed features have in common, and the loop that trains them."""

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from workflow_scripts.errors import UserError
from workflow_scripts.progress import progress
from workflow_scripts.shards import Row
from workflow_scripts.training import audio_settings, caption_settings, processes, tagger_settings
from workflow_scripts.training.arithmetic import autocast, refuse_infinite
from workflow_scripts.training.checkpoints import State, load, random_state, restore_random_state, save
from workflow_scripts.training.data import ahead
from workflow_scripts.training.stopping import stop_signal, stopped
from workflow_scripts.training.stream import Block, Stream, part, steps_an_epoch

Settings = audio_settings.Settings | caption_settings.Settings | tagger_settings.Settings
Scores = dict[str, float]


class StreamedRun(ABC):
    """A network and its optimiser, and how far they are; `state` holds all that the next step depends on.

    `epoch` counts the finished epochs, `batch` the steps in the present one, `steps` all of them, `examples` the clips
    learned from in `seconds`; `stopped` tells that the run ends before its last epoch. An epoch goes through all clips
    `passes` times.

    Of several processes each calls `batch_loss` with its share of the batch, and their gradients are averaged. The
    result is that of one process but for rounding, random numbers, and batch norm on CPUs: on GPUs it sees the whole
    batch, on CPUs, where PyTorch has no such norm, each process's share.
    """

    plain: tuple[str, ...] = ("history", "epoch", "batch", "steps", "examples", "seconds", "loss")  # of the state
    stopped = False
    passes = 1

    def __init__(
        self, model: nn.Module, optimiser: torch.optim.Optimizer, seed: int, device: torch.device, precision: str
    ) -> None:
        several = processes.count() > 1
        if several and device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self.model, self.optimiser, self.seed, self.device = model, optimiser, seed, device
        self.autocast = autocast(device, precision)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "16-mixed")
        self.history: list[Row] = []
        self.epoch = self.batch = self.steps = self.examples = 0
        self.seconds, self.loss = 0.0, torch.zeros(())
        self.finished_at = time.monotonic()
        objective = Objective(self)
        self.objective = DistributedDataParallel(objective, forward_sync_buffers=False) if several else objective
        processes.seed_apart(seed)  # dropout and augmentation differ between processes

    @abstractmethod
    def rate(self) -> float:
        """The learning rate of the next step."""

    @abstractmethod
    def batch_loss(self, inputs: Any, targets: Tensor) -> Tensor:
        """The loss that a step lowers: a mean over what `weight` counts."""

    def weight(self, inputs: Any, targets: Tensor) -> float:
        """How much the loss of these inputs counts beside that of another process's: its number of clips."""
        return len(targets)

    @abstractmethod
    def adjust_gradients(self) -> None:
        """Changes the gradients, which the scaler may still have to unscale, before the weights follow them."""

    def step(self, inputs: Any, targets: Tensor, idle: bool = False) -> None:
        """One update; the time since the step before counts as learning, however the batch was made meanwhile.

        The batch is this process's share, which does not count if it is `idle`.
        """
        self.model.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        loss, clips = self.objective(inputs, targets), float(len(targets))
        if processes.count() > 1:  # whose gradients are averaged
            own = [0.0, 0] if idle else [self.weight(inputs, targets), clips]
            weight, clips = processes.totals(own)
            loss = loss * (processes.count() * own[0] / weight)
        self.optimiser.zero_grad()
        self.scaler.scale(loss).backward()
        self.adjust_gradients()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.loss = processes.together(loss.detach()) / processes.count()
        self.batch, self.steps, self.examples = self.batch + 1, self.steps + 1, self.examples + int(clips)
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
        del self.objective

    def state(self) -> State:
        """All that the next step depends on."""
        return {name: getattr(self, name) for name in self.plain} | {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": random_state(self.device),
            "random_of_others": processes.gathered(random_state(self.device))[1:],
        }

    def restore(self, state: State) -> None:
        """Goes on from a `state`."""
        for name in self.plain:
            setattr(self, name, state[name])
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        random = [state["random"], *state.get("random_of_others", [])]
        if len(random) == processes.count():
            restore_random_state(random[processes.rank()], self.device)
        else:
            processes.seed_apart(self.seed, self.steps)


class Objective(nn.Module):
    """A run's loss as a function of a batch, with the network's weights."""

    def __init__(self, run: StreamedRun) -> None:
        super().__init__()
        self.run, self.model = run, run.model

    def forward(self, inputs: Any, targets: Tensor) -> Tensor:
        """The loss of a batch."""
        return self.run.batch_loss(inputs, targets)


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

    `on_device` makes the inputs and targets of a step, `evaluate` the scores at the end of an epoch. SIGTERM or SIGUSR1
    to any of the processes saves and raises `StoppedError` in all of them; a loss that is no number raises `UserError`,
    which names the results' `folder`.
    """
    if state := load(checkpoint, run.device):
        run.restore(state)
    if len(set(processes.gathered(run.steps))) > 1:
        raise UserError(f"{checkpoint}: the processes do not see the same checkpoint; use a folder that they share")
    first = processes.rank() == 0

    def keep() -> None:
        state = run.state()
        if first:
            save(checkpoint, state)

    with stop_signal() as stopping:

        def leave_if_asked() -> None:
            if number := processes.largest(stopping()):
                keep()
                processes.largest(0)  # nobody says that the work is saved before it is
                raise stopped(number, run.steps, run.seed)

        def refuse_divergence() -> None:
            where = f"{folder}: seed {run.seed}, step {run.steps}"
            refuse_infinite(run.history[-1]["loss"], where, "learning_rate")

        while run.epoch < system.optimisation.epochs and not run.stopped:
            for block in rest_of_epoch(run, system, stream):
                leave_if_asked()
                mine = processes.share(len(block["clip_id"]))
                run.step(*on_device(part(block, mine.start, mine.stop)), mine.idle)
                if run.steps % system.record_every == 0:
                    run.history.append(run.record())
                    refuse_divergence()
                if run.batch % system.checkpoint_every == 0:
                    keep()
            run.finish_epoch(processes.from_first(evaluate() if first else None))
            refuse_divergence()
            keep()
            leave_if_asked()
    run.finish()


def rest_of_epoch(run: StreamedRun, system: Settings, stream: Stream) -> Iterator[Block]:
    """The batches of a run's present epoch that it has not seen; a killed run reads past the others."""
    settings, split = system.optimisation, system.train_split
    batches = itertools.chain.from_iterable(
        stream.shuffled(split, settings.batch, settings.shuffle_rows, run.seed, run.epoch * run.passes + number)
        for number in range(run.passes)
    )
    rest = ahead(itertools.islice(batches, run.batch, None))
    if processes.rank():
        return rest
    return progress(
        rest,
        f"seed {run.seed}, epoch {run.epoch + 1}",
        run.passes * steps_an_epoch(stream.counts[split], settings.batch) - run.batch,
        "batch",
    )
