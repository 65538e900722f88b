"""The forward of an MLP with merged layers, against the loop over samples."""

from collections.abc import Callable

import pytest
import torch
from helpers.merged_reference import B, D, N, T, assert_same, dictionary, inputs, naive
from timm.layers import GluMlp, LayerNorm, LayerNormFp32, RmsNorm, SwiGLU, SwiGLUPacked
from timm.layers.mlp import GatedMlp, Mlp
from torch import Tensor, nn

from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.kernels.own_forward import own_forward, why_mapped
from wemoe_pl.moe.layers import WeightEnsemblingMoE
from wemoe_pl.moe.low_rank import LowRank

H = 200


class OwnMlp(nn.Module):
    """An MLP of one's own: two layers, and a gate made of what went in."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.gate, self.fc2 = nn.Linear(D, H), nn.Linear(D, H), nn.Linear(H, D)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.fc2(self.fc1(x).tanh() * self.gate(x))
        return out


class OverTokens(nn.Module):
    """An activation that looks at all tokens, which are the second dimension of a batch."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.softmax(dim=-2)


FORMS: dict[str, Callable[[], nn.Module]] = {
    "norm": lambda: Mlp(D, H, norm_layer=nn.LayerNorm),
    "timm's norm": lambda: Mlp(D, H, norm_layer=LayerNorm),
    "rms": lambda: Mlp(D, H, norm_layer=RmsNorm),
    "torch's rms": lambda: Mlp(D, H, norm_layer=nn.RMSNorm),
    "norm without weights": lambda: Mlp(
        D,
        H,
        norm_layer=lambda n, **_: nn.LayerNorm(n, elementwise_affine=False),  # type: ignore[arg-type]
    ),
    "over tokens": lambda: Mlp(D, H, act_layer=OverTokens),
    "in place": lambda: Mlp(D, H, act_layer=lambda: nn.ReLU(inplace=True)),  # type: ignore[arg-type]
    "gated": lambda: GluMlp(D, H),
    "packed": lambda: SwiGLUPacked(D, H, norm_layer=nn.LayerNorm),
    "two inputs": lambda: SwiGLU(D, H, norm_layer=nn.LayerNorm, bias=(False, True)),
    "no gate": lambda: GatedMlp(D, H),
    "own": OwnMlp,
}


@pytest.mark.parametrize("compression", [Dense(), LowRank(rank=2)], ids=repr)
@pytest.mark.parametrize("name", FORMS)
def test_output_and_gradients_match_the_loop_over_samples(
    name: str, compression: Compression
) -> None:
    mlp = FORMS[name]().double().requires_grad_(False)
    vectors = dictionary(mlp, compression)
    assert why_mapped(mlp) is None
    assert_same(
        lambda r, x: own_forward(mlp, vectors, r, x),
        lambda r, x: naive(mlp, vectors, r, x),
        *(B, N, D),
    )


@pytest.mark.parametrize("name", FORMS)
def test_samples_that_are_routed_alike_share_weights(name: str) -> None:
    mlp = FORMS[name]().double().requires_grad_(False)
    vectors, (routing, x) = dictionary(mlp), inputs(B, N, D)
    shared = own_forward(mlp, vectors, routing[:1], x)
    torch.testing.assert_close(shared, own_forward(mlp, vectors, routing[:1].expand(B, T), x))


def test_the_mlp_stays_as_it_is() -> None:
    mlp = FORMS["packed"]().double().requires_grad_(False)
    before = {name: weight.clone() for name, weight in mlp.state_dict().items()}
    own_forward(mlp, dictionary(mlp), *inputs(B, N, D)).sum().backward()
    torch.testing.assert_close(mlp.state_dict(), before, rtol=0, atol=0)
    assert all(weight.grad is None for weight in mlp.parameters())
    assert "forward" not in vars(mlp.fc1)


def test_hooks_of_every_part_are_called() -> None:
    mlp = Mlp(D, H).double().requires_grad_(False)
    routing, x = inputs(B, N, D)
    unhooked = own_forward(mlp, dictionary(mlp), routing, x)
    mlp.fc2.register_forward_hook(lambda module, args, output: output + 1)
    mlp.register_forward_pre_hook(lambda module, args: (args[0],))
    torch.testing.assert_close(own_forward(mlp, dictionary(mlp), routing, x), unhooked + 1)


def test_dropout_draws_as_that_of_the_plain_mlp() -> None:
    mlp = Mlp(D, H, drop=0.5).double().train()
    vectors, (_, x) = dictionary(mlp), inputs(B, N, D)
    torch.manual_seed(3)
    expected = mlp(x)
    torch.manual_seed(3)
    actual = own_forward(mlp, vectors, torch.zeros(B, T).double(), x)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("norm", [nn.LayerNorm, RmsNorm, LayerNormFp32])
def test_autocast_computes_products_in_lower_precision(norm: type[nn.Module]) -> None:
    mlp = SwiGLU(D, H, norm_layer=norm).requires_grad_(False)
    vectors = dictionary(mlp.double()).float()
    mlp.float()
    routing, x = (tensor.detach().float() for tensor in inputs(B, N, D))
    exact = own_forward(mlp, vectors, routing, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = own_forward(mlp, vectors, routing, x)
    assert cast.dtype == torch.bfloat16
    assert (cast.float() - exact).abs().max() < 0.05 * exact.abs().max()


class Reaching(OwnMlp):
    """Its forward takes the weights of a layer instead of calling it."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(nn.functional.linear(x, self.fc1.weight))


class Flattening(OwnMlp):
    """Its layers see tokens of which it is not known to which sample they belong."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(x.flatten(0, 1)).relu()).view(x.shape)


class Turning(OwnMlp):
    """Its layers see the samples in another order."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(x.flip(0)).relu()).flip(0)


class Weighing(OwnMlp):
    """It has a weight that belongs to no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(D))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * super().forward(x)


class Scaled(nn.Linear):
    """A linear layer that does more."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class WithScaled(OwnMlp):
    """An MLP with a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = Scaled(D, H)


OTHERS: dict[type[nn.Module], str] = {
    Reaching: "does more with its layers than call them",
    Flattening: "does more with its layers than call them",
    Turning: "does not treat every sample separately",
    Weighing: "its Weighing has weights of its own",
    WithScaled: "its Scaled has weights of its own",
}


@pytest.mark.parametrize("form", OTHERS)
def test_a_forward_for_which_merged_layers_are_wrong_is_found_out(form: type[nn.Module]) -> None:
    torch.manual_seed(0)
    mlp = form()
    reason = why_mapped(mlp)
    assert reason is not None
    assert OTHERS[form] in reason
    with pytest.warns(UserWarning, match=rf"Every {form.__name__} runs sample by sample, .* times"):
        moe = WeightEnsemblingMoE(mlp, [form(), form()]).double()
    _, x = inputs(B, N, D)
    expected = naive(moe.mlp, moe.task_vectors, moe.router(x), x)
    torch.testing.assert_close(moe(x), expected)


def test_the_trial_takes_nothing_from_the_random_numbers_of_others() -> None:
    class Fresh(OwnMlp):
        """A class that was not tried yet."""

    mlp = Fresh()
    before = torch.get_rng_state()
    weights = {name: weight.clone() for name, weight in mlp.state_dict().items()}
    assert why_mapped(mlp) is None
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(mlp.state_dict(), weights, rtol=0, atol=0)


def test_an_mlp_without_memory_is_tried_too() -> None:
    with torch.device("meta"):
        mlp = OwnMlp()
    assert why_mapped(mlp) is None
    assert mlp.fc1.weight.is_meta
