"""Temporal alignment: captions drawn to the text of their events in order, away from texts with another order.

Choi et al., "Temp4Cap: Temporally-aligned automated audio captioning", section 2.2, equations 2 and 3.
"""

from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workflow_scripts.errors import UserError

Normalize = Literal["token", "pooled", "none"]


def pool(states: Tensor, mask: Tensor, normalize: Normalize) -> Tensor:
    """One vector (…, dims), float32, for the states (…, length, dims) where `mask` (…, length) holds: their mean.

    The mean over all pairs of tokens in equation 2 is the dot product of two such means. The text calls it a cosine:
    `token` scales every state to length 1 before, so that the product is the mean cosine of pairs; `pooled` scales
    the mean, so that it is the cosine of means; `none` takes the equation to the letter.
    """
    states = states.float()
    if normalize == "token":
        states = F.normalize(states, dim=-1)
    mean = states.masked_fill(~mask[..., None], 0).sum(-2) / mask.sum(-1, keepdim=True).clamp(min=1)
    return F.normalize(mean, dim=-1) if normalize == "pooled" else mean


def contrast(positive: Tensor, negatives: Tensor, temperature: float, include_positive: bool) -> Tensor:
    """The terms (batch,) of equation 3 for similarities (batch,) to the own and (batch, K) to the false texts.

    The sum in the denominator is over the negatives, as printed, so that a term can be below zero; with
    `include_positive` also over the positive, as InfoNCE (van den Oord et al. 2018) has it.
    """
    denominator = torch.cat([positive[:, None], negatives], dim=1) if include_positive else negatives
    return (denominator / temperature).logsumexp(1) - positive / temperature


class Aligned(NamedTuple):
    """The loss of equation 3 and what tells whether there is something to learn, scalars; 0 where nothing is aligned.

    The mean similarity of captions to the true texts (S⁺) and to the false ones (S⁻), and the mean distance between the
    vectors of a true text and a false one: where that is near 0, the text encoder does not hear the order of events.
    """

    loss: Tensor
    positive: Tensor
    negative: Tensor
    distance: Tensor


class Alignment(nn.Module):
    """The loss of equation 3, averaged over the clips that have negatives."""

    def __init__(
        self, normalize: Normalize = "token", include_positive: bool = False, temperature: float = 0.07
    ) -> None:
        super().__init__()
        if normalize == "none" and not include_positive:
            raise UserError(
                "'include_positive: false' with 'normalize: none' is a loss without a lower bound; "
                "set 'include_positive: true', or 'normalize' to token or pooled"
            )
        self.normalize, self.include_positive, self.temperature = normalize, include_positive, temperature

    def forward(self, states: Tensor, mask: Tensor, eligible: Tensor, positive: Tensor, negatives: Tensor) -> Aligned:
        """The loss and what explains it.

        `states` (batch, length, dims) are the decoder's last ones, `mask` (batch, length) tells tokens from padding,
        `eligible` (batch,) which clips have several events. `positive` (n, dims) and `negatives` (n, K, dims) are the
        texts of those n clips, pooled in the same way (`TextEncoder.pooled`).
        """
        if not eligible.any():
            return Aligned(*states.new_zeros(4, dtype=torch.float32))
        captions = pool(states[eligible], mask[eligible], self.normalize)
        own = (captions * positive).sum(-1)
        false = (captions[:, None] * negatives).sum(-1)
        loss = contrast(own, false, self.temperature, self.include_positive).mean()
        distance = torch.linalg.vector_norm(positive[:, None] - negatives, dim=-1)
        return Aligned(loss, own.mean().detach(), false.mean().detach(), distance.mean())


class TextEncoder(nn.Module):
    """A frozen encoder of tokens (section 2.2): never trained, always in evaluation mode.

    `encoder` is one of transformers' (`input_ids`, `attention_mask` to `last_hidden_state`). It has to read a token
    in its context: means over tokens that do not know their places would not change with the order of events.
    """

    def __init__(self, encoder: nn.Module, pad: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.pad = pad
        self.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Evaluation mode, whatever is asked for."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """States (batch, length, dims) of padded tokens (batch, length), and the mask of what is not padding."""
        mask = tokens != self.pad
        return self.encoder(input_ids=tokens, attention_mask=mask.long()).last_hidden_state, mask

    def pooled(self, tokens: Tensor, normalize: Normalize) -> Tensor:
        """Texts (…, dims) of tokens (…, length) as `pool` makes them; a text that occurs often is read once."""
        distinct, places = tokens.flatten(0, -2).unique(dim=0, return_inverse=True)
        states, mask = self(distinct)
        return pool(states, mask, normalize)[places].unflatten(0, tokens.shape[:-1])
