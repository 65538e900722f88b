"""Weight space, tile by tile, against the loop over samples."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers.merged_reference import (
    HIDDEN,
    D,
    N,
    T,
    assert_same,
    dictionary,
    inputs,
    naive,
    small_mlp,
)
from timm.layers import QuickGELU
from timm.layers.mlp import Mlp
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.kernels.tiled import TILE_ACTIVATIONS, tiled_mlp, tiling_of
from wemoe_pl.moe.kernels.tiling import TILE_UNITS, Budget, Tiling
from wemoe_pl.moe.kernels.two_layers import TwoLayers, two_layers
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.pruned import Pruned
from wemoe_pl.moe.quantised import Quantised

# Of one sample and the fewest hidden entries; of several of both; of everything.
TIGHT, MIDDLE = Budget(tile=1, kept=0, sums=0), Budget(8 * D * TILE_UNITS * 2, 10**6, 10**6)
AMPLE = Budget(2**30, 2**30, 2**30)
BUDGETS = pytest.mark.parametrize("budget", [TIGHT, MIDDLE, AMPLE], ids=str)


def layers_of(mlp: nn.Module, compression: Compression | None = None) -> TwoLayers:
    layers = two_layers(mlp, dictionary(mlp, compression or Dense()))
    assert layers is not None
    return layers


@BUDGETS
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(
    "compression",
    [Dense(), Dense("float32"), Pruned(ratio=0.8), LowRank(rank=2), Quantised()],
    ids=repr,
)
@pytest.mark.parametrize("column_major", [True, False])
@pytest.mark.parametrize("samples", [1, 5])
def test_output_and_gradients_match_the_loop_over_samples(
    samples: int, column_major: bool, compression: Compression, budget: Budget
) -> None:
    mlp = small_mlp(column_major)
    vectors = dictionary(mlp, compression)
    layers = layers_of(mlp, compression)
    assert_same(
        lambda r, x: tiled_mlp(layers, r, x, budget),
        lambda r, x: naive(mlp, vectors, r, x),
        samples,
        N,
        D,
    )


@pytest.mark.parametrize("act", [nn.GELU, QuickGELU, nn.ReLU, nn.SiLU])
def test_any_elementwise_activation_will_do(act: Callable[..., nn.Module]) -> None:
    mlp = Mlp(D, 9, act_layer=act, out_features=D + 2).double()  # type: ignore[arg-type]
    vectors = dictionary(mlp)
    assert_same(
        lambda r, x: tiled_mlp(layers_of(mlp), r, x),
        lambda r, x: naive(mlp, vectors, r, x),
        *(2, N, D),
    )


@pytest.mark.parametrize("wanted", [(True, False), (False, True)])
def test_only_the_gradients_asked_for_are_computed(wanted: tuple[bool, bool]) -> None:
    layers = layers_of(small_mlp())
    given = inputs(2, N, D)
    partly = [
        tensor.detach().requires_grad_(want) for tensor, want in zip(given, wanted, strict=True)
    ]
    tiled_mlp(layers, *given).sum().backward()
    tiled_mlp(layers, partly[0], partly[1]).sum().backward()
    for tensor, reference, want in zip(partly, given, wanted, strict=True):
        if want:
            torch.testing.assert_close(tensor.grad, reference.grad)
        else:
            assert tensor.grad is None


def numbers_kept(out: Tensor) -> int:
    """How many hidden activations wait for the backward pass."""
    assert out.grad_fn is not None
    function: Any = out.grad_fn.next_functions[0][0]
    assert not [saved for saved in function.saved_tensors if saved.numel() > 3 * HIDDEN]
    kept = [each for of_a_thread in function.kept for each in of_a_thread or ()]
    return sum(before.numel() + after.numel() for before, after in kept)


def test_hidden_activations_are_kept_where_there_is_room_and_merged_weights_never() -> None:
    layers = layers_of(small_mlp())
    r, x = inputs(3, N, D)
    both = 2 * 3 * N * HIDDEN
    assert numbers_kept(tiled_mlp(layers, r, x, Budget(2**20, 8 * both, 2**20))) == both
    assert numbers_kept(tiled_mlp(layers, r, x, Budget(2**20, 8 * both - 1, 2**20))) == 0
    with torch.no_grad():
        assert tiled_mlp(layers, r, x).grad_fn is None


@pytest.mark.parametrize("kept", [0, 2**20])
def test_a_graph_that_is_retained_gives_the_same_gradients_again(kept: int) -> None:
    r, x = inputs(3, N, D)
    out = tiled_mlp(layers_of(small_mlp()), r, x, Budget(2**20, kept, 2**20)).sum()
    first = torch.autograd.grad(out, (r, x), retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(out, (r, x)), first, rtol=0, atol=0)


class Largest(TorchDispatchMode):
    """The largest tensor that anything computes."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        places = {each.untyped_storage().data_ptr() for each in given}
        if isinstance(out, Tensor) and out.untyped_storage().data_ptr() not in places:
            self.numbers = max(self.numbers, out.numel())
        return out


@pytest.mark.parametrize("threads", [1], indirect=True)  # others are not seen
@pytest.mark.parametrize("samples", [4, 64])
def test_no_tensor_outgrows_its_budget_however_many_samples(samples: int, threads: int) -> None:
    mlp = Mlp(16, 1024).requires_grad_(False)
    layers = layers_of(mlp.double())
    r, x = inputs(samples, 1, 16)
    budget = Budget(tile=4 * TILE_UNITS * 16 * 8, kept=0, sums=2**20)
    with Largest() as largest:  # type: ignore[no-untyped-call]
        tiled_mlp(layers, r, x, budget).sum().backward()
    assert largest.numbers <= max(budget.tile // 8, 2 * samples * 1024)  # and merged biases
    assert largest.numbers < T * 2 * 16 * 1024 or samples == 64


@BUDGETS
def test_threads_have_work_and_change_only_the_rounding(threads: int, budget: Budget) -> None:
    mlp = Mlp(16, 1024).requires_grad_(False).double()
    r, x = inputs(8, N, 16)
    out = tiled_mlp(layers_of(mlp), r, x, budget)
    function: Any = out.grad_fn
    tiling: Tiling = function.next_functions[0][0].tiling
    assert (tiling.threads, tiling.splits_hidden) == (threads, threads > 1 and budget is not TIGHT)
    torch.testing.assert_close(out, naive(mlp, dictionary(mlp), r, x))


def test_little_work_is_left_to_the_threads_of_torch(threads: int) -> None:
    r, x = inputs(3, N, D)
    function: Any = tiled_mlp(layers_of(small_mlp()), r, x).grad_fn
    assert function.next_functions[0][0].tiling.threads == 1 <= threads


def test_the_activations_of_a_tile_take_room_in_it_but_for_samples_that_share_weights() -> None:
    layers = layers_of(small_mlp())
    tokens, width = 40, max(D, len(layers.second.weight))
    weights = width * TILE_UNITS * 4
    budget = Budget(tile=8 * weights, kept=0, sums=0)
    x = torch.zeros(8, tokens, D)
    assert tiling_of(x, layers, budget, rows=8).group == 8
    fit = 8 * width // (width + TILE_ACTIVATIONS * tokens)
    assert 1 <= tiling_of(x, layers, budget).group <= max(1, fit) < 8


def test_a_second_derivative_is_refused() -> None:
    layers = layers_of(small_mlp())
    r, x = inputs(2, N, D)
    [first] = torch.autograd.grad(tiled_mlp(layers, r, x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        first.sum().backward()
