"""Samples that share their routing weights, against a loop over samples in float64."""

import pytest
import torch
from helpers.merged_reference import D, N, T, dictionary, small_mlp, task_vectors
from torch import Tensor

from wemoe_pl.moe.kernels import merged_mlp
from wemoe_pl.moe.kernels.choice import choose_kernel
from wemoe_pl.moe.kernels.grouped import Groups, grouped_mlp
from wemoe_pl.moe.kernels.naive import naive_mlp
from wemoe_pl.moe.kernels.tiling import CPU_BUDGET
from wemoe_pl.moe.kernels.two_layers import TwoLayers, two_layers

# Samples by their routing: in order, mixed up, of unequal numbers, all alike.
OWNERS = [[0, 0, 1, 1], [1, 0, 2, 0, 1, 2, 0], [0, 1, 1, 1, 1], [0, 0, 0]]


def layers_of(rows: list[int]) -> tuple[TwoLayers, Tensor, Tensor]:
    """The layers, with routing weights of which samples share rows, and tokens."""
    mlp = small_mlp()
    layers = two_layers(mlp, dictionary(mlp))
    assert layers is not None
    generator = torch.Generator().manual_seed(3)
    routings = torch.randn(3, T, generator=generator, dtype=torch.float64)
    x = torch.randn(len(rows), N, D, generator=generator, dtype=torch.float64)
    return layers, routings[rows], x


@pytest.mark.parametrize("rows", OWNERS, ids=str)
def test_grouped_samples_give_what_they_give_one_by_one(rows: list[int]) -> None:
    layers, routing_weights, x = layers_of(rows)
    mlp = small_mlp()
    expected = naive_mlp(mlp, task_vectors(mlp), routing_weights, x)
    out = grouped_mlp(layers, routing_weights, x)
    torch.testing.assert_close(out, expected, rtol=1e-11, atol=1e-11)


def test_threads_with_units_of_their_own_give_the_same() -> None:
    layers, routing_weights, x = layers_of(OWNERS[1])
    budget = CPU_BUDGET._replace(threaded=0)
    out = grouped_mlp(layers, routing_weights, x, budget)
    torch.testing.assert_close(out, grouped_mlp(layers, routing_weights, x))


def test_groups_hold_every_sample_once() -> None:
    routing_weights = layers_of(OWNERS[1])[1]
    groups = Groups.of(routing_weights)
    assert sorted(groups.order.tolist()) == list(range(len(routing_weights)))
    repeated = groups.distinct.repeat_interleave(torch.tensor(groups.sizes), dim=0)
    assert torch.equal(repeated, routing_weights[groups.order])


@pytest.mark.parametrize(("rows", "is_grouped"), [([0, 0, 1, 1], True), ([0, 1, 2, 1], False)])
def test_samples_are_grouped_where_half_of_them_share(rows: list[int], is_grouped: bool) -> None:
    layers, routing_weights, x = layers_of(rows)
    assert (choose_kernel(layers, routing_weights, x) is grouped_mlp) == is_grouped


@pytest.mark.parametrize("which", ["routing weights", "tokens"])
def test_what_needs_gradients_is_not_grouped(which: str) -> None:
    layers, routing_weights, x = layers_of([0, 0, 1, 1])
    (routing_weights if which == "routing weights" else x).requires_grad_()
    assert choose_kernel(layers, routing_weights, x) is not grouped_mlp
    mlp = small_mlp()
    merged_mlp(mlp, dictionary(mlp), routing_weights, x).sum().backward()
    assert (routing_weights.grad is None) == (which == "tokens")
    with torch.no_grad():
        assert choose_kernel(layers, routing_weights, x) is grouped_mlp
