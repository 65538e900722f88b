"""Tensors of a published form become ours: which of them each is made of, and how."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Make = Callable[..., Tensor]


def unchanged(tensor: Tensor) -> Tensor:
    """A tensor that stays as it is."""
    return tensor


def stacked(*tensors: Tensor) -> Tensor:
    """Tensors one after the other along the first dimension, such as q, k and v."""
    return torch.cat(tensors)


def as_token(tensor: Tensor) -> Tensor:
    """(D,) → (1, 1, D)."""
    return tensor.reshape(1, 1, -1)


def with_batch(tensor: Tensor) -> Tensor:
    """(N, D) → (1, N, D)."""
    return tensor.unsqueeze(0)


def transposed(tensor: Tensor) -> Tensor:
    """(D, E) → (E, D)."""
    return tensor.T


def with_first_place(token: Tensor, positions: Tensor) -> Tensor:
    """(1, 1, D) + the first of (1, N, D) → (1, 1, D)."""
    return token + positions[:, :1]


def without_first_place(positions: Tensor) -> Tensor:
    """(1, N, D) → (1, N - 1, D)."""
    return positions[:, 1:]


def undo(make: Make, tensor: Tensor, count: int) -> tuple[Tensor, ...]:
    """The tensors, `count` of them, of which one of these functions made a tensor.

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
    r"""The recipe by which a tensor of timm's encoder is made from published ones.

    Args:
        ours: pattern of our keys: timm's for vision, open_clip's for text.
        theirs: templates of the keys in the file, with the groups of the pattern as `\1`, `\2`.
        make: what is done to those tensors.
    """

    ours: str
    theirs: tuple[str, ...]
    make: Make = unchanged

    def keys(self, key: str) -> tuple[str, ...] | None:
        """The file's keys for one of ours, or None if the rule is not about it."""
        found = re.fullmatch(self.ours, key)
        return tuple(found.expand(template) for template in self.theirs) if found else None
