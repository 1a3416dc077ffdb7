"""Training four seeds of boes_avsed's CRNN: one after the other, as we do, beside all of them as one stacked network.

The stacked network holds the seeds' convolutions as groups of one convolution and their GRUs, both directions, as
batched matrix products. It stands here and not in the training code because it gains little where convolutions
dominate, and because a written-out GRU loses to cuDNN's on a GPU. It draws its weights by itself, so results are not
compared.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from benchmarks.stage import Stage, Work
from workflow_scripts.models.crnn import CRNN
from workflow_scripts.models.pooling import linear_softmax

Features = Mapping[str, torch.Tensor]  # by stream: (clips, frames, dimensions)

SEEDS, CHANNELS = 4, [16, 16, 32, 32, 32]
BATCH, FRAMES, BANDS, CLASSES, HIDDEN, DROPOUT = 16, 101, 32, 10, 32, 0.1
POOLS = [(2, 2), (1, 2), (1, 2), (1, 2), (1, 2)]


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
    """The CRNN once for each seed; features are (seeds, batch, frames, bands)."""

    def __init__(self, seeds: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.convolutions = nn.Sequential()
        for before, after, pool in zip([1, *channels], channels, POOLS, strict=False):
            convolution = nn.Conv2d(before * seeds, after * seeds, 3, padding=1, groups=seeds)
            layers = [convolution, nn.BatchNorm2d(after * seeds), nn.ReLU(), nn.Dropout(DROPOUT), nn.AvgPool2d(pool)]
            self.convolutions.extend(layers)
        self.gru = StackedGRU(seeds, channels[-1], HIDDEN)
        self.output = nn.Parameter(torch.randn(seeds, 2 * HIDDEN, CLASSES) * 0.1)

    def forward(self, features: Features) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.convolutions(features["spectral"].transpose(0, 1)).squeeze(3)
        embeddings = x.unflatten(1, (features["spectral"].shape[0], -1)).permute(1, 0, 3, 2)
        recurrent = self.gru(embeddings)
        frames = torch.bmm(recurrent.flatten(1, 2), self.output).view(-1, recurrent.shape[2], CLASSES).sigmoid()
        return linear_softmax(frames), frames


def prepare(folder: Path, steps: int) -> None:
    """How many steps of every seed."""
    (folder / "steps").write_text(str(max(steps // SEEDS, 1)))


def learning(folder: Path, networks: Sequence[nn.Module], shape: tuple[int, ...]) -> Work:
    """Steps of each network on a batch."""
    torch.set_num_threads(1)
    features = {"spectral": torch.randn(*shape, BATCH, FRAMES, BANDS)}
    optimisers = [torch.optim.Adam(network.parameters(), fused=True) for network in networks]
    steps = int((folder / "steps").read_text())

    def work() -> None:
        for network, optimiser in zip(networks, optimisers, strict=True):
            for _ in range(steps):
                clips, _ = network(features)
                optimiser.zero_grad()
                functional.binary_cross_entropy(clips, torch.zeros_like(clips)).backward()
                optimiser.step()

    return work


def ours(folder: Path) -> Work:
    how = {"channels": CHANNELS, "pools": POOLS, "kernel": 3, "dropout": DROPOUT, "hidden": HIDDEN, "layers": 1}
    dimensions = {"spectral": BANDS}
    networks = [
        CRNN(classes=CLASSES, dimensions=dimensions, spectral="spectral", projections={}, **how) for _ in range(SEEDS)
    ]
    return learning(folder, networks, ())


def stacked(folder: Path) -> Work:
    return learning(folder, [Stacked(SEEDS, CHANNELS)], (SEEDS,))


STAGE = Stage(
    place=82,
    title="a step of the CRNN, four seeds",
    unit=f"steps of a seed and {BATCH} clips",
    size=80,
    prepare=prepare,
    ours=ours,
    peers={"the seeds stacked": stacked},
    same=None,
    note="Stacking is not kept; its results are not compared with ours, as it draws its own weights.",
)
