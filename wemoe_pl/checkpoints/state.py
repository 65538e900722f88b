"""Read state dicts tensor by tensor, so that merging ten models takes the memory of one."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

State = Mapping[str, Tensor]


class LazyState(State):
    """A lazy state is a state dict whose tensors are read when they are used, and not kept.

    Args:
        shapes: the shape of every tensor, which is known without reading it.
        read: a function that reads the tensor of a key.

    >>> state = LazyState({"w": torch.Size([2])}, lambda key: torch.ones(2))
    >>> state["w"]
    tensor([1., 1.])
    """

    def __init__(self, shapes: Mapping[str, torch.Size], read: Callable[[str], Tensor]):
        self.shapes = dict(shapes)
        self._read = read

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


def shapes_of(state: State) -> dict[str, torch.Size]:
    """Return the shape of every tensor; no tensor of a lazy state is read for that."""
    if isinstance(state, LazyState):
        return state.shapes
    return {key: tensor.shape for key, tensor in state.items()}
