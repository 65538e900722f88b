"""Solve the least squares problem that RegMean and WUDI share, each with its own Gram matrices."""

import torch
from torch import Tensor


def nearest_solution(gram: Tensor, target: Tensor, start: Tensor) -> Tensor:
    """Return the solution X of gram · X = target that is nearest to a start.

    With gram = Σ G_i and target = Σ G_i X_i it is the X of least Σ ‖X − X_i‖², each measured by
    G_i. In directions in which all G_i are 0, X is the same as `start`.

    Args:
        gram: the sum of Gram matrices, (d, d), positive semi-definite, in double precision.
        target: the right-hand side, (d, columns), in the range of `gram`.
        start: the start, (d, columns).

    >>> gram, target = torch.diag(torch.tensor([4.0, 0.0])), torch.tensor([[2.0], [0.0]])
    >>> nearest_solution(gram, target, start=torch.ones(2, 1)).flatten().tolist()
    [0.5, 1.0]
    """
    return start + torch.linalg.pinv(gram, hermitian=True) @ (target - gram @ start)
