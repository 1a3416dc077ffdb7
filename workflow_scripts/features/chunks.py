"""Networks that are given so many items at once, and always as many."""

from collections.abc import Callable

import torch
from torch import Tensor


def chunked(network: Callable[[Tensor], Tensor], items: Tensor, size: int) -> Tensor:
    """What a network makes of items (n, …), of which it sees `size` at once; the last ones are filled up with zeros.

    Convolutions are computed in another order for another number of items, and round otherwise. Always as many make
    the features of a clip the same whatever other clips are extracted with it: in training's shards, and alone.
    """
    parts = []
    for part in items.split(size):
        missing = part.new_zeros(size - len(part), *part.shape[1:])
        whole = torch.cat([part, missing]) if len(missing) else part
        parts.append(network(whole)[: len(part)])
    return torch.cat(parts)
