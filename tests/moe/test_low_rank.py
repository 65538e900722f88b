"""Low-rank task vectors against the singular values."""

from typing import Any

import pytest
import torch
from helpers.stored_vectors import (
    B,
    T,
    stored,
    weights,
    written_out,
)

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.low_rank_vectors import LowRankVectors


def test_low_rank_is_the_nearest_matrix_of_that_rank() -> None:
    weight, tuned = weights((7, 9))
    for vector, expert in zip(written_out(stored(LowRank(rank=2), (7, 9))), tuned, strict=True):
        left, singular, right = torch.linalg.svd(expert - weight, full_matrices=False)
        nearest = left[:, :2] @ torch.diag(singular[:2]) @ right[:2]
        torch.testing.assert_close(vector, nearest, rtol=0, atol=1e-12)


@pytest.mark.parametrize("energy", [0.5, 0.8, 0.99])
def test_the_rank_is_the_least_that_keeps_the_energy(energy: float) -> None:
    weight, tuned = weights((7, 9))
    vectors = stored(LowRank(energy=energy), (7, 9))
    assert isinstance(vectors, LowRankVectors)
    for i, expert in enumerate(tuned):
        squares = torch.linalg.svdvals(expert - weight).square()
        rank = int((vectors.owners == i).sum())
        assert squares[:rank].sum() >= energy * squares.sum()
        assert squares[: rank - 1].sum() < energy * squares.sum()


def test_low_rank_vectors_are_applied_without_being_formed() -> None:
    weight, tuned = weights((7, 9))
    vectors = LowRank(rank=2).store(weight, tuned.__getitem__, T)
    assert isinstance(vectors, LowRankVectors)
    x, routing_weights = torch.randn(B, 5, 9).double(), torch.randn(B, T).double()
    out = torch.randn(B, 5, 7).double()
    expected = out + torch.einsum("bmn,bkn->bkm", vectors.mix(routing_weights), x)
    torch.testing.assert_close(vectors.add_applied(out, x, routing_weights), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either `rank` or `energy`"),
        ({"rank": 3, "energy": 0.5}, "either `rank` or `energy`"),
        ({"rank": 0}, "rank is 0: give a number from 1"),
        ({"energy": 0.0}, r"energy is 0\.0: choose a number above 0"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MergeError, match=message):
        LowRank(**options)
