"""Count directions that several experts share only once: SVC (arXiv 2602.05536)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import LazyState, State, shapes_of
from wemoe_pl.errors import MergeError
from wemoe_pl.merging.matrix_method import as_matrices, is_fused
from wemoe_pl.merging.spectral import decompose
from wemoe_pl.merging.tensor_method import check_alpha
from wemoe_pl.merging.wrapper import Wrapper


@dataclass(frozen=True)
class SVC(Wrapper):
    """SVC calibrates the singular values of a merged task vector, linear layer by layer (§4).

    Along a left singular vector u of the merged Δ, s_i = ⟨uᵀΔ, uᵀτ_i⟩ / ‖uᵀτ_i‖² is the factor by
    which Δ repeats what expert i contributed. The singular value is divided by the mean of s_i over
    the experts, after every s_i was raised to a floor. This undoes a scaling coefficient of the
    wrapped method, down to the floor; `alpha` scales afterwards.

    Args:
        alpha: the scaling coefficient of the calibrated task vector.
        floor: the least s_i; by default 1 / T. On top of TSV-M, 1 is published.
        split_qkv: the same as for `MatrixMethod`.
    """

    alpha: float = 1.0
    floor: float | None = None
    split_qkv: bool = False

    def __post_init__(self) -> None:
        """Refuse values out of range before anything is loaded."""
        super().__post_init__()
        check_alpha(self.alpha)
        if self.floor is not None and not 0.0 < self.floor < float("inf"):
            raise MergeError(
                f"floor is {self.floor}: choose the least projection coefficient, above 0; SVC is "
                "published with 1 divided by the number of experts."
            )

    def change(self, merged: State, vectors: Sequence[State], pretrained: nn.Module) -> State:
        """Calibrate the weights of linear layers, and scale every tensor by `alpha`."""

        def calibrated(key: str) -> Tensor:
            vector = merged[key]
            if vector.ndim != 2:
                return vector
            together = torch.stack([vector, *(other[key] for other in vectors)])
            parts = 3 if self.split_qkv and is_fused(key) else 1
            return as_matrices(self.calibrate, together, parts)

        return LazyState(shapes_of(merged), lambda key: self.alpha * calibrated(key))

    def calibrate(self, matrices: Tensor) -> Tensor:
        """Return the first of matrices (1 + T, m, n), the merged one, calibrated by the others."""
        merged, experts = decompose(matrices[0]), matrices[1:]
        ours = merged.values[:, None] * merged.right
        theirs = merged.left.T @ experts
        sizes = theirs.square().sum(dim=2)
        found = (ours * theirs).sum(dim=2) / sizes.where(sizes > 0, 1)
        floor = 1 / len(experts) if self.floor is None else self.floor
        calibrated = merged.values / found.clamp(min=floor).mean(dim=0)
        return merged.left * calibrated @ merged.right
