"""Small MLPs and their task vectors, for which kernels are compared with their naive form."""

from collections.abc import Callable

import torch
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.dictionary import Dictionary
from wemoe_pl.moe.kernels import store_fc2_by_columns
from wemoe_pl.moe.kernels.naive import naive_mlp

B, N, D, HIDDEN, T = 3, 4, 5, 300, 2


def small_mlp(column_major: bool = True) -> nn.Module:
    """In float64, its last layer stored by columns or by rows."""
    torch.manual_seed(0)
    plain = Mlp(D, HIDDEN).double().requires_grad_(False)
    return store_fc2_by_columns(plain) if column_major else plain


def task_vectors(mlp: nn.Module) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {name: torch.randn(T, *w.shape).double() for name, w in mlp.named_parameters()}


@torch.no_grad()
def dictionary(mlp: nn.Module, compression: Compression = Dense()) -> Dictionary:  # noqa: B008
    def store(name: str, weight: Tensor) -> nn.Module:
        vectors = task_vectors(mlp)[name]
        return compression.store(weight, lambda i: weight + vectors[i], T)

    return Dictionary({name: store(name, w) for name, w in mlp.named_parameters()})  # type: ignore[misc]


def inputs(*shape: int) -> tuple[Tensor, Tensor]:
    """Routing weights and x, both of which require gradients."""
    torch.manual_seed(2)
    routing_weights = torch.randn(shape[0], T).double()
    return routing_weights.requires_grad_(), torch.randn(shape).double().requires_grad_()


def naive(mlp: nn.Module, vectors: Dictionary, routing_weights: Tensor, x: Tensor) -> Tensor:
    """`naive_mlp` with the task vectors that a dictionary stands for."""
    written_out = {name: v.mix(torch.eye(T).double()).detach() for name, v in vectors.items()}
    return naive_mlp(mlp, written_out, routing_weights, x)


def assert_same(
    run: Callable[[Tensor, Tensor], Tensor],
    reference: Callable[[Tensor, Tensor], Tensor],
    *shape: int,
) -> None:
    """Output and both gradients agree in float64."""
    routing_weights, x = inputs(*shape)
    actual, expected = run(routing_weights, x), reference(routing_weights, x)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)
    cotangent = torch.randn_like(expected)
    for gradient, correct in zip(
        torch.autograd.grad(actual, (routing_weights, x), cotangent),
        torch.autograd.grad(expected, (routing_weights, x), cotangent),
        strict=True,
    ):
        torch.testing.assert_close(gradient, correct, rtol=1e-9, atol=1e-9)
