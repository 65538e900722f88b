"""Read state dicts tensor by tensor, so that merging ten models takes the memory of one."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

State = Mapping[str, Tensor]
Factors = tuple[Tensor, Tensor]  # thin matrices, (m, R) and (R, n), that stand for their product


class LazyState(State):
    """A lazy state is a state dict whose tensors are read when they are used, and not kept.

    Args:
        shapes: the shape of every tensor, which is known without reading it.
        read: a function that reads the tensor of a key.
        factors: a function that reads the factors of a key's task vector; see the method.

    >>> state = LazyState({"w": torch.Size([2])}, lambda key: torch.ones(2))
    >>> state["w"]
    tensor([1., 1.])
    """

    def __init__(
        self,
        shapes: Mapping[str, torch.Size],
        read: Callable[[str], Tensor],
        factors: Callable[[str], Factors | None] = lambda key: None,
    ):
        self.shapes = dict(shapes)
        self._read = read
        self._factors = factors

    def factors(self, key: str) -> Factors | None:
        """Return the factors whose product is the task vector of a matrix, if they are known.

        An expert that comes as an adapter, such as LoRA, knows them for all of its matrices. The
        factors of a matrix that the adapter leaves alone have a rank of 0. A tensor of more
        dimensions counts as a matrix with its first dimension as rows.
        """
        return self._factors(key)

    def __getitem__(self, key: str) -> Tensor:
        if key not in self.shapes:
            raise KeyError(key)
        return self._read(key)

    def __contains__(self, key: object) -> bool:
        return key in self.shapes  # `Mapping` would read the tensor to find out

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def factors_of(state: State, key: str) -> Factors | None:
    """Return the factors of a tensor's task vector, if a state knows them; see `LazyState`."""
    return state.factors(key) if isinstance(state, LazyState) else None


def shapes_of(state: State) -> dict[str, torch.Size]:
    """Return the shape of every tensor; no tensor of a lazy state is read for that."""
    if isinstance(state, LazyState):
        return state.shapes
    return {key: tensor.shape for key, tensor in state.items()}
