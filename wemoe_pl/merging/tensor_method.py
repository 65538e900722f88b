"""Static methods that merge one tensor of all experts at a time, whatever it belongs to."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import LazyState, State, shapes_of
from wemoe_pl.errors import MergeError
from wemoe_pl.merging.base import MergeMethod, checked_states, frozen_copy
from wemoe_pl.moe.task_vectors import Model, add_task_vectors, lazy_task_vector


class TensorMethod(MergeMethod):
    """θ0 + α Δ, where Δ of a tensor is computed from the experts' task vectors of that tensor.

    One tensor of all experts is in memory at a time.
    """

    is_static = True

    @property
    def factor(self) -> float:
        """The number α by which Δ is multiplied as a whole."""
        return 1.0

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """A frozen encoder."""
        base = pretrained.state_dict()
        states = checked_states(base, experts)
        vectors = [lazy_task_vector(base, state) for state in states]
        merged = LazyState(
            shapes_of(vectors[0]),
            lambda key: self.merged_tensor(key, tensor_of_all(vectors, key)),
        )
        return frozen_copy(pretrained, add_task_vectors(base, [merged], self.factor))

    @abstractmethod
    def merged_tensor(self, key: str, vectors: Tensor) -> Tensor:
        """Δ of one tensor, from the T task vectors of it, (T, *shape)."""


def tensor_of_all(vectors: Sequence[State], key: str) -> Tensor:
    """One tensor of T task vectors, (T, *shape), of which each is put in place when it is read.

    A list of them, and what `torch.stack` makes of it, would be in memory at the same time.

    >>> vectors = [{"w": torch.tensor([1.0])}, {"w": torch.tensor([2.0])}]
    >>> tensor_of_all(vectors, "w")
    tensor([[1.],
            [2.]])
    """
    first = vectors[0][key]
    together = first.new_empty(len(vectors), *first.shape)
    together[0] = first
    for place, vector in enumerate(vectors[1:], start=1):
        tensor = vector[key]
        # Experts may be of different precisions: the finest is that of all.
        together = together.to(torch.promote_types(together.dtype, tensor.dtype))
        together[place] = tensor
    return together


def check_alpha(alpha: float) -> None:
    """Raise `MergeError` unless α is 0 or more."""
    if not 0.0 <= alpha < float("inf"):
        raise MergeError(
            f"alpha is {alpha}: choose a scaling coefficient of the merged task vector, 0 or more; "
            "published ones lie between 0.1 and 2.5."
        )
