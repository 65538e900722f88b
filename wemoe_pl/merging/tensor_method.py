"""Define static methods that merge one tensor of all experts at a time, whatever its layer is."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import LazyState, State, shapes_of
from wemoe_pl.errors import MergeError
from wemoe_pl.merging.base import MergeMethod, checked_states, frozen_copy
from wemoe_pl.moe.task_vectors import Model, add_task_vectors, lazy_task_vector


class TensorMethod(MergeMethod):
    """A tensor method gives θ0 + α Δ, and computes Δ of a tensor from the task vectors of it.

    One tensor of all experts is in memory at a time.
    """

    is_static = True

    @property
    def factor(self) -> float:
        """Return the number α by which Δ is multiplied as a whole."""
        return 1.0

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """Return a frozen encoder with the weights θ0 + α Δ."""
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
        """Return Δ of one tensor, from its T task vectors, (T, *shape)."""


def tensor_of_all(vectors: Sequence[State], key: str) -> Tensor:
    """Stack one tensor of T task vectors, (T, *shape), and copy each into place once it is read.

    A list of the tensors and the result of `torch.stack` would be in memory at the same time.

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
        # Experts may have different precisions: the result has the finest.
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
