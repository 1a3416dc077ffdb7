"""Whether training several seeds as one network would be faster on one CPU thread than one seed after the other.

    python -m benchmarks.stacked_seeds --seeds 4

The stacked network holds the seeds' convolutions as groups of one convolution and their GRUs, both directions, as
batched matrix products. Prints milliseconds a step and seed. It stands here and not in the training code because it
gains little where convolutions dominate, and because a written-out GRU loses to cuDNN's on a GPU.
"""

import copy
import time
from collections.abc import Sequence

import torch
import typer
from torch import nn
from torch.nn import functional

from workflow_scripts.models.crnn import CRNN
from workflow_scripts.models.pooling import linear_softmax
from workflow_scripts.training.systems.mean_teacher_sed.losses import (
    classification_loss,
    consistency_loss,
    update_teacher,
)
from workflow_scripts.training.systems.mean_teacher_sed.run import Features

BATCH, FRAMES, BANDS, CLASSES, HIDDEN, DROPOUT = 16, 101, 32, 10, 32, 0.1
POOLS = [(2, 2), (1, 2), (1, 2), (1, 2), (1, 2)]
STREAMS = {"auditory": (1024, 64), "visual": (1280, 16)}  # dimensions and sizes of their projections


class StackedGRU(nn.Module):
    """One bidirectional GRU layer for each seed: (seeds, batch, frames, width) to (seeds, batch, frames, 2 hidden)."""

    def __init__(self, seeds: int, width: int, hidden: int) -> None:
        super().__init__()
        self.seeds, self.hidden = seeds, hidden
        self.inward = nn.Parameter(torch.randn(seeds, width, 6 * hidden) * 0.1)
        self.recurrent = nn.Parameter(torch.randn(2 * seeds, hidden, 3 * hidden) * 0.1)
        self.bias = nn.Parameter(torch.zeros(2 * seeds, 1, 3 * hidden))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seeds, batch, frames, width = x.shape
        gates = torch.bmm(x.reshape(seeds, batch * frames, width), self.inward).view(seeds, batch, frames, 2, -1)
        both = torch.stack([gates[:, :, :, 0], gates[:, :, :, 1].flip(2)], 1)
        state, states = x.new_zeros(2 * seeds, batch, self.hidden), []
        for given in both.permute(3, 0, 1, 2, 4).reshape(frames, 2 * seeds, batch, -1).unbind():
            recalled = torch.baddbmm(self.bias, state, self.recurrent)
            reset, update = (given + recalled)[..., : 2 * self.hidden].sigmoid().chunk(2, -1)
            fresh = torch.addcmul(given[..., 2 * self.hidden :], reset, recalled[..., 2 * self.hidden :]).tanh()
            state = fresh.lerp(state, update)
            states.append(state)
        out = torch.stack(states).view(frames, seeds, 2, batch, self.hidden)
        return torch.cat([out[:, :, 0], out[:, :, 1].flip(0)], -1).permute(1, 2, 0, 3)


class Stacked(nn.Module):
    """The CRNN once for each seed; features are (seeds, batch, frames, dimensions)."""

    def __init__(self, seeds: int, channels: Sequence[int], streams: Sequence[str]) -> None:
        super().__init__()
        self.convolutions = nn.Sequential()
        for before, after, pool in zip([1, *channels], channels, POOLS, strict=False):
            convolution = nn.Conv2d(before * seeds, after * seeds, 3, padding=1, groups=seeds)
            layers = [convolution, nn.BatchNorm2d(after * seeds), nn.ReLU(), nn.Dropout(DROPOUT), nn.AvgPool2d(pool)]
            self.convolutions.extend(layers)
        sizes = {name: nn.Parameter(torch.randn(seeds, *STREAMS[name]) * 0.02) for name in streams}
        self.projections = nn.ParameterDict(sizes)
        width = sum(STREAMS[name][1] for name in streams) + (channels[-1] if channels else 0)
        self.gru = StackedGRU(seeds, width, HIDDEN)
        self.output = nn.Parameter(torch.randn(seeds, 2 * HIDDEN, CLASSES) * 0.1)

    def forward(self, features: Features) -> tuple[torch.Tensor, torch.Tensor]:
        embeddings = []
        if len(self.convolutions):
            x = self.convolutions(features["spectral"].transpose(0, 1)).squeeze(3)
            embeddings.append(x.unflatten(1, (features["spectral"].shape[0], -1)).permute(1, 0, 3, 2))
        for name, weight in self.projections.items():
            x = torch.bmm(features[name].flatten(1, 2), weight).unflatten(1, features[name].shape[1:3])
            embeddings.append(functional.dropout(x.relu(), DROPOUT))
        recurrent = self.gru(torch.cat(embeddings, dim=3))
        frames = torch.bmm(recurrent.flatten(1, 2), self.output).view(-1, recurrent.shape[2], CLASSES).sigmoid()
        return linear_softmax(frames), frames


def milliseconds(student: nn.Module, features: Features, clips: int, steps: int = 10) -> float:
    """CPU time of the fastest step of a student and its teacher."""
    teacher, optimiser = copy.deepcopy(student), torch.optim.Adam(student.parameters(), lr=1e-3, fused=True)
    targets = torch.zeros(clips, CLASSES)
    times = []
    for _ in range(steps):
        start = time.process_time()
        own = student(features)
        with torch.no_grad():
            taught = teacher(features)
        loss = classification_loss(own[0], targets) + 2 * sum(map(consistency_loss, own, taught))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        update_teacher(teacher, student, 0.99)
        times.append(time.process_time() - start)
    return 1000 * min(times)


def main(seeds: int = 4) -> None:
    torch.set_num_threads(1)
    print(f"{'channels':22}{'separate':>10}{'stacked':>10}{'gain':>8}   (ms a step and seed, {seeds} seeds)")
    for channels in ([4, 8, 16, 16, 16], [8, 16, 16, 16, 16], [16, 16, 32, 32, 32], []):
        streams = [] if channels else list(STREAMS)
        shapes = {"spectral": (FRAMES, BANDS)} if channels else {n: (FRAMES // 2, STREAMS[n][0]) for n in streams}
        alone = CRNN(
            classes=CLASSES,
            dimensions={name: shape[1] for name, shape in shapes.items()},
            spectral="spectral" if channels else None,
            projections={name: STREAMS[name][1] for name in streams},
            channels=channels,
            pools=POOLS,
            kernel=3,
            dropout=DROPOUT,
            hidden=HIDDEN,
            layers=1,
        )
        separate = milliseconds(alone, {name: torch.randn(BATCH, *shape) for name, shape in shapes.items()}, BATCH)
        features = {name: torch.randn(seeds, BATCH, *shape) for name, shape in shapes.items()}
        stacked = milliseconds(Stacked(seeds, channels, streams), features, seeds * BATCH) / seeds
        print(f"{channels or 'none'!s:22}{separate:10.1f}{stacked:10.1f}{separate / stacked:7.2f}x", flush=True)


if __name__ == "__main__":
    typer.run(main)
