"""Take task vectors for the inputs of their layers, in closed form: WUDI (arXiv 2503.08099)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.matrix_method import MatrixMethod
from wemoe_pl.merging.normal_equations import nearest_solution


@dataclass(frozen=True)
class WUDI(MatrixMethod):
    """WUDI takes the Δ of least Σ ‖(Δ − τ_i) τ_iᵀ‖² / ‖τ_i‖² for every linear layer (§4).

    The rows of a task vector span the inputs of its layer in fine-tuning, so this is RegMean with
    τᵀτ / ‖τ‖² in place of the Gram matrices of inputs. The authors take 300 steps of Adam from the
    sum of the task vectors, which are too few to reach the minimum. Here the minimum itself is
    computed, and `ridge` regularises it.

    Args:
        ridge: the number added to the diagonal of the sum of the T Gram matrices, whose trace is T.
    """

    ridge: float = 1e-8

    def __post_init__(self) -> None:
        """Refuse values out of range before anything is loaded."""
        super().__post_init__()
        if not 0.0 <= self.ridge < float("inf"):
            raise MergeError(
                f"ridge is {self.ridge}: choose what is added to the diagonal of the Gram "
                "matrices, 0 or more; 1e-8 adds next to nothing."
            )

    def is_matrix(self, tensor: Tensor) -> bool:
        """Return whether a tensor is a linear layer's weight, as an embedding has no inputs."""
        return tensor.ndim == 2

    def combine(self, matrices: Tensor) -> Tensor:
        """Solve Δ (Σ G_i + ρ I) = Σ τ_i G_i with G_i = τ_iᵀτ_i / ‖τ_i‖², in double precision."""
        columns = matrices.shape[2]
        gram = self.ridge * torch.eye(columns, dtype=torch.float64, device=matrices.device)
        target = gram.new_zeros(columns, matrices.shape[1])
        for vector in matrices.double():
            size = vector.square().sum()
            of_task = vector.T @ vector / size.where(size > 0, 1)
            gram += of_task
            target += of_task @ vector.T
        solution = nearest_solution(gram, target, torch.zeros_like(target))
        return solution.T.to(matrices.dtype)
