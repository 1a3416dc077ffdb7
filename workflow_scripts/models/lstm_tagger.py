"""Stacked LSTMs over a video's frames: the recurrent model of the YouTube-8M starter code (yt8m_text, 3.1, table 4)."""

from collections.abc import Iterator

import torch
from torch import nn

from workflow_scripts.models.mixture_of_experts import MixtureOfExperts


class StackedLSTM(nn.Module):
    """The top layer's hidden state after the last valid frame, through a mixture of experts.

    A cell has one trainable bias, which starts at zero, and a constant 1 in its forget gate. torch's cells have two
    biases: the second holds that constant and is not trained.
    """

    def __init__(self, inputs: int, classes: int, cells: int, layers: int, experts: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, cells, layers, batch_first=True)
        self.classifier = MixtureOfExperts(cells, classes, experts)
        for layer in range(layers):
            inward, recurrent, bias, constant = self.lstm.all_weights[layer]
            # Xavier-uniform over the one kernel (inputs and state to four gates) that the reference has
            bound = (6 / (inward.shape[1] + cells + 4 * cells)) ** 0.5
            nn.init.uniform_(inward, -bound, bound)
            nn.init.uniform_(recurrent, -bound, bound)
            nn.init.zeros_(bias)
            nn.init.zeros_(constant)
            nn.init.ones_(constant.data[cells : 2 * cells])  # gates: input, forget, cell, output
            constant.requires_grad_(False)

    def forward(self, frames: torch.Tensor, num_frames: torch.Tensor) -> torch.Tensor:
        """Frames (batch, time, inputs), of which the first `num_frames` (batch,) are valid, to (batch, classes).

        Later frames cannot reach earlier states, so reading off the last valid one masks the padding; a video without
        frames has the initial state, zeros.
        """
        states, _ = self.lstm(frames)
        last = (num_frames.to(torch.int64) - 1).clamp(min=0)
        state = states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2])).squeeze(1)
        return self.classifier(state * (num_frames > 0).unsqueeze(1).to(state.dtype))

    def regularised(self) -> Iterator[torch.Tensor]:
        """The weight matrices that the starter code's L2 penalty covers."""
        return self.classifier.regularised()
