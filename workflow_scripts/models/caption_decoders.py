"""Parts of captioners: what makes a memory of features, decoders over words, the loss, the search for a caption.

Captions are token numbers (batch, length) that finish with the end token, padded behind it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class SpecialTokens(NamedTuple):
    """The numbers of padding, of what a decoder reads first, and of what ends a caption."""

    pad: int
    start: int
    end: int


class Decoded(NamedTuple):
    """Logits (batch, length, vocabulary) of each token, and the decoder's last states (batch, length, dims)."""

    logits: Tensor
    states: Tensor


class Search(NamedTuple):
    """How the best caption is searched for.

    `beam` prefixes are kept for each clip. The sum of a caption's log-probabilities is divided by its length to the
    power `length_penalty`. A clip is done when it has `beam` ended captions, or at `max_length` tokens. No caption has
    fewer than `min_length` tokens before its end, or an n-gram of `no_repeat_ngram` tokens twice (0: it may).
    """

    beam: int = 3
    min_length: int = 4
    max_length: int = 63
    length_penalty: float = 1.0
    no_repeat_ngram: int = 3


def shift_right(captions: Tensor, start: int) -> Tensor:
    """What a decoder reads in order to predict captions (batch, length): each token's predecessor."""
    return torch.cat([torch.full_like(captions[:, :1], start), captions[:, :-1]], dim=1)


def caption_loss(logits: Tensor, captions: Tensor, pad: int, smoothing: float = 0.0) -> Tensor:
    """Cross entropy (Temp4Cap, equation 1), averaged over all tokens of the batch but the padding."""
    return F.cross_entropy(
        logits.flatten(0, 1).float(), captions.flatten(), ignore_index=pad, label_smoothing=smoothing
    )


def sinusoids(length: int, dims: int) -> Tensor:
    """Sines and cosines (length, dims) of places (Vaswani et al. 2017, section 3.5)."""
    rates = torch.exp(torch.arange(0, dims, 2) * (-math.log(10_000) / dims))
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


