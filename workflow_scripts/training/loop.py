"""The loop that trains every network, and the abstract run of one seed, which is all that it knows."""

import contextlib
import copy
import gc
import itertools
import math
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from workflow_scripts.errors import UserError
from workflow_scripts.progress import progress
from workflow_scripts.shards import Row
from workflow_scripts.training import processes
from workflow_scripts.training.checkpoints import State, checkpoint_path, load, random_state, restore_random_state, save
from workflow_scripts.training.fitting import Fit, Fitting
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.outputs import growing_history, write_history
from workflow_scripts.training.sampling import prefetch
from workflow_scripts.training.stopping import stop_signal, stopped
from workflow_scripts.training.stream import Block, part
from workflow_scripts.training.system import SteppedSystem

Scores = dict[str, float]
R = TypeVar("R", bound="Run")


class Clips(Protocol):
    """The clips that a run learns from."""

    @property
    def counts(self) -> Mapping[str, int]:
        """The number of usable clips by split."""

    @property
    def left_out(self) -> Mapping[str, int]:
        """The number of the others."""


PRIOR = "prior"  # in the history: the score of what is known without learning, such as the labels' frequencies


class Run(Fit):
    """A network and its optimiser under one seed, and how far they are; `state` holds all the next step depends on.

    `epoch` counts the finished epochs of at most `epochs`, `batch` the steps in the present one, `steps` all of them,
    `examples` the clips learned from in `seconds`; `stopped` tells that the run ends before its last epoch. `terms` are
    parts of the loss to be recorded beside it. `best_epoch`, from 1, has the highest `best_score`; `best` are its
    weights, if they are the ones to predict with.

    Of several processes each calls `batch_loss` with its share of the batch, and their gradients are averaged. The
    result is that of one process but for rounding, random numbers, and batch norm on CPUs: on GPUs it sees the whole
    batch, on CPUs, where PyTorch has no such norm, each process's share. With a `micro_batch` each
    learns from its share piece by piece.
    """

    plain: ClassVar[tuple[str, ...]] = (
        *("history", "epoch", "batch", "steps", "examples", "seconds", "loss", "terms"),
        *("stopped", "best", "best_epoch", "best_score"),
    )
    best_by: str | None = None  # the score by which epochs are chosen, if they are
    watched: str | None = None  # the score in the history, the higher the better, that tells whether it is trained out
    gradient_clipping: float | None = None  # largest norm of all gradients together
    system: SteppedSystem

    def __init__(
        self,
        system: SteppedSystem,
        job: TrainingJob,
        clips: Clips,
        seed: int,
        network: nn.Module,
        epochs: int,
        steps_an_epoch: int,
        learned_from: Any,
    ) -> None:
        self.system, self.clips, self.seed, self.device = system, clips, seed, torch.device(job.device)
        self.epochs, self.steps_an_epoch, self.total = epochs, steps_an_epoch, epochs * steps_an_epoch
        self.checkpoint = checkpoint_path(job, seed, learned_from, network)
        self.growing = job.folder and growing_history(job.folder, seed, self.checkpoint.stem[:8])
        several = processes.count() > 1
        if several and self.device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        self.network = network.to(self.device)
        self.optimiser = self.build_optimiser()
        self.autocast = autocast(self.device, job.precision)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=job.precision == "16-mixed")
        self.history: list[Row] = []
        self.epoch = self.batch = self.steps = self.examples = self.best_epoch = 0
        self.seconds, self.loss, self.best_score = 0.0, torch.zeros(()), -math.inf
        self.terms: dict[str, Tensor] = {}
        self.best: State = {}
        self.stopped = False
        self.finished_at = time.monotonic()
        objective = Objective(self)
        self.objective = DistributedDataParallel(objective, forward_sync_buffers=False) if several else objective
        processes.seed_apart(seed)  # dropout and augmentation differ between processes

    # What a system defines

    @abstractmethod
    def build_optimiser(self) -> torch.optim.Optimizer:
        """The optimiser of `network`."""

    @abstractmethod
    def batches(self) -> Iterator[Block]:
        """The batches of the present epoch that are still to be learned from; the same ones whenever they are asked."""

    @abstractmethod
    def on_device(self, block: Block) -> tuple[Any, Tensor]:
        """What the network reads of a batch, and what it should make of it."""

    @abstractmethod
    def rate(self) -> float:
        """The learning rate of the next step."""

    @abstractmethod
    def batch_loss(self, inputs: Any, targets: Tensor) -> Tensor:
        """The loss that a step lowers: a mean over what `weight` counts."""

    def losses(self, inputs: Any, targets: Tensor) -> Tensor:
        """The parts (n,) whose sum the loss is, if they are means over different things."""
        return self.batch_loss(inputs, targets)

    def weight(self, inputs: Any, targets: Tensor) -> list[float]:
        """How much each part of the loss of these inputs counts beside that of others of the batch: here the clips.

        A term of the loss weighs as the part with its number, or as the last one.
        """
        return [len(targets)]

    def adjust_gradients(self) -> None:
        """Changes the gradients, which the scaler may still have to unscale, before the weights follow them."""
        if self.gradient_clipping is not None:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.gradient_clipping)

    def after_step(self) -> None:
        """What follows the weights' change."""

    @abstractmethod
    def evaluate(self) -> Scores:
        """The scores at the end of the present epoch; none where it is not looked at."""

    # What the loop does with it

    def step(self, inputs: Any, targets: Tensor, idle: bool = False) -> None:
        """One update; the time since the step before counts as learning, however the batch was made meanwhile.

        The batch is this process's share, which does not count if it is `idle`.
        """
        if not self.network.training:
            self.network.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        pieces = self.pieces(inputs, targets)
        shares = self.shares(pieces, idle)
        (clips,) = processes.totals([0.0 if idle else len(targets)])
        self.optimiser.zero_grad()
        loss = torch.zeros((), device=self.device)
        terms: list[dict[str, Tensor]] = []
        for number, (piece, share) in enumerate(zip(pieces, shares, strict=True), 1):
            with self.adding_up(number == len(pieces)):
                own = (self.objective(*piece) * share).sum()
                self.scaler.scale(own).backward()
            loss += own.detach()
            terms.append(self.terms)
        if len(pieces) > 1:
            together = [
                torch.stack([*of.values()]) * share[[min(n, len(share) - 1) for n in range(len(of))]]
                for of, share in zip(terms, shares, strict=True)
                if of
            ]
            self.terms = dict(zip(self.terms, torch.stack(together).sum(0), strict=True)) if together else {}
        self.adjust_gradients()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.after_step()
        self.loss = processes.all_reduce(loss) / processes.count()
        self.batch, self.steps, self.examples = self.batch + 1, self.steps + 1, self.examples + int(clips)
        now = time.monotonic()
        self.seconds, self.finished_at = self.seconds + now - self.finished_at, now

    def pieces(self, inputs: Any, targets: Tensor) -> list[tuple[Any, Tensor]]:
        """The inputs and targets in nearly equal pieces of at most `micro_batch` clips; as many in every process."""
        largest, clips = self.system.micro_batch, len(targets)
        count = processes.largest(-(-clips // largest)) if largest else 1
        if count == 1:
            return [(inputs, targets)]
        bounds = itertools.pairwise(clips * number // count for number in range(count + 1))
        return [(part_of(inputs, *own), targets[slice(*own)]) for own in bounds]

    def shares(self, pieces: Sequence[tuple[Any, Tensor]], idle: bool) -> list[Tensor]:
        """How much the parts of each piece's loss count, so that the mean over processes is that of the whole batch."""
        if len(pieces) == processes.count() == 1:
            return [torch.ones((), device=self.device)]
        weights = np.array([self.weight(*piece) for piece in pieces], np.float64) * (not idle)
        totals = np.array(processes.totals(weights.sum(0).tolist()))
        shares = processes.count() * weights / np.where(totals, totals, 1)
        return [torch.from_numpy(share).to(self.device, torch.float32) for share in shares]

    def adding_up(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Inside, gradients are added to those that are there; other processes hear of them with the `last` ones."""
        if last or not isinstance(self.objective, DistributedDataParallel):
            return contextlib.nullcontext()
        return self.objective.no_sync()

    def recorded(self) -> Row:
        """A line of the history."""
        terms = {name: value.item() for name, value in self.terms.items()}
        return {"step": self.steps, "epoch": self.epoch + 1, "loss": self.loss.item(), **terms}

    def record(self) -> None:
        """Adds a line to the history; refuses a loss that is no number or infinite."""
        self.history.append(self.recorded())
        self.refuse_divergence()

    def show_history(self) -> None:
        """Writes the history for whoever follows it. Done at checkpoints, it holds no step that is taken again."""
        if self.growing:
            write_history(self.growing, ({"seed": self.seed, **row} for row in self.history))

    def refuse_divergence(self) -> None:
        for name, value in self.history[-1].items():
            if name.endswith("loss") and not math.isfinite(value):
                raise UserError(
                    f"seed {self.seed}, step {self.steps}: the {name.replace('_', ' ')} is {value}; "
                    "lower the learning rate or check the features"
                )

    def looks(self, every: int) -> bool:
        """Whether the present epoch is one of those, of `every` so many, that are evaluated; the last one is."""
        return (self.epoch + 1) % every == 0 or self.epoch + 1 >= self.epochs

    @property
    def over(self) -> bool:
        """Whether there is nothing left to learn."""
        return self.epoch >= self.epochs or self.stopped

    def finish_epoch(self, scores: Scores) -> None:
        """Records the epoch with its scores, if there are any."""
        if not self.history or self.history[-1]["step"] != self.steps:
            self.history.append(self.recorded())
        self.history[-1] |= scores
        self.epoch, self.batch = self.epoch + 1, 0
        self.finished_at = time.monotonic()  # to find the scores was not learning
        self.refuse_divergence()

    def note_best(self, score: float, network: nn.Module | None = None) -> None:
        """Notes the finished epoch if its score is the highest so far, and the weights of `network` if there is one."""
        if score > self.best_score:
            self.best_epoch, self.best_score = self.epoch, score
            if network is not None:
                self.best = copy.deepcopy(network.state_dict())

    def finish(self) -> None:
        """Takes the best weights if they are to predict, and frees the memory that only learning needs."""
        if self.best:
            self.network.load_state_dict(self.best)
        self.optimiser.zero_grad()
        self.optimiser.state.clear()
        self.best = {}
        del self.objective

    def state(self) -> State:
        """All that the next step depends on."""
        return {name: getattr(self, name) for name in self.plain} | {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": processes.gathered(random_state(self.device)),
        }

    def restore(self, state: State) -> None:
        """Goes on from a `state`."""
        for name in self.plain:
            setattr(self, name, state[name])
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        if len(state["random"]) == processes.count():
            restore_random_state(state["random"][processes.rank()], self.device)
        else:
            processes.seed_apart(self.seed, self.steps)

    # What is reported

    def weights(self) -> dict[str, np.ndarray]:
        """Those of the network; what it has under several names is there once, under the first."""
        own: dict[tuple[int, torch.Size], str] = {}
        return {
            key: value.contiguous().cpu().numpy()  # safetensors would write other orders of memory as they lie
            for key, value in self.network.state_dict().items()
            if not value.numel() or own.setdefault((value.data_ptr(), value.shape), key) == key
        }

    def facts(self) -> dict[str, Any]:
        """The size of the network, and the clips."""
        return {
            "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
            "clips": dict(sorted(self.clips.counts.items())),
            "left_out": dict(sorted(self.clips.left_out.items())),
        }

    def measures(self) -> dict[str, Any]:
        """How fast it learned, and its best epoch."""
        speed = round(self.examples / self.seconds, 1)
        measured: dict[str, Any] = {"examples_per_second": speed, "train_seconds": round(self.seconds, 2)}
        if self.best_epoch:
            measured["best_epoch"] = self.best_epoch
        if self.best_by and self.best_epoch:
            measured["best"] = {"epoch": self.best_epoch, self.best_by: self.best_score}
        if self.watched:
            measured["course"] = self.course(self.watched)
        return measured

    def course(self, score: str) -> dict[str, Any]:
        """How a score went: after every epoch that was looked at, and what its `prior`, without learning, is, if known.

        `stopped`: the run ended before its last epoch.
        """
        looked_at = [row for row in self.history if row.get(score) is not None]
        prior = looked_at[-1].get(PRIOR) if looked_at else None
        return {"score": score, "values": [row[score] for row in looked_at], "prior": prior, "stopped": self.stopped}


class SteppedFitting(Fitting):
    """The seeds of a job by a system whose network learns by steps: `start` makes a `Run` with its first weights."""

    def fit(self, seed: int) -> Fit:
        """The network after its last step."""
        torch.manual_seed(seed)  # for the first weights
        return learn(self.run(seed))


class Objective(nn.Module):
    """A run's loss as a function of a batch, with the network's weights."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run, self.network = run, run.network

    def forward(self, inputs: Any, targets: Tensor) -> Tensor:
        """The loss of a batch, in parts."""
        return self.run.losses(inputs, targets)


def part_of(inputs: Any, start: int, stop: int) -> Any:
    """Some clips of what a network reads."""
    if isinstance(inputs, dict):
        return {name: values[start:stop] for name, values in inputs.items()}
    return inputs[start:stop]


@contextlib.contextmanager
def fitting_in(run: Run, clips: int) -> Iterator[None]:
    """Inside, a GPU whose memory is too small for so many clips is an error in one sentence."""
    try:
        yield
    except torch.OutOfMemoryError:
        at_once = min(run.system.micro_batch or clips, clips)
        raise UserError(
            f"seed {run.seed}, step {run.steps + 1}: a batch of {clips} clips, {at_once} of them at once, does not fit "
            f"into the memory of the GPU: set 'micro_batch' in the experiment's settings to less than {at_once}"
        ) from None


def autocast(device: torch.device, precision: str) -> Callable[[], torch.autocast]:
    """Makes contexts in which a forward pass runs in the given precision."""
    dtype = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}[precision]
    return lambda: torch.autocast(device.type, dtype, enabled=dtype is not None)


def learn(run: R) -> R:
    """Finishes a run; goes on from its checkpoint, which is written after epochs and at times within them.

    SIGTERM or SIGUSR1 to any of the processes saves and raises `StoppedError` in all of them.
    """
    if run.system.compile:
        run.network.compile()
    if state := load(run.checkpoint, run.device, run.plain):
        try:
            run.restore(state)
        except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            said = " ".join(line.strip() for line in str(error).splitlines()[:2])  # the second names what differs
            raise UserError(
                f"{run.checkpoint}: not a checkpoint of this run ({said}); delete it to train this run anew"
            ) from None
    if len(set(processes.gathered(run.steps))) > 1:
        raise UserError(f"{run.checkpoint}: the processes do not see the same checkpoint; use a folder that they share")
    first = processes.rank() == 0
    if first:
        run.show_history()
    gc.collect()
    gc.freeze()  # to look through all that stays, again and again, for waste takes a tenth of small steps' time

    kept = time.monotonic()

    def keep() -> None:
        nonlocal kept
        state = run.state()
        if first:
            save(run.checkpoint, state)
            run.show_history()
        kept = time.monotonic()

    with stop_signal() as stopping:

        def leave_if_asked() -> None:
            if number := processes.largest(stopping()):
                keep()
                processes.largest(0)  # nobody says that the work is saved before it is
                raise stopped(number, run.steps, run.seed)

        while not run.over:
            for block in shown(run):
                leave_if_asked()
                mine = processes.share(len(next(iter(block.values()))))
                with fitting_in(run, mine.stop - mine.start):
                    run.step(*run.on_device(part(block, mine.start, mine.stop)), mine.idle)
                if run.steps % run.system.record_every == 0:
                    run.record()
                if run.batch % run.system.checkpoint_every == 0:
                    keep()
            run.finish_epoch(processes.from_first(run.evaluate() if first else None))
            if processes.largest(int(run.over or time.monotonic() - kept >= run.system.checkpoint_seconds)):
                keep()
            leave_if_asked()
    run.finish()
    return run


def shown(run: Run) -> Iterator[Block]:
    """The batches that are left of a run's present epoch, with their progress in the first process."""
    batches, left = prefetch(run.batches()), run.steps_an_epoch - run.batch
    return batches if processes.rank() else progress(batches, f"seed {run.seed}, epoch {run.epoch + 1}", left, "batch")
