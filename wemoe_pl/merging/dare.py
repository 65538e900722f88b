"""Drop most entries of task vectors at random, and rescale the rest: DARE (arXiv 2311.03099)."""

import zlib
from dataclasses import dataclass

import torch
from torch import Tensor

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.tensor_method import TensorMethod, check_alpha
from wemoe_pl.moe.scaling import DEFAULT_SCALING


@dataclass(frozen=True)
class DARE(TensorMethod):
    """DARE is task arithmetic on task vectors whose entries are kept with probability 1 − p.

    Kept entries are divided by 1 − p. The choice depends only on the seed, the name of the tensor
    and the place of the expert, so it is the same on every machine and after any other draws.

    Args:
        alpha: α, the scaling coefficient of the sum.
        drop: p, the probability that an entry is dropped, from 0 to less than 1.
        seed: the seed of the random choice of entries.
    """

    alpha: float = DEFAULT_SCALING
    drop: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values out of range before anything is loaded."""
        check_alpha(self.alpha)
        if not 0.0 <= self.drop < 1.0:
            raise MergeError(
                f"drop is {self.drop}: choose the share of entries that is dropped, from 0 to less "
                "than 1; DARE is published with 0.9."
            )

    @property
    def factor(self) -> float:
        """Return α, by which the sum is scaled as a whole."""
        return self.alpha

    def merged_tensor(self, key: str, vectors: Tensor) -> Tensor:
        """Return the sum of the task vectors after entries were dropped and the rest rescaled."""
        generator = torch.Generator().manual_seed(zlib.crc32(f"{self.seed} {key}".encode()))
        total = torch.zeros_like(vectors[0])
        for vector in vectors:
            kept = torch.rand(vector.shape, generator=generator) >= self.drop
            total += vector * kept.to(vector.device) / (1 - self.drop)
        return total
