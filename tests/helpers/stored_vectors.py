"""Task vectors of random weights, in every form in which they are stored."""

import pytest
import torch
from torch import Tensor

from wemoe_pl.moe.compression import Compression, TaskVectors
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.pruned import Pruned
from wemoe_pl.moe.quantised import Quantised

B, T = 3, 4
SHAPES = pytest.mark.parametrize("shape", [(12,), (7, 9), (5, 3, 2)], ids=str)
LOSSLESS = [Dense(), Pruned(ratio=0.0), LowRank(energy=1.0)]
LOSSY = [Pruned(ratio=0.7), LowRank(rank=2), LowRank(energy=0.8), Quantised()]


def weights(shape: tuple[int, ...]) -> tuple[Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    weight, *tuned = torch.randn(T + 1, *shape, generator=generator, dtype=torch.float64)
    return weight, tuned


def stored(compression: Compression, shape: tuple[int, ...]) -> TaskVectors:
    weight, tuned = weights(shape)
    return compression.store(weight, lambda i: tuned[i], T)


def written_out(vectors: TaskVectors) -> Tensor:
    """What each task vector is, (T, *shape): mixing with one-hot routing weights."""
    return vectors.mix(torch.eye(T, dtype=torch.float64))


def matrix(shape: tuple[int, int], column_major: bool) -> tuple[Tensor, list[Tensor]]:
    """In float32, stored by columns or by rows."""
    weight, *tuned = torch.randn(T + 1, *shape, generator=torch.Generator().manual_seed(0))
    return (weight.mT.contiguous().mT if column_major else weight), tuned
