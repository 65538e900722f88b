"""EMR: one task vector for all, and per task a mask and a factor (arXiv 2405.17461, §3.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from wemoe_pl.checkpoints import State
from wemoe_pl.merging.masks import Mask
from wemoe_pl.merging.per_task import Compressed, PerTaskMethod


@dataclass(frozen=True)
class EMR(PerTaskMethod):
    """Elect, mask and rescale; the task of an image must be known.

    The sign of the sum of the task vectors is elected per entry, and the largest magnitude among
    those that have it. A task takes the entries whose sign its own task vector has, times one
    factor that gives them the mean magnitude of its own.
    """

    def compress(self, vectors: Tensor) -> Compressed:
        """Store the elected entries, and a bit per task for each."""
        # A sum of 0 elects the negative sign, as the authors' code does.
        sign = (vectors.sum(dim=0) > 0).to(vectors.dtype) * 2 - 1
        agreeing = vectors * sign > 0
        elected = sign * (vectors.abs() * agreeing).amax(dim=0)
        masks = [Mask.of(one) for one in agreeing]
        return Compressed([elected, *masks], lambda i: elected * masks[i].unpacked())

    def scales(self, vectors: Sequence[State], stored: Mapping[str, Compressed]) -> list[float]:
        """Σ|τ_i| / Σ|M_i τ| over all tensors; 0 for a task vector of 0."""
        scales = []
        for i, vector in enumerate(vectors):
            own = sum(vector[key].abs().sum().item() for key in stored)
            taken = sum(part.unpack(i).abs().sum().item() for part in stored.values())
            scales.append(own / taken if taken else 0.0)
        return scales
