"""Products of thin matrices that are put side by side, and recognised in a state dict."""

import pytest
import torch

from wemoe_pl.moe.low_rank_vectors import LowRankVectors, are_low_rank

SHAPE = torch.Size([3, 4])


def vectors() -> LowRankVectors:
    """Task vectors of ranks 1, 0 and 2."""
    factors = [(torch.ones(3, rank), torch.ones(rank, 4)) for rank in (1, 0, 2)]
    return LowRankVectors.of(factors, torch.zeros(SHAPE), torch.bfloat16)


def test_factors_of_any_ranks_lie_side_by_side() -> None:
    stored = vectors()
    assert stored.owners.tolist() == [0, 2, 2]
    assert stored.left.dtype == stored.right.dtype == torch.bfloat16
    expected = torch.tensor([1.0, 0.0, 2.0])[:, None, None].expand(3, *SHAPE)
    torch.testing.assert_close(stored.mix(torch.eye(3)), expected)
    for dim in (0, 1):
        tile = stored.tile(1, 3, dim, torch.float32)
        assert torch.equal(tile, expected[:, 1:3, :4] if dim == 0 else expected.mT[:, 1:3])


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("owners", torch.tensor([0, 2, 3])),  # no fourth expert
        ("owners", torch.tensor([2, 0, 2])),  # not in order
        ("owners", torch.tensor([0.0, 1.0, 2.0])),
        ("left", torch.zeros(3, 2)),
        ("right", torch.zeros(3, 5)),
    ],
)
def test_factors_that_do_not_fit_are_none(part: str, value: torch.Tensor) -> None:
    state = dict(vectors().state_dict())
    assert are_low_rank(state, torch.zeros(SHAPE), 3)
    assert not are_low_rank({**state, part: value}, torch.zeros(SHAPE), 3)
