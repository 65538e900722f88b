"""Scale the mean of task vectors by the angles between them: Model Stock (arXiv 2403.19522)."""

from dataclasses import dataclass

from torch import Tensor

from wemoe_pl.merging.tensor_method import TensorMethod


@dataclass(frozen=True)
class ModelStock(TensorMethod):
    """Model Stock scales a tensor's mean task vector by t = T cos θ / (1 + (T − 1) cos θ) (§4).

    θ is the angle between two experts' task vectors; its cosine is averaged over all pairs. If the
    average is negative, nothing is added. The method was made for experts of the same task. Task
    vectors of different tasks are nearly orthogonal, and next to nothing of them is left.
    """

    @property
    def label(self) -> str:
        """Return the published name."""
        return "Model Stock"

    def merged_tensor(self, key: str, vectors: Tensor) -> Tensor:
        """Return the mean of the task vectors, scaled by t."""
        return interpolation_ratio(vectors) * vectors.mean(dim=0)


def interpolation_ratio(vectors: Tensor) -> float:
    """Return t of task vectors (T, *shape), 0 to 1; one of 0 counts as orthogonal to the others.

    >>> interpolation_ratio(torch.tensor([[1.0, 0.0], [2.0, 0.0]]))
    1.0
    """
    count = len(vectors)
    if count == 1:
        return 1.0
    flat = vectors.flatten(1).double()
    norms = flat.norm(dim=1, keepdim=True)
    unit = flat / norms.where(norms > 0, 1)
    pairs = unit.sum(dim=0).square().sum() - unit.square().sum()  # Σ of the cosines of all i ≠ j
    cosine = max(0.0, pairs.item() / (count * (count - 1)))
    return count * cosine / (1 + (count - 1) * cosine)