class RecurrentAdapter(nn.Module):
    """Layers of bidirectional GRUs over the valid frames; what lies behind them is zero."""

    def __init__(self, dims: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0
        self.gru = nn.GRU(dims, hidden, layers, batch_first=True, dropout=between, bidirectional=True)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(batch, frames, dims) to (batch, frames, 2 hidden)."""
        packed = pack_padded_sequence(features, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=mask.shape[1])[0]


class Projected(nn.Module):
    """An adapter, if any, and a linear layer with ReLU and what else is given, frame by frame."""

    def __init__(self, before: nn.Module | None, inputs: int, outputs: int, *after: nn.Module) -> None:
        super().__init__()
        self.before = before
        self.linear = nn.Linear(inputs, outputs)
        self.after = nn.Sequential(nn.ReLU(), *after)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(batch, frames, dims) to (batch, frames, outputs)."""
        return self.after(self.linear(features if self.before is None else self.before(features, mask)))


class TransformerDecoder(nn.Module):
    """Words and their places, then layers that attend to earlier words and to the memory, then a classifier.

    `embeddings` (vocabulary, dims), for instance word2vec's, are kept as they are. `bias`: of the classifier.
    """

    def __init__(
        self,
        vocabulary: int,
        dims: int,
        layers: int,
        heads: int,
        hidden: int,
        dropout: float = 0.2,
        activation: str = "relu",
        bias: bool = True,
        embeddings: Tensor | None = None,
        longest: int = 256,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, dims)
        if embeddings is not None:
            self.embedding = nn.Embedding.from_pretrained(embeddings)
        self.scale = math.sqrt(dims)
        self.places: Tensor
        self.register_buffer("places", sinusoids(longest, dims), persistent=False)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerDecoderLayer(dims, heads, hidden, dropout, activation, batch_first=True)
        self.layers = nn.TransformerDecoder(layer, layers)
        self.classifier = nn.Linear(dims, vocabulary, bias=bias)

    def forward(self, memory: Tensor, mask: Tensor, inputs: Tensor) -> Decoded:
        """Reads inputs (batch, length) with a memory (batch, frames, dims) that is valid where `mask` is."""
        length = inputs.shape[1]
        words = self.dropout(self.embedding(inputs) * self.scale + self.places[:length])
        later = torch.ones(length, length, dtype=torch.bool, device=inputs.device).triu(1)
        states = self.layers(words, memory, tgt_mask=later, memory_key_padding_mask=~mask)
        return Decoded(self.classifier(states), states)


class AttentionGruDecoder(nn.Module):
    """A GRU that at every word attends to the memory with its state (Bahdanau et al. 2015).

    It reads the word, the attended memory and the memory's mean, side by side, as in Xie et al., "Enhance temporal
    relations in audio captioning with sound event detection", Interspeech 2023.
    """

    def __init__(self, vocabulary: int, memory: int, dims: int = 512, dropout: float = 0.2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, dims)
        self.dropout = nn.Dropout(dropout)
        self.query, self.key = nn.Linear(dims, dims), nn.Linear(memory, dims, bias=False)
        self.energy = nn.Linear(dims, 1, bias=False)
        self.context, self.summary = nn.Linear(memory, dims), nn.Linear(memory, dims)
        self.cell = nn.GRUCell(3 * dims, dims)
        self.classifier = nn.Linear(dims, vocabulary)

    def forward(self, memory: Tensor, mask: Tensor, inputs: Tensor) -> Decoded:
        """Reads inputs (batch, length) with a memory (batch, frames, dims) that is valid where `mask` is."""
        keys = self.key(memory)
        valid = mask[..., None]
        summary = self.summary(memory.masked_fill(~valid, 0).sum(1) / valid.sum(1))
        state = torch.zeros_like(summary)
        states = []
        for word in self.dropout(self.embedding(inputs)).unbind(1):
            energy = self.energy(torch.tanh(keys + self.query(state)[:, None]))
            attention = energy.masked_fill(~valid, -torch.inf).softmax(1)
            context = self.context((attention * memory).sum(1))
            state = self.cell(torch.cat([word, context, summary], dim=1), state)
            states.append(state)
        stacked = torch.stack(states, dim=1)
        return Decoded(self.classifier(self.dropout(stacked)), stacked)


@torch.no_grad()
def beam_search(
    next_logits: Callable[[Tensor], Tensor],
    clips: int,
    tokens: SpecialTokens,
    search: Search,
    device: torch.device | str = "cpu",
) -> Tensor:
    """The best captions found, (clips, at most `max_length`), with their end tokens where they have ended.

    `next_logits` gives logits (clips * beam, vocabulary) behind prefixes (clips * beam, length), the first token of
    which is the start.
    """
    from transformers import NoRepeatNGramLogitsProcessor

    beam, longest = search.beam, search.max_length
    prefixes = torch.full((clips, beam, 1), tokens.start, device=device)
    scores = torch.full((clips, beam), -torch.inf, device=device)
    scores[:, 0] = 0  # all prefixes of a clip are equal as yet
    best = torch.full((clips, longest), tokens.pad, device=device)
    best_scores = torch.full((clips,), -torch.inf, device=device)
    ended = torch.zeros(clips, dtype=torch.int64, device=device)
    for length in range(1, longest + 1):
        flat = prefixes.flatten(0, 1)
        step = next_logits(flat).float().log_softmax(1)
        step[:, tokens.pad] = -torch.inf
        if length <= search.min_length:
            step[:, tokens.end] = -torch.inf
        if search.no_repeat_ngram:
            step = NoRepeatNGramLogitsProcessor(search.no_repeat_ngram)(flat, step)
        # Twice as many as are kept, so that enough have not ended.
        values, places = (scores.view(-1, 1) + step).view(clips, -1).topk(2 * beam)
        words = places % step.shape[1]
        candidates = torch.cat([rows(prefixes, places // step.shape[1]), words[:, :, None]], dim=2)
        ends = words == tokens.end
        final = (ends | (length == longest)) & (ended < beam)[:, None] & values.isfinite()
        final[:, beam:] = False
        top, which = (values / length**search.length_penalty).masked_fill(~final, -torch.inf).max(1)
        better = top > best_scores
        best[better, :length] = candidates[better, which[better], 1:]
        best_scores = best_scores.maximum(top)
        ended += final.sum(1)
        if (ended >= beam).all():
            break
        scores, kept = values.masked_fill(ends, -torch.inf).topk(beam)
        prefixes = rows(candidates, kept)
    return best[:, : int((best != tokens.pad).sum(1).max())]


def rows(values: Tensor, places: Tensor) -> Tensor:
    """The rows `places` (clips, n) of values (clips, rows, length): (clips, n, length)."""
    return values.gather(1, places[:, :, None].expand(-1, -1, values.shape[2]))
