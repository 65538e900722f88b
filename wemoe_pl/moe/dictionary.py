"""Define the dictionary, which holds the task vectors of a module in any stored form."""

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.compression import TaskVectors, in_memory_order, is_column_major
from wemoe_pl.moe.dense import DenseVectors, room_for
from wemoe_pl.moe.low_rank_vectors import LowRankVectors, are_low_rank
from wemoe_pl.moe.pruned import PrunedVectors, are_pruned
from wemoe_pl.moe.quantised import QuantisedVectors, are_quantised


class Dictionary(nn.Module):
    """A dictionary holds the task vectors of every parameter of a module, by its dotted name.

    Args:
        vectors: the task vectors of each parameter, by its dotted name.
    """

    def __init__(self, vectors: Mapping[str, TaskVectors]):
        super().__init__()
        for name, stored in vectors.items():
            place: nn.Module = self
            *path, leaf = name.split(".")
            for part in path:
                if part not in dict(place.named_children()):
                    place.add_module(part, nn.Module())
                place = place.get_submodule(part)
            place.add_module(leaf, stored)

    def items(self) -> Iterable[tuple[str, TaskVectors]]:
        """Yield every parameter's name with its task vectors."""
        return ((n, m) for n, m in self.named_modules() if isinstance(m, TaskVectors))

    def mix(self, routing_weights: Tensor) -> dict[str, Tensor]:
        """Map routing weights (B, T) → per parameter, Σ_i r_bi τ_i, (B, *shape)."""
        return {name: vectors.mix(routing_weights) for name, vectors in self.items()}

    def take_in(self, module: nn.Module) -> None:
        """Move a module's parameters to where they are read quickly with their task vectors."""
        for name, vectors in self.items():
            vectors.take_in(module.get_parameter(name))

    @property
    def nbytes(self) -> int:
        """Return the number of bytes of all task vectors together."""
        return sum(vectors.nbytes for _, vectors in self.items())


def restored(stored: Mapping[str, Tensor], weight: Tensor, count: int) -> TaskVectors:
    """Return the task vectors that a state dict holds, in any stored form.

    Args:
        stored: the state dict of a `DenseVectors`, `PrunedVectors`, `LowRankVectors` or
            `QuantisedVectors`.
        weight: the parameter that they belong to, which has the same order in memory.
        count: T, the number of task vectors.

    Raises:
        MergeError: the state dict is of none of these forms.
    """
    match sorted(stored):
        case ["entries"] if stored["entries"].numel() == count * weight.numel():
            shape = in_memory_order(weight, weight).shape
            entries = in_memory_order(stored["entries"].view(count, *shape), weight)
            return DenseVectors(room_for(weight, count, entries.dtype).copy_(entries))
        case ["counts", "places", "values"] if are_pruned(stored, weight, count):
            parts = stored["values"], stored["places"], stored["counts"]
            return PrunedVectors(*parts, weight.shape, is_column_major(weight))
        case ["left", "owners", "right"] if are_low_rank(stored, weight, count):
            factors = stored["left"], stored["right"], stored["owners"]
            return LowRankVectors(*factors, weight.shape, count)
        case ["absmax", "levels"] if are_quantised(stored, weight, count):
            lines = stored["levels"], stored["absmax"]
            return QuantisedVectors(*lines, weight.shape, count, is_column_major(weight))
    raise MergeError(
        f"{', '.join(stored) or 'An empty state'} cannot be read as a dictionary of {count} task "
        f"vectors of shape {tuple(weight.shape)}."
    )
