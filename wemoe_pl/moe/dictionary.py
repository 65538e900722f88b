"""A dictionary holds the task vectors of every parameter of a module, in whichever form."""

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.compression import TaskVectors, in_memory_order, is_column_major
from wemoe_pl.moe.dense import DenseVectors, room_for
from wemoe_pl.moe.low_rank import LowRankVectors, are_low_rank
from wemoe_pl.moe.pruned import PrunedVectors, are_pruned
from wemoe_pl.moe.quantised import QuantisedVectors, are_quantised


class Dictionary(nn.Module):
    """The task vectors of every parameter of a module, by the parameters' own dotted names.

    Args:
        vectors: per parameter, its task vectors.
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
        """Every parameter's name with its task vectors."""
        return ((n, m) for n, m in self.named_modules() if isinstance(m, TaskVectors))

    def mix(self, routing_weights: Tensor) -> dict[str, Tensor]:
        """Routing weights (B, T) → per parameter, Σ_i r_bi τ_i, (B, *shape)."""
        return {name: vectors.mix(routing_weights) for name, vectors in self.items()}

    def take_in(self, module: nn.Module) -> None:
        """Let the module's parameters lie where they are read quickly with their task vectors."""
        for name, vectors in self.items():
            vectors.take_in(module.get_parameter(name))

    @property
    def nbytes(self) -> int:
        """Bytes of all task vectors together."""
        return sum(vectors.nbytes for _, vectors in self.items())


def restored(stored: Mapping[str, Tensor], weight: Tensor, count: int) -> TaskVectors:
    """The task vectors that a state dict holds, whichever form it holds them in.

    Args:
        stored: the state dict of a `DenseVectors`, `PrunedVectors`, `LowRankVectors` or
            `QuantisedVectors`.
        weight: the parameter that they are of, whose order in memory is theirs.
        count: T.

    Raises:
        MergeError: it is of none of these.
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
        f"{', '.join(stored) or 'Nothing'} is no dictionary of {count} task vectors of shape "
        f"{tuple(weight.shape)}."
    )
