"""Attention with a dictionary, against a slow reference that merges weights sample by sample."""

from typing import Any

import pytest
import torch
from timm.layers import Attention
from timm.models.beit import Attention as BeitAttention
from torch import Tensor, nn
from torch.func import functional_call

from wemoe_pl.errors import MergeError
from wemoe_pl.moe.attention import WeightEnsemblingAttention
from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.router import Gate

B, N, D, T = 4, 5, 8, 3
FORMS: dict[str, dict[str, Any]] = {
    "plain": {"qkv_bias": True},
    "without bias": {"qkv_bias": False, "proj_bias": False},
    "with norms of queries and keys": {"qk_norm": True, "norm_layer": nn.LayerNorm},
}


def attentions(form: str = "plain", count: int = T + 1) -> list[nn.Module]:
    """Random attentions in float64, of which no parameter is zero."""
    torch.manual_seed(0)
    made: list[nn.Module] = [
        Attention(D, num_heads=2, **FORMS[form]).double().eval() for _ in range(count)
    ]
    for attention in made:
        for weight in attention.parameters():
            nn.init.normal_(weight, std=0.4)
    return made


def mixture(form: str = "plain", **options: Any) -> WeightEnsemblingAttention:
    """A mixture whose router is far from where it starts."""
    pretrained, *experts = attentions(form)
    moe = WeightEnsemblingAttention(pretrained, experts, init_std=0.5, **options)
    return moe.double().eval()


def one_by_one(moe: WeightEnsemblingAttention, form: str, x: Tensor, **given: Any) -> Tensor:
    """The slow reference: every sample alone, with weights that are summed up for it."""
    pretrained, *experts = attentions(form)
    outputs = []
    for sample, shares in zip(x, moe.router(x), strict=True):
        merged = {
            name: weight
            + sum(
                share * (expert.get_parameter(name) - weight)
                for share, expert in zip(shares, experts, strict=True)
            )
            for name, weight in pretrained.named_parameters()
        }
        outputs.append(functional_call(pretrained, merged, (sample[None],), given))
    return torch.cat(outputs)


@pytest.mark.parametrize("compression", [Dense(), LowRank(rank=D)], ids=["dense", "full rank"])
@pytest.mark.parametrize("form", FORMS)
def test_output_and_gradients_match_the_slow_reference(form: str, compression: Compression) -> None:
    moe = mixture(form, compression=compression)
    x = torch.randn(B, N, D, dtype=torch.float64, requires_grad=True)
    actual, expected = moe(x), one_by_one(moe, form, x)
    torch.testing.assert_close(actual, expected)
    wanted = [x, *moe.router.parameters()]
    cotangent = torch.randn_like(x)
    gradients = torch.autograd.grad(actual, wanted, cotangent)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, wanted, cotangent))


def test_what_else_attention_is_given_goes_on_to_it() -> None:
    moe, x = mixture(), torch.randn(B, N, D, dtype=torch.float64)
    causal = moe(x, is_causal=True)
    torch.testing.assert_close(causal, one_by_one(moe, "plain", x, is_causal=True))
    assert not torch.allclose(causal, moe(x))


def test_a_program_that_is_exported_does_for_batches_of_any_size() -> None:
    moe = mixture()
    batch = torch.export.Dim("batch", min=2)
    example = torch.randn(3, N, D, dtype=torch.float64)
    program = torch.export.export(moe, (example,), dynamic_shapes=({0: batch},)).module()
    x = torch.randn(B, N, D, dtype=torch.float64)
    torch.testing.assert_close(program(x), moe(x))


def test_a_mixture_that_routes_all_alike_folds_into_plain_attention() -> None:
    moe = mixture(router_depth=0, gate=Gate(softmax=True))
    x = torch.randn(B, N, D, dtype=torch.float64)
    folded = moe.fold()
    assert type(folded) is Attention
    torch.testing.assert_close(folded(x), moe(x))


def test_only_its_router_is_trainable() -> None:
    trained = {name for name, p in mixture().named_parameters() if p.requires_grad}
    assert trained == {
        "router.hidden.weight", "router.hidden.bias", "router.out.weight", "router.out.bias"
    }  # fmt: skip


class Reaching(nn.Module):
    """An attention that computes with the matrix of a layer, instead of calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.qkv.weight.T


@pytest.mark.parametrize(
    ("attention", "message"),
    [
        (nn.Identity(), "an attention of class Identity: it has no linear layer. Leave out"),
        (Reaching(), "an attention of class Reaching: its forward does more with its layers"),
        (BeitAttention(D, num_heads=2, qkv_bias=True), "its Attention has weights of its own"),
    ],
)
def test_attention_that_cannot_be_mixed_is_refused(attention: nn.Module, message: str) -> None:
    with pytest.raises(MergeError, match=message):
        WeightEnsemblingAttention(attention, [attention])


def test_an_expert_of_another_width_is_named() -> None:
    with pytest.raises(MergeError, match="The Attention of expert 0 does not fit"):
        WeightEnsemblingAttention(Attention(D, num_heads=2), [Attention(2 * D, num_heads=2)])
