"""Define methods that keep the experts apart, compressed: the task of an image must be known."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy

from torch import Tensor, nn

from wemoe_pl.checkpoints import LazyState, State, shapes_of
from wemoe_pl.merging.base import MergeMethod, checked_states
from wemoe_pl.merging.baselines import PerTaskEncoder
from wemoe_pl.merging.masks import Mask
from wemoe_pl.merging.tensor_method import tensor_of_all
from wemoe_pl.moe.task_vectors import Model, lazy_task_vector

Stored = Tensor | Mask


class Compressed:
    """A compressed tensor is stored for all experts together, and unpacked for one of them.

    Args:
        parts: the tensors and masks that are stored.
        unpack: the function of an expert's number that gives its task vector of this tensor.
    """

    def __init__(self, parts: Sequence[Stored], unpack: Callable[[int], Tensor]):
        self.unpack = unpack
        tensors = (part.bits if isinstance(part, Mask) else part for part in parts)
        self.nbytes = sum(tensor.nbytes for tensor in tensors)


class PerTaskMethod(MergeMethod):
    """A per-task method makes an encoder for each task from compressed task vectors.

    The bytes that are stored in addition to the pretrained encoder count in `parameters` of
    `results.json`, four of them as one parameter.
    """

    is_static = True

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        """Return an encoder that takes the weights of the task that it is told."""
        base = {key: weight.clone() for key, weight in pretrained.state_dict().items()}
        states = checked_states(base, experts)
        vectors = [lazy_task_vector(base, state) for state in states]
        kept = [self.prepare(vector) for vector in vectors]
        stored = {key: self.compress(tensor_of_all(kept, key)) for key in kept[0]}
        scales = self.scales(vectors, stored)

        def weights(number: int) -> State:
            def read(key: str) -> Tensor:
                if key not in stored:
                    return base[key]
                return base[key] + scales[number] * stored[key].unpack(number)

            return LazyState(shapes_of(base), read)

        encoder = deepcopy(pretrained).requires_grad_(False)
        size = sum(part.nbytes for part in stored.values())
        return PerTaskEncoder(encoder, {t: weights(i) for i, t in enumerate(experts)}, size)

    def prepare(self, vector: State) -> State:
        """Return a task vector in the form whose tensors are compressed, by default unchanged."""
        return vector

    @abstractmethod
    def compress(self, vectors: Tensor) -> Compressed:
        """Compress one tensor of all experts, given as its task vectors (T, *shape)."""

    def scales(self, vectors: Sequence[State], stored: Mapping[str, Compressed]) -> list[float]:
        """Return the factor on the unpacked task vector of each expert."""
        return [1.0] * len(vectors)
