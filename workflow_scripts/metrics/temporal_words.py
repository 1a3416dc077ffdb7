"""Whether captions tell an order of events by the same words as their references do: ACC_temp and F1_temp.

Xie et al., *Enhance temporal relations in audio captioning with sound event detection* (Interspeech 2023), as their
published script does it: a caption tells an order when one of its tokens is a word of `SEQUENTIAL`, and a clip has one
when any of its references tells it, or, where people were asked, when they say so. Words for things at the same time
(*while*, *as*, *and*, …) do not count.
"""

from collections.abc import Sequence

import numpy as np

SEQUENTIAL = frozenset({"follow", "followed", "then", "after"})


def sequential(caption: str) -> bool:
    """Whether a caption tells an order; its tokens are lower-case and stand between spaces."""
    return not SEQUENTIAL.isdisjoint(caption.split())


def confusion(
    predictions: Sequence[str], references: Sequence[Sequence[str]], heard: Sequence[bool | None] | None = None
) -> np.ndarray:
    """One 1 a clip, in the column of true positive, false positive, false negative or true negative: (clips, 4).

    What people `heard` of a clip goes before the words of its references.
    """
    predicted = np.array([sequential(caption) for caption in predictions], bool)
    judged = heard or [None] * len(references)
    pairs = zip(references, judged, strict=True)
    true = np.array([any(map(sequential, texts)) if own is None else own for texts, own in pairs], bool)
    cases = predicted & true, predicted & ~true, ~predicted & true, ~predicted & ~true
    return np.stack(cases, axis=1).astype(float)


def agreement(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy and F1 from sums of `confusion`, (…, 4); F1 is 0 where nothing is positive on either side."""
    tp, fp, fn, tn = np.moveaxis(sums, -1, 0)
    positive = 2 * tp + fp + fn
    f1 = np.divide(2 * tp, positive, out=np.where(np.isnan(positive), np.nan, 0.0), where=positive > 0)
    return {"acc_temp": (tp + tn) / (tp + fp + fn + tn), "f1_temp": f1}
