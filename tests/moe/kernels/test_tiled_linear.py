"""A linear layer in weight space, tile by tile, against its naive form in float64."""

import pytest
import torch
from helpers.merged_reference import T, assert_same, dictionary, inputs
from torch import Tensor, nn

from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.kernels.merged_layer import MergedLayer
from wemoe_pl.moe.kernels.naive import naive_linear
from wemoe_pl.moe.kernels.tiled_linear import tiled_linear
from wemoe_pl.moe.kernels.tiling import TILE_UNITS, Budget
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.pruned import Pruned
from wemoe_pl.moe.quantised import Quantised

N, IN, OUT = 4, 200, 300  # several tiles of lines, whichever way they lie
TIGHT = Budget(tile=1, kept=0, sums=0)
MIDDLE = Budget(8 * OUT * TILE_UNITS * 2, 0, 10**6)
AMPLE = Budget(2**30, 0, 2**30)


def layer_of(
    column_major: bool = False, compression: Compression | None = None, bias: bool = True
) -> MergedLayer:
    """A layer of 200 inputs and 300 outputs."""
    torch.manual_seed(0)
    linear = nn.Linear(IN, OUT, bias=bias).double().requires_grad_(False)
    if column_major:
        linear.weight.data = linear.weight.data.mT.contiguous().mT
    modules = nn.ModuleDict({"fc": linear})
    vectors = dict(dictionary(modules, compression or Dense()).items())
    return MergedLayer.of(linear, vectors, "fc")


def naive(layer: MergedLayer, routing_weights: Tensor, x: Tensor) -> Tensor:
    """The layer written out, with the bias of every sample."""
    written_out = layer.vectors.mix(torch.eye(T).double()).detach()
    bias = layer.merged_bias(routing_weights)[:, None]
    return naive_linear(x, layer.weight, written_out, routing_weights) + bias


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("budget", [TIGHT, MIDDLE, AMPLE], ids=str)
@pytest.mark.parametrize("column_major", [True, False])
@pytest.mark.parametrize("samples", [1, 5])
def test_output_and_gradients_match_the_naive_form(
    samples: int, column_major: bool, budget: Budget
) -> None:
    layer = layer_of(column_major)
    assert_same(
        lambda r, x: tiled_linear(layer, r, x, budget),
        lambda r, x: naive(layer, r, x),
        *(samples, N, IN),
    )


@pytest.mark.parametrize("compression", [Pruned(ratio=0.8), LowRank(rank=2), Quantised()], ids=repr)
@pytest.mark.parametrize("column_major", [True, False])
def test_compressed_task_vectors_do_as_well(column_major: bool, compression: Compression) -> None:
    layer = layer_of(column_major, compression)
    assert_same(
        lambda r, x: tiled_linear(layer, r, x, MIDDLE),
        lambda r, x: naive(layer, r, x),
        *(3, N, IN),
    )


@pytest.mark.parametrize("column_major", [True, False])
def test_a_layer_without_a_bias_has_none(column_major: bool) -> None:
    layer = layer_of(column_major, bias=False)
    zero, (_, x) = torch.zeros(2, T).double(), inputs(2, N, IN)
    torch.testing.assert_close(tiled_linear(layer, zero, x), x @ layer.weight.T)


@pytest.mark.parametrize("wanted", [(True, False), (False, True)])
@pytest.mark.parametrize("column_major", [True, False])
def test_only_the_gradients_asked_for_are_computed(
    column_major: bool, wanted: tuple[bool, bool]
) -> None:
    layer = layer_of(column_major)
    given = inputs(2, N, IN)
    partly = [t.detach().requires_grad_(want) for t, want in zip(given, wanted, strict=True)]
    tiled_linear(layer, *given).sum().backward()
    tiled_linear(layer, partly[0], partly[1]).sum().backward()
    for tensor, reference, want in zip(partly, given, wanted, strict=True):
        if want:
            torch.testing.assert_close(tensor.grad, reference.grad)
        else:
            assert tensor.grad is None


def test_a_graph_that_is_retained_gives_the_same_gradients_again() -> None:
    r, x = inputs(3, N, IN)
    out = tiled_linear(layer_of(), r, x, MIDDLE).sum()
    first = torch.autograd.grad(out, (r, x), retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(out, (r, x)), first, rtol=0, atol=0)


def test_only_the_input_waits_for_the_backward_pass() -> None:
    r, x = inputs(3, N, IN)
    output = tiled_linear(layer_of(), r, x)  # while it is there, so are the tensors it has saved
    function = output.grad_fn
    assert function is not None
    saved = function.saved_tensors  # type: ignore[attr-defined]
    assert [tensor.shape for tensor in saved] == [x.shape, r.shape]
