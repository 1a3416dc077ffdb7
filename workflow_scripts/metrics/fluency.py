"""FENSE (Zhou et al. 2022): how near a caption is in meaning to its references, less a penalty if it is not fluent.

As aac-metrics computes it, which itself cannot be installed beside the transformers of this project: the cosine of
sentence embeddings, averaged over the references, of which a tenth is left where a network that knows six kinds of
errors is sure of one. Both networks are BERTs, and their sizes are those of their weights.
"""

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workflow_scripts.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

LONGEST, LONGEST_CHECKED = 128, 64  # tokens of a text for the embeddings, and for the errors
HEAD = 64  # width of an attention head of every published BERT
SURE, PENALTY = 0.9, 0.9  # probability from which a caption counts as faulty, and what that costs
BATCH = 32


class Models(NamedTuple):
    """Files: weights of the sentence encoder and of the network that finds errors, and the words of both."""

    encoder: Path
    detector: Path
    vocabulary: Path


def similarity(predictions: Sequence[str], references: Sequence[Sequence[str]], models: Models) -> np.ndarray:
    """The cosine of the embeddings of each clip's caption and references, their mean: (clips,)."""
    encoder = Encoder.load(models)
    ours, flat = encoder(predictions), iter(encoder([text for texts in references for text in texts]))
    means = [np.mean([next(flat) for _ in texts], axis=0) for texts in references]
    return np.einsum("cd,cd->c", ours, np.stack(means))


def fluent_share(predictions: Sequence[str], models: Models) -> np.ndarray:
    """What a caption's errors leave of its score, 1 or a tenth: (clips,)."""
    bert, (weight, bias), tokens = detector(models)
    plain = [re.sub(r"[^\w\s]", "", text).lower() for text in predictions]
    first = [states[:, 0] @ weight.T + bias for states, _ in encoded(bert, tokens, plain, LONGEST_CHECKED)]
    error = np.concatenate([logits.sigmoid().numpy()[:, -1] for logits in first])  # the last is any error at all
    return 1 - PENALTY * (error > SURE)


class Encoder:
    """Turns texts into embeddings of length 1, each text once: those of references are asked for with every system."""

    def __init__(self, models: Models) -> None:
        self._bert = bert(weights_of(models.encoder), models.encoder)
        self._tokens, self._known = tokenizer(models.vocabulary), dict[str, np.ndarray]()

    @staticmethod
    @functools.cache
    def load(models: Models) -> "Encoder":
        return Encoder(models)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, dimensions)."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        found = [(states * mask).sum(1) / mask.sum(1) for states, mask in encoded(self._bert, self._tokens, new)]
        rows = [row / np.linalg.norm(row) for batch in found for row in batch.numpy()]
        self._known |= dict(zip(new, rows, strict=True))
        return np.stack([self._known[text] for text in texts])


@functools.cache
def detector(models: Models) -> tuple[Any, tuple["Tensor", "Tensor"], Any]:
    """The network that finds errors: its BERT, the layer behind it, and its tokens."""
    state = weights_of(models.detector)
    inner = {key.removeprefix("encoder."): value for key, value in state.items() if key.startswith("encoder.")}
    try:
        layer = state["clf.weight"].float(), state["clf.bias"].float()
    except KeyError as error:
        raise UserError(f"{models.detector}: not FENSE's network of errors; it has no {error}") from None
    return bert(inner, models.detector), layer, tokenizer(models.vocabulary)


def weights_of(path: Path) -> dict[str, "Tensor"]:
    from workflow_scripts.models.pretrained import read_weights

    return read_weights(path)


def bert(state: dict[str, "Tensor"], path: Path) -> Any:
    """A BERT with these weights."""
    from transformers import BertConfig, BertModel

    from workflow_scripts.models.pretrained import put

    unused = ("pooler.", "embeddings.position_ids")
    state = {key: value for key, value in state.items() if not key.startswith(unused)}
    try:
        words, width = state["embeddings.word_embeddings.weight"].shape
        config = BertConfig(
            vocab_size=words,
            hidden_size=width,
            num_attention_heads=width // HEAD,
            num_hidden_layers=len([key for key in state if key.endswith("intermediate.dense.bias")]),
            intermediate_size=len(state["encoder.layer.0.intermediate.dense.bias"]),
            max_position_embeddings=len(state["embeddings.position_embeddings.weight"]),
        )
    except KeyError as error:
        raise UserError(f"{path}: not the weights of a BERT; it has no {error}") from None
    found = BertModel(config, add_pooling_layer=False)
    put(found, state, path)
    return found.eval()


def tokenizer(vocabulary: Path) -> Any:
    from tokenizers import BertWordPieceTokenizer

    return BertWordPieceTokenizer(str(vocabulary), lowercase=True)


def encoded(network: Any, tokens: Any, texts: Sequence[str], longest: int = LONGEST) -> "list[tuple[Tensor, Tensor]]":
    """Of each batch of texts its last states (texts, tokens, dimensions), and where tokens are: (texts, tokens, 1)."""
    import torch

    tokens.enable_truncation(longest)
    tokens.enable_padding()
    found = []
    for start in range(0, len(texts), BATCH):
        batch = tokens.encode_batch(list(texts[start : start + BATCH]))
        numbers, mask = (torch.tensor([getattr(one, name) for one in batch]) for name in ("ids", "attention_mask"))
        with torch.inference_mode():
            found.append((network(numbers, attention_mask=mask).last_hidden_state, mask[:, :, None]))
    return found
