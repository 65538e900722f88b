"""Routed linear layers against a loop over tokens and experts in numpy."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.routed_linear import RoutedLinear, RoutedTaskVectors

NUM_EXPERTS, RANK, STORED, INPUTS, OUTPUTS = 3, 2, 4, 6, 5


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def task_vectors(router_rank: int, experts_per_token: int, bias: bool = True) -> RoutedTaskVectors:
    left = drawn(OUTPUTS, NUM_EXPERTS, RANK, seed=0)
    right = drawn(NUM_EXPERTS, STORED, INPUTS, seed=1)
    own = drawn(NUM_EXPERTS, OUTPUTS, seed=2) if bias else None
    return RoutedTaskVectors(left, right, own, router_rank, experts_per_token)


def of_a_token(x: np.ndarray, layer: RoutedTaskVectors) -> np.ndarray:
    """What is added to a token, expert by expert."""
    left, right = layer.left.numpy(), layer.right.numpy()
    sizes = [np.sqrt(sum((row @ x) ** 2 for row in of[: layer.router_rank])) for of in right]
    shares = [np.exp(size) / sum(map(np.exp, sizes)) for size in sizes]
    chosen = sorted(range(len(sizes)), key=lambda i: -sizes[i])[: layer.experts_per_token]
    total = np.zeros(len(left))
    for i in chosen:
        own = sum(left[:, i, k] * (right[i, k] @ x) for k in range(left.shape[2]))
        own = own if layer.bias is None else own + layer.bias[i].numpy()
        total += shares[i] / sum(shares[j] for j in chosen) * own
    return total


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("experts_per_token", [1, 2, 3])
@pytest.mark.parametrize("router_rank", [1, STORED])
def test_every_token_is_given_what_the_loop_gives_it(
    router_rank: int, experts_per_token: int, bias: bool
) -> None:
    layer = task_vectors(router_rank, experts_per_token, bias)
    x = drawn(4, 7, INPUTS, seed=3)
    expected = [[of_a_token(token, layer) for token in tokens] for tokens in x.numpy()]
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-10, atol=1e-12)
    along = torch.einsum("bni,tki->bntk", x, layer.right)[..., :router_rank]
    chosen = layer.route(along)
    assert ((chosen > 0).sum(dim=-1) == experts_per_token).all()
    assert len(chosen.argmax(dim=-1).unique()) == NUM_EXPERTS  # every expert is chosen by some


def test_a_token_is_given_the_same_whatever_is_beside_it() -> None:
    layer, x = task_vectors(2, 1), drawn(4, 7, INPUTS, seed=4)
    torch.testing.assert_close(layer(x)[2, 3], layer(x[2, 3]), rtol=1e-12, atol=1e-14)


def test_more_experts_per_token_than_there_are_mean_all() -> None:
    x = drawn(5, INPUTS, seed=5)
    torch.testing.assert_close(task_vectors(2, 99)(x), task_vectors(2, 3)(x))


def test_far_tokens_route_by_numbers_that_are_finite() -> None:
    layer = task_vectors(2, 2)
    assert layer(drawn(5, INPUTS, seed=6) * 1e6).isfinite().all()
    assert layer(torch.zeros(1, INPUTS, dtype=torch.float64)).isfinite().all()


@pytest.mark.parametrize("count", [1, 3])
def test_rows_may_route_by_themselves(count: int) -> None:
    linear = nn.Linear(INPUTS, count * OUTPUTS).double()
    parts = [task_vectors(router_rank, 1) for router_rank in range(1, count + 1)]
    layer, x = RoutedLinear(linear, parts), drawn(4, INPUTS, seed=7)
    added = torch.cat([part(x) for part in parts], dim=1)
    torch.testing.assert_close(layer(x), linear(x) + added)
    assert not any(weight.requires_grad for weight in layer.parameters())


def reads_weight(layer: RoutedLinear) -> Tensor:
    return nn.functional.linear(torch.zeros(1, INPUTS), layer.weight)


def test_what_computes_with_the_matrix_is_refused() -> None:
    layer = RoutedLinear(nn.Linear(INPUTS, OUTPUTS), [task_vectors(1, 1)])
    with pytest.raises(MergeError, match=r"reads the matrix .* choose another merge method"):
        reads_weight(layer)
