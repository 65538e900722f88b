"""The factors of task vectors are used where they are right, and nowhere else."""

from collections.abc import Callable

import pytest
import torch
from helpers.stored_vectors import written_out
from torch import Tensor

from wemoe_pl.checkpoints import Factors, LazyState, State
from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import Dense, DenseVectors
from wemoe_pl.moe.expert_parameter import ExpertParameter, known_factors
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.low_rank_vectors import LowRankVectors

T, M, N, R = 4, 7, 9, 2


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(M, N, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def adapters(weight: Tensor, rank: int = R) -> list[LazyState]:
    """Experts whose task vectors are products of random factors."""
    generator = torch.Generator().manual_seed(1)
    pairs = [
        (
            torch.randn(M, rank, generator=generator, dtype=torch.float64),
            torch.randn(rank, N, generator=generator, dtype=torch.float64),
        )
        for _ in range(T)
    ]

    def of(pair: Factors) -> LazyState:
        shapes = {"w": weight.shape}
        return LazyState(shapes, lambda key: weight + pair[0] @ pair[1], lambda key: pair)

    return [of(pair) for pair in pairs]


@pytest.mark.parametrize("compression", [Dense(), LowRank(rank=R), LowRank(rank=5)], ids=repr)
def test_a_dictionary_of_adapters_keeps_their_factors(
    compression: Compression, weight: Tensor
) -> None:
    states = adapters(weight)
    stored = compression.store(weight, ExpertParameter(states, "w"), T)
    assert isinstance(stored, LowRankVectors)
    assert stored.owners.tolist() == [i for i in range(T) for _ in range(R)]
    expected = torch.stack([state["w"] - weight for state in states])
    torch.testing.assert_close(written_out(stored), expected)
    vectors = [state.factors("w") for state in states]
    assert all(factors is not None for factors in vectors)
    lefts = torch.cat([factors[0] for factors in vectors if factors], dim=1)
    assert torch.equal(stored.left, lefts)  # as they were given, without a decomposition


def test_a_lower_rank_than_that_of_the_adapters_is_the_nearest(weight: Tensor) -> None:
    states = adapters(weight)
    stored = LowRank(rank=1).store(weight, ExpertParameter(states, "w"), T)
    for vector, state in zip(written_out(stored), states, strict=True):
        left, singular, right = torch.linalg.svd(state["w"] - weight)
        torch.testing.assert_close(vector, singular[0] * left[:, :1] @ right[:1])


def whole(weight: Tensor) -> list[State]:
    """Three adapters and an expert of whole weights."""
    return [*adapters(weight)[:3], {"w": weight + 1}]


def of_another_base(weight: Tensor) -> list[State]:
    return [*adapters(weight + 0.1)]


def thick(weight: Tensor) -> list[State]:
    """Adapters whose factors are larger than the matrix."""
    return [*adapters(weight, rank=6)]


@pytest.mark.parametrize("states_of", [whole, of_another_base, thick])
def test_other_experts_are_stored_entry_by_entry(
    states_of: Callable[[Tensor], list[State]], weight: Tensor
) -> None:
    states = states_of(weight)
    stored = Dense().store(weight, ExpertParameter(states, "w"), T)
    assert isinstance(stored, DenseVectors)
    expected = torch.stack([state["w"] - weight for state in states])
    torch.testing.assert_close(written_out(stored), expected, rtol=0, atol=1e-12)


def test_only_a_reader_of_experts_knows_factors(weight: Tensor) -> None:
    states = adapters(weight)
    assert known_factors(lambda i: states[i]["w"], weight, T) is None
    found = known_factors(ExpertParameter(states, "w"), weight, T)
    assert found is not None
    assert len(found) == T


def test_factors_of_nothing_give_a_dictionary_of_nothing(weight: Tensor) -> None:
    """An adapter leaves most matrices alone."""
    stored = Dense().store(weight, ExpertParameter(adapters(weight, rank=0), "w"), T)
    assert isinstance(stored, LowRankVectors)
    x, routing_weights = torch.randn(3, 5, N).double(), torch.rand(3, T).double()
    assert not stored.mix(routing_weights).any()
    assert not stored.tile(0, 4, 0, torch.float64).any()
    assert not stored.add_applied(torch.zeros(3, 5, M).double(), x, routing_weights).any()


def test_a_half_precise_base_still_knows_that_the_factors_are_its_own(weight: Tensor) -> None:
    states = adapters(weight.float().double())
    stored = Dense().store(weight.float(), ExpertParameter(states, "w"), T)
    assert isinstance(stored, LowRankVectors)
