"""The naive forms, against sums that are written out number by number in float64."""

from itertools import product

import pytest
import torch
from helpers.merged_reference import T, dictionary, inputs, naive, task_vectors
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from wemoe_pl.moe.kernels.naive import naive_hidden_mean, naive_linear

B, N, D, H = 3, 2, 4, 3
Row = list[float]


def merged(weight: Tensor, vectors: Tensor, shares: Tensor) -> Row:
    """W0 + Σ_i r_i τ_i, entry by entry, in one row."""
    row: Row = weight.flatten().tolist()
    for share, vector in zip(shares.tolist(), vectors.flatten(1).tolist(), strict=True):
        row = [entry + share * added for entry, added in zip(row, vector, strict=True)]
    return row


def linear(weight: Row, bias: Row, x: Row) -> Row:
    """W x + b, where W is one row of all its entries."""
    return [
        b + sum(weight[i * len(x) + j] * entry for j, entry in enumerate(x))
        for i, b in enumerate(bias)
    ]


def relu(x: Row) -> Row:
    return [max(0.0, entry) for entry in x]


def near(expected: Row) -> object:
    return pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_an_mlp_is_run_with_the_merged_weights_of_each_sample() -> None:
    mlp = Mlp(D, H, act_layer=nn.ReLU).double().requires_grad_(False)
    vectors, (routing_weights, x) = task_vectors(mlp), inputs(B, N, D)
    out = naive(mlp, dictionary(mlp), routing_weights, x)
    for b, n in product(range(B), range(N)):
        weight1, bias1, weight2, bias2 = (
            merged(weight, vectors[name], routing_weights[b])
            for name, weight in mlp.named_parameters()
        )
        hidden = relu(linear(weight1, bias1, x[b, n].tolist()))
        assert out[b, n].tolist() == near(linear(weight2, bias2, hidden))


def test_a_linear_layer_is_run_with_the_merged_weights_of_each_sample() -> None:
    routing_weights, x = inputs(B, N, D)
    weight, vectors = torch.randn(H, D).double(), torch.randn(T, H, D).double()
    out = naive_linear(x, weight, vectors, routing_weights)
    for b, n in product(range(B), range(N)):
        row = merged(weight, vectors, routing_weights[b])
        assert out[b, n].tolist() == near(linear(row, [0.0] * H, x[b, n].tolist()))


def test_a_hidden_mean_is_over_tokens_after_the_activation() -> None:
    _, x = inputs(B, N, D)
    weight, bias = torch.randn(H, D).double(), torch.randn(H).double()
    mean = naive_hidden_mean(x, weight, bias)
    for b in range(B):
        row = weight.flatten().tolist()
        tokens = [relu(linear(row, bias.tolist(), token)) for token in x[b].tolist()]
        assert mean[b].tolist() == near([sum(column) / N for column in zip(*tokens, strict=True)])
