"""The least squares problem that RegMean and WUDI have in common, each with its Gram matrices."""

import torch
from torch import Tensor


def nearest_solution(gram: Tensor, target: Tensor, start: Tensor) -> Tensor:
    """Return the solution X of gram · X = target that is nearest to a start.

    With gram = Σ G_i and target = Σ G_i X_i it is the X of least Σ ‖X − X_i‖² as the G_i measure
    it. What they do not reach, since they are singular together, stays as it is in `start`.

    Args:
        gram: (d, d), symmetric and positive semi-definite, in double precision.
        target: (d, columns), in the range of `gram`.
        start: (d, columns).

    >>> gram, target = torch.diag(torch.tensor([4.0, 0.0])), torch.tensor([[2.0], [0.0]])
    >>> nearest_solution(gram, target, start=torch.ones(2, 1)).flatten().tolist()
    [0.5, 1.0]
    """
    return start + torch.linalg.pinv(gram, hermitian=True) @ (target - gram @ start)
