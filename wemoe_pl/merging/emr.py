"""Store one task vector for all, and a mask and a factor per task: EMR (arXiv 2405.17461, §3.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from wemoe_pl.checkpoints import State
from wemoe_pl.merging.masks import Mask
from wemoe_pl.merging.per_task import Compressed, PerTaskMethod


@dataclass(frozen=True)
class EMR(PerTaskMethod):
    """EMR elects one task vector, then masks and rescales it for the task, which must be known.

    For each entry it elects the sign of the sum of the task vectors, and the largest magnitude
    among the entries that have this sign. A task takes the entries whose sign its own task vector
    has. One factor per task gives them the mean magnitude of the task's own entries.
    """

    def compress(self, vectors: Tensor) -> Compressed:
        """Store the elected entries, and one bit per entry and task."""
        # A sum of 0 elects the negative sign, as the authors' code does.
        sign = (vectors.sum(dim=0) > 0).to(vectors.dtype) * 2 - 1
        agreeing = vectors * sign > 0
        elected = sign * (vectors.abs() * agreeing).amax(dim=0)
        masks = [Mask.of(one) for one in agreeing]
        return Compressed([elected, *masks], lambda i: elected * masks[i].unpacked())

    def scales(self, vectors: Sequence[State], stored: Mapping[str, Compressed]) -> list[float]:
        """Return Σ|τ_i| / Σ|M_i τ| over all tensors for every expert; 0 for a task vector of 0."""
        scales = []
        for i, vector in enumerate(vectors):
            own = sum(vector[key].abs().sum().item() for key in stored)
            taken = sum(part.unpack(i).abs().sum().item() for part in stored.values())
            scales.append(own / taken if taken else 0.0)
        return scales
