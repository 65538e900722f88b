"""`merged_mlp`: every form of MLP, input and precision, and what is chosen for it."""

import copy
from collections.abc import Callable

import pytest
import torch
from helpers.merged_reference import B, D, N, T, assert_same, dictionary, inputs, naive, small_mlp
from timm.layers import GluMlp, SwiGLU
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.kernels import merged_mlp
from wemoe_pl.moe.kernels.choice import choose_kernel
from wemoe_pl.moe.kernels.plain import activation_mlp
from wemoe_pl.moe.kernels.tiled import tiled_mlp
from wemoe_pl.moe.kernels.two_layers import two_layers
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.pruned import Pruned
from wemoe_pl.moe.quantised import Quantised

SHAPES = pytest.mark.parametrize("shape", [(B, N, D), (B, D), (B, 2, N, D)], ids=str)
COMPRESSIONS = [Dense(), Pruned(ratio=0.8), LowRank(rank=2), Quantised()]
FORMS: list[Callable[[], nn.Module]] = [
    lambda: small_mlp(),
    lambda: Mlp(D, 7, bias=False).double(),
    lambda: Mlp(D, 7, act_layer=nn.ReLU, norm_layer=nn.LayerNorm).double(),
    lambda: GluMlp(D, 8).double(),
    lambda: SwiGLU(D, 8, norm_layer=nn.LayerNorm).double(),
]


@SHAPES
@pytest.mark.parametrize("compression", COMPRESSIONS, ids=repr)
@pytest.mark.parametrize("form", FORMS)
def test_output_and_gradients_match_the_loop_over_samples(
    form: Callable[[], nn.Module], compression: Compression, shape: tuple[int, ...]
) -> None:
    mlp = form().requires_grad_(False)
    vectors = dictionary(mlp, compression)
    assert_same(
        lambda r, x: merged_mlp(mlp, vectors, r, x),
        lambda r, x: naive(mlp, vectors, r, x),
        *shape,
    )


def test_gradients_match_finite_differences() -> None:
    mlp = Mlp(D, 7).double()
    vectors = dictionary(mlp)
    assert torch.autograd.gradcheck(lambda r, x: merged_mlp(mlp, vectors, r, x), inputs(B, N, D))


def test_routing_weights_of_zero_give_the_pretrained_mlp() -> None:
    mlp = small_mlp()
    routing_weights, x = inputs(B, N, D)
    actual = merged_mlp(mlp, dictionary(mlp), torch.zeros_like(routing_weights), x)
    torch.testing.assert_close(actual, mlp(x))


def test_the_mlp_keeps_its_weights_and_receives_no_gradient() -> None:
    mlp = small_mlp()
    before = {name: weight.clone() for name, weight in mlp.state_dict().items()}
    torch.autograd.backward(merged_mlp(mlp, dictionary(mlp), *inputs(B, N, D)).sum())
    torch.testing.assert_close(mlp.state_dict(), before, rtol=0, atol=0)
    assert all(weight.grad is None for weight in mlp.parameters())


def test_an_empty_batch_gives_an_empty_one() -> None:
    mlp = small_mlp()
    out = merged_mlp(
        mlp, dictionary(mlp), torch.zeros(0, T).double(), torch.zeros(0, N, D).double()
    )
    assert out.shape == (0, N, D)


def test_dropout_draws_another_mask_for_each_sample() -> None:
    torch.manual_seed(0)
    mlp = Mlp(D, 64, drop=0.5).double().train()
    x = torch.randn(1, N, D).double().expand(2, N, D)
    first, second = merged_mlp(mlp, dictionary(mlp), torch.zeros(2, T), x)
    assert not torch.equal(first, second)


def test_hooks_of_the_mlp_are_called() -> None:
    mlp = small_mlp()
    mlp.register_forward_hook(lambda module, args, output: output + 1)
    r, x = inputs(B, N, D)
    unhooked = merged_mlp(small_mlp(), dictionary(small_mlp()), r, x)
    torch.testing.assert_close(merged_mlp(mlp, dictionary(mlp), r, x), unhooked + 1)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_autocast_computes_in_lower_precision(precision: torch.dtype) -> None:
    mlp = small_mlp().float()
    routing_weights, x = (each.float() for each in inputs(B, N, D))
    exact = merged_mlp(mlp, dictionary(mlp), routing_weights, x)
    with torch.autocast("cpu", dtype=precision):
        cast = merged_mlp(mlp, dictionary(mlp), routing_weights, x)
    assert cast.dtype == precision
    torch.testing.assert_close(cast.float(), exact, rtol=0.1, atol=0.5)


@pytest.mark.parametrize(
    ("compression", "tokens", "expected"),
    [
        (Dense(), 50, tiled_mlp),
        (Dense(), 1, activation_mlp),
        (LowRank(rank=1), 50, activation_mlp),
        (Pruned(), 1, tiled_mlp),
    ],
)
def test_the_cheapest_kernel_is_taken(
    compression: Compression, tokens: int, expected: Callable[..., Tensor]
) -> None:
    mlp = Mlp(96, 384).double()
    layers = two_layers(mlp, dictionary(mlp, compression))
    assert layers is not None
    assert choose_kernel(layers, *inputs(16, tokens, 96)) is expected


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(B, N, D), (B, D)], ids=str)
@pytest.mark.parametrize("compression", COMPRESSIONS, ids=repr)
def test_it_compiles_whole(compression: Compression, shape: tuple[int, ...]) -> None:
    mlp = small_mlp()
    vectors = dictionary(mlp, compression)
    compiled = torch.compile(
        lambda r, x: merged_mlp(mlp, vectors, r, x), fullgraph=True, backend="aot_eager"
    )
    assert_same(compiled, lambda r, x: merged_mlp(mlp, vectors, r, x), *shape)


def test_what_it_is_given_may_be_copied() -> None:
    mlp = copy.deepcopy(small_mlp())
    assert mlp.get_parameter("fc2.weight").mT.is_contiguous()
