"""The Triton kernels, as Triton's interpreter runs them, against their naive form in float64."""

import pytest
import torch
from helpers.merged_reference import assert_same, dictionary, naive, small_mlp
from timm.layers.mlp import Mlp
from torch import Tensor

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.kernels.fused import fused_linear, fused_mlp, fuses
from wemoe_pl.moe.kernels.naive import naive_linear
from wemoe_pl.moe.kernels.two_layers import TwoLayers, two_layers
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.pruned import Pruned

# B, N, K, M and T: nothing but one tile; several tiles, none of them full; many tokens and experts.
SHAPES = [(1, 1, 3, 2, 1), (2, 17, 70, 130, 3), (3, 5, 33, 65, 2), (1, 300, 20, 20, 9)]
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 5e-3}


def operands(shape: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]:
    """Tokens, weight, task vectors and routing weights."""
    torch.manual_seed(0)
    b, n, k, m, t = shape
    sizes = [(b, n, k), (m, k), (t, m, k), (b, t)]
    return [torch.randn(size).to(dtype) for size in sizes]


def error(actual: Tensor, expected: Tensor) -> float:
    """The largest, as a share of the largest number."""
    return ((actual.double() - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_output_and_gradients_match_the_loop_over_samples(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x, weight, vectors, routing = operands(shape, dtype)
    wide = [each.double() for each in (x, weight, vectors, routing)]
    for each in (x, routing, wide[0], wide[3]):
        each.requires_grad_()
    out, expected = fused_linear(x, weight, vectors, routing), naive_linear(*wide)
    assert out.dtype == dtype
    assert error(out, expected) < TOLERANCES[dtype]
    cotangent = torch.randn_like(expected).to(dtype)
    gradients = torch.autograd.grad(out, (x, routing), cotangent)
    correct = torch.autograd.grad(expected, (wide[0], wide[3]), cotangent.double())
    for gradient, right in zip(gradients, correct, strict=True):
        assert gradient.dtype == dtype
        assert error(gradient, right) < TOLERANCES[dtype]


def test_weights_and_vectors_may_lie_in_columns() -> None:
    x, weight, vectors, routing = operands((2, 5, 33, 65, 2), torch.float64)
    columns = weight.mT.contiguous().mT, vectors.mT.contiguous().mT
    assert not columns[0].is_contiguous()
    rows = fused_linear(x, weight, vectors, routing)
    torch.testing.assert_close(fused_linear(x, *columns, routing), rows, rtol=0, atol=0)


def test_a_wider_dictionary_is_merged_in_its_precision_and_then_rounded() -> None:
    x, weight, vectors, routing = operands((2, 5, 33, 65, 2), torch.float32)
    narrow = x.bfloat16(), routing.bfloat16()
    out = fused_linear(narrow[0], weight, vectors, narrow[1])
    assert out.dtype == torch.bfloat16
    expected = naive_linear(*(e.double() for e in (narrow[0], weight, vectors, narrow[1])))
    assert error(out, expected) < TOLERANCES[torch.bfloat16]


@pytest.mark.parametrize("wanted", [(True, False), (False, True)])
def test_only_the_gradients_asked_for_are_computed(wanted: tuple[bool, bool]) -> None:
    x, weight, vectors, routing = operands((2, 5, 6, 7, 2), torch.float64)
    x.requires_grad_(wanted[0])
    routing.requires_grad_(wanted[1])
    fused_linear(x, weight, vectors, routing).sum().backward()
    assert (x.grad is not None, routing.grad is not None) == wanted


def test_a_second_derivative_is_refused() -> None:
    x, weight, vectors, routing = operands((2, 5, 6, 7, 2), torch.float64)
    x.requires_grad_()
    out = fused_linear(x, weight, vectors, routing).sum()
    [first] = torch.autograd.grad(out, x, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        first.sum().backward()


def test_shapes_that_do_not_fit_are_named() -> None:
    x, weight, vectors, routing = operands((2, 5, 6, 7, 2), torch.float64)
    with pytest.raises(MergeError, match=r"\(2, 5, 6\), \(7, 6\), \(2, 7, 6\), \(1, 2\)"):
        fused_linear(x, weight, vectors, routing[:1])


def layers_of(mlp: Mlp, **options: object) -> TwoLayers:
    layers = two_layers(mlp, dictionary(mlp, **options))  # type: ignore[arg-type]
    assert layers is not None
    return layers


@pytest.mark.parametrize("column_major", [True, False])
def test_a_whole_mlp_matches_the_loop_over_samples(column_major: bool) -> None:
    mlp = small_mlp(column_major)
    assert isinstance(mlp, Mlp)
    layers, vectors = layers_of(mlp), dictionary(mlp)
    assert_same(
        lambda r, x: fused_mlp(layers, r, x),
        lambda r, x: naive(mlp, vectors, r, x),
        *(2, 4, 5),
    )


def test_only_dense_dictionaries_are_fused() -> None:
    mlp, x = Mlp(4, 8).double(), torch.zeros(1, 2, 4)
    assert fuses(layers_of(mlp), x)
    for compression in (Pruned(ratio=0.5), LowRank(rank=1)):
        assert not fuses(layers_of(mlp, compression=compression), x)
