"""Deep bag of frames: a video's sampled frames, each projected to many units, pooled by their maxima.

The model of that name of the YouTube-8M starter code (yt8m_text, section 3.1 and table 4).
"""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional

from workflow_scripts.models.mixture_of_experts import MixtureOfExperts


class DeepBagOfFrames(nn.Module):
    """Frames, drawn by `draw`, through a projection, their maximum, a hidden layer and a mixture of experts.

    Batch norm stands before the projection and after both layers, which have no bias of their own. `bn_momentum` is
    the weight of a new batch: the reference's 0.001 needs thousands of steps to forget the initial statistics.
    """

    def __init__(
        self,
        inputs: int,
        classes: int,
        projection: int,
        hidden: int,
        experts: int,
        samples: int,
        bn_momentum: float = 0.001,
    ) -> None:
        super().__init__()
        self.samples = samples
        self.input_norm = nn.BatchNorm1d(inputs, eps=1e-3, momentum=bn_momentum)
        self.projection = nn.Linear(inputs, projection, bias=False)
        self.projection_norm = nn.BatchNorm1d(projection, eps=1e-3, momentum=bn_momentum)
        self.hidden = nn.Linear(projection, hidden, bias=False)
        self.hidden_norm = nn.BatchNorm1d(hidden, eps=1e-3, momentum=bn_momentum)
        self.classifier = MixtureOfExperts(hidden, classes, experts)
        nn.init.normal_(self.projection.weight, std=inputs**-0.5)
        nn.init.normal_(self.hidden.weight, std=projection**-0.5)

    def draw(self, num_frames: torch.Tensor, chances: torch.Tensor | None = None) -> torch.Tensor:
        """The places (batch, samples) of the frames to be given, of the first `num_frames` (batch,) of each video.

        The probabilities depend on them, in evaluation too, as in the reference: `chances` in [0, 1) (batch, samples)
        make them repeatable.
        """
        if chances is None:
            chances = torch.rand(len(num_frames), self.samples, device=num_frames.device)
        return frame_places(num_frames, chances)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Drawn frames (batch, samples, inputs) to (batch, classes)."""
        projected = self.projection(self.input_norm(frames.flatten(0, 1)))
        activated = functional.relu6(self.projection_norm(projected)).unflatten(0, frames.shape[:2])
        hidden = functional.relu6(self.hidden_norm(self.hidden(activated.amax(1))))
        return self.classifier(hidden)

    def regularised(self) -> Iterator[torch.Tensor]:
        """The weight matrices that the starter code's L2 penalty covers."""
        return self.classifier.regularised()


def frame_places(num_frames: torch.Tensor, chances: torch.Tensor) -> torch.Tensor:
    """The places of valid frames that `chances` in [0, 1) (batch, samples) choose, evenly and with replacement."""
    valid = num_frames.to(torch.int64).unsqueeze(1)
    return (chances * valid).long().minimum(valid - 1).clamp(min=0)
