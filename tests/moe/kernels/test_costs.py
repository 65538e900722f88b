"""The cost model against the counts that it stands for."""

from typing import Any

import pytest
from helpers.merged_reference import T, dictionary
from timm.layers.mlp import Mlp

from wemoe_pl.moe.kernels import costs
from wemoe_pl.moe.kernels.costs import Load, activation_space_cost, weight_space_cost
from wemoe_pl.moe.kernels.two_layers import TwoLayers, two_layers
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.pruned import Pruned

D, H = 8, 32
P = 2 * D * H


def layers(**options: Any) -> TwoLayers:
    mlp = Mlp(D, H).double()
    found = two_layers(mlp, dictionary(mlp, **options))
    assert found is not None
    return found


@pytest.fixture
def ideal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which every multiply-add costs the same, and reading nothing."""
    for name, value in {"BATCHED": 1.0, "MERGING": 1.0, "READING": 0.0}.items():
        monkeypatch.setattr(costs, name, value)


@pytest.mark.usefixtures("ideal")
@pytest.mark.parametrize(("samples", "tokens"), [(1, 1), (16, 50), (3, 7)])
def test_dense_costs_are_the_counts_of_multiply_adds(samples: int, tokens: int) -> None:
    forward, both = Load(samples, tokens, learning=False), Load(samples, tokens, learning=True)
    merge, use = samples * T * P, samples * tokens * P
    assert weight_space_cost(layers(), forward) == merge + use
    assert weight_space_cost(layers(), both) == 3 * merge + 3 * use
    assert activation_space_cost(layers(), forward) == (T + 1) * use
    assert activation_space_cost(layers(), both) == 2 * (T + 1) * use


@pytest.mark.usefixtures("ideal")
def test_low_rank_is_applied_by_its_factors() -> None:
    load = Load(samples=2, tokens=3, learning=False)
    factors = 2 * T * 2 * (D + H)
    assert activation_space_cost(layers(compression=LowRank(rank=2)), load) == 6 * (P + factors)


def test_sparse_vectors_are_never_applied_one_by_one() -> None:
    assert activation_space_cost(layers(compression=Pruned()), Load(1, 1, False)) == float("inf")
