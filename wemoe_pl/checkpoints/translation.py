"""Make our tensors from those of a published form, and the other way round."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Make = Callable[..., Tensor]


def unchanged(tensor: Tensor) -> Tensor:
    """Return a tensor as it is."""
    return tensor


def stacked(*tensors: Tensor) -> Tensor:
    """Concatenate tensors along the first dimension, such as q, k and v."""
    return torch.cat(tensors)


def as_token(tensor: Tensor) -> Tensor:
    """Reshape a vector (D,) to a token (1, 1, D)."""
    return tensor.reshape(1, 1, -1)


def with_batch(tensor: Tensor) -> Tensor:
    """Add the batch dimension to a matrix (N, D), which gives (1, N, D)."""
    return tensor.unsqueeze(0)


def transposed(tensor: Tensor) -> Tensor:
    """Transpose a matrix (D, E), which gives (E, D)."""
    return tensor.T


def with_first_place(token: Tensor, positions: Tensor) -> Tensor:
    """Add the first position of (1, N, D) to a token (1, 1, D)."""
    return token + positions[:, :1]


def without_first_place(positions: Tensor) -> Tensor:
    """Remove the first position of (1, N, D), which gives (1, N - 1, D)."""
    return positions[:, 1:]


def undo(make: Make, tensor: Tensor, count: int) -> tuple[Tensor, ...]:
    """Return the `count` tensors from which one of these functions made a tensor.

    >>> [part.tolist() for part in undo(stacked, torch.arange(6), 3)]
    [[0, 1], [2, 3], [4, 5]]
    """
    if make is stacked:
        return tensor.chunk(count)
    inverse: dict[Make, Make] = {
        unchanged: unchanged,
        as_token: torch.flatten,
        with_batch: lambda batch: batch.squeeze(0),
        transposed: transposed,
    }
    return (inverse[make](tensor),)


@dataclass(frozen=True)
class KeyMap:
    r"""A key map says how a tensor of ours is made from those of a published file.

    Args:
        ours: the pattern of our keys: timm's for vision, open_clip's for text.
        theirs: the templates of the file's keys, with the groups of the pattern as `\1`, `\2`.
        make: the function that makes our tensor from those of the file.
    """

    ours: str
    theirs: tuple[str, ...]
    make: Make = unchanged

    def keys(self, key: str) -> tuple[str, ...] | None:
        """Return the file's keys for one of ours, or None if the map does not apply to it."""
        found = re.fullmatch(self.ours, key)
        return tuple(found.expand(template) for template in self.theirs) if found else None
