"""Localise tasks in a merged task vector: TALL masks and Consensus (arXiv 2405.07813)."""

from dataclasses import dataclass

from torch import Tensor

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.masks import Mask
from wemoe_pl.merging.per_task import Compressed, PerTaskMethod
from wemoe_pl.merging.tensor_method import TensorMethod, check_alpha
from wemoe_pl.moe.scaling import DEFAULT_SCALING


@dataclass(frozen=True)
class TALLMasks(PerTaskMethod):
    """TALL masks give a task the entries of the summed task vector that are mostly its own (§4).

    The task of an image must be known.

    Args:
        threshold: λ; an entry is taken where |τ_i| > λ |τ_sum − τ_i|, so that a larger λ makes
            sparser masks. Its authors choose λ from 0.2 to 0.6 for every task, on labelled
            validation images.
    """

    threshold: float = 0.4

    def __post_init__(self) -> None:
        """Refuse a threshold out of range before anything is loaded."""
        check_threshold(self.threshold)

    @property
    def label(self) -> str:
        """Return the published name."""
        return "TALL masks"

    def compress(self, vectors: Tensor) -> Compressed:
        """Store the sum, and one bit per entry and task."""
        total = vectors.sum(dim=0)
        masks = [Mask.of(own) for own in localised(vectors, self.threshold)]
        return Compressed([total, *masks], lambda i: total * masks[i].unpacked())


@dataclass(frozen=True)
class Consensus(TensorMethod):
    """Consensus is task arithmetic on the entries that several tasks' TALL masks take (§5).

    By default the entries that one task needs, or none, are left out. One set of weights is for all
    tasks.

    Args:
        alpha: α, the scaling coefficient of the sum; its authors choose it on labelled validation
            images.
        threshold: λ of the masks.
        agreeing: the number of masks that must have an entry.
    """

    alpha: float = DEFAULT_SCALING
    threshold: float = 0.4
    agreeing: int = 2

    def __post_init__(self) -> None:
        """Refuse values out of range before anything is loaded."""
        check_alpha(self.alpha)
        check_threshold(self.threshold)
        if self.agreeing < 1:
            raise MergeError(
                f"agreeing is {self.agreeing}: choose how many masks must have an entry that is "
                "kept, from 1."
            )

    @property
    def factor(self) -> float:
        """Return α, by which the sum is scaled as a whole."""
        return self.alpha

    def merged_tensor(self, key: str, vectors: Tensor) -> Tensor:
        """Return Σ τ where `agreeing` masks have an entry, or all masks if there are fewer."""
        count = localised(vectors, self.threshold).sum(dim=0)
        return vectors.sum(dim=0).where(count >= min(self.agreeing, len(vectors)), 0)


def localised(vectors: Tensor, threshold: float) -> Tensor:
    """Return which entries are mostly a task's own, (T, *shape) → (T, *shape).

    >>> localised(torch.tensor([[3.0, 1.0], [1.0, 1.0]]), 0.9)
    tensor([[ True,  True],
            [False,  True]])
    """
    return vectors.abs() > threshold * (vectors.sum(dim=0) - vectors).abs()


def check_threshold(threshold: float) -> None:
    """Raise `MergeError` unless λ of TALL masks is 0 or more."""
    if not 0.0 <= threshold < float("inf"):
        raise MergeError(
            f"threshold is {threshold}: choose the ratio to the sum of the other task vectors "
            "above which a mask has an entry, 0 or more; TALL masks are published with 0.2 to 0.6."
        )
