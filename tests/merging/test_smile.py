"""SMILE against an encoder whose linear layers are loops over tokens and experts in numpy."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.average import SimpleAverage
from wemoe_pl.merging.smile import SMILE
from wemoe_pl.moe.routed_linear import RoutedLinear

Experts = dict[str, nn.Module]
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).double()
FULL = 10_000  # more than any rank


class Loop(nn.Module):
    """A linear layer that computes every token by itself, in numpy.

    Args:
        pretrained: the layer.
        experts: the same layer of every expert.
        method: the ranks, and how many experts a token is given.
        parts: into how many parts of as many rows the layer is cut.
    """

    def __init__(
        self, pretrained: nn.Linear, experts: list[nn.Linear], method: SMILE, parts: int
    ) -> None:
        super().__init__()
        layers = [pretrained, *experts]
        weights = [layer.weight.detach().numpy() for layer in layers]
        biases = [layer.bias.detach().numpy() for layer in layers]
        self.weight, self.bias = weights[0], biases[0]
        self.method = method
        self.parts = []
        for rows in np.split(np.arange(len(self.weight)), parts):
            vectors = [weight[rows] - weights[0][rows] for weight in weights[1:]]
            of_biases = [bias[rows] - biases[0][rows] for bias in biases[1:]]
            found = [np.linalg.svd(vector, full_matrices=False) for vector in vectors]
            self.parts.append(list(zip(found, of_biases, strict=True)))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.reshape(-1, x.shape[-1]).detach().numpy()
        found = np.stack([self.of_a_token(token) for token in tokens])
        return torch.from_numpy(found).reshape(*x.shape[:-1], -1)

    def of_a_token(self, x: np.ndarray) -> np.ndarray:
        added = []
        for experts in self.parts:
            sizes = [
                np.linalg.norm(right[: self.method.router_rank] @ x) for (_, _, right), _ in experts
            ]
            shares = np.exp(sizes) / np.exp(sizes).sum()
            chosen = np.argsort(shares)[::-1][: self.method.experts_per_token]
            total = np.zeros(len(experts[0][1]))
            for i in chosen:
                (left, values, right), bias = experts[i]
                k = self.method.rank
                own = left[:, :k] @ np.diag(values[:k]) @ right[:k] @ x + bias
                total += shares[i] / shares[chosen].sum() * own
            added.append(total)
        return self.weight @ x + self.bias + np.concatenate(added)


def written_out(pretrained: nn.Module, experts: Experts, method: SMILE) -> nn.Module:
    """The encoder that a method should make."""
    others = SimpleAverage().merge(pretrained, experts) if method.average_others else pretrained
    encoder = deepcopy(others)
    for name, layer in pretrained.named_modules():
        if isinstance(layer, nn.Linear):
            own = [expert.get_submodule(name) for expert in experts.values()]
            parts = 3 if method.split_qkv and name.endswith("qkv") else 1
            encoder.set_submodule(name, Loop(layer, own, method, parts))  # type: ignore[arg-type]
    return encoder


@pytest.mark.parametrize(
    "method",
    [
        SMILE(rank=3, router_rank=2),
        SMILE(rank=2, router_rank=5, split_qkv=False),
        SMILE(rank=4, router_rank=1, experts_per_token=2, average_others=True),
        SMILE(rank=FULL, router_rank=3, experts_per_token=FULL),
    ],
    ids=repr,
)
def test_features_are_those_of_the_loop(method: SMILE, doubled: tuple[nn.Module, Experts]) -> None:
    before = deepcopy(doubled)
    found = method.merge(*doubled)(IMAGES)
    expected = written_out(*doubled, method)(IMAGES)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)
    for model, original in zip(
        (doubled[0], *doubled[1].values()), (before[0], *before[1].values()), strict=True
    ):
        torch.testing.assert_close(model.state_dict(), original.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("split_qkv", [True, False])
@pytest.mark.parametrize("names", ["a", "abc"])
def test_one_expert_and_equal_ones_are_returned_at_full_rank(
    names: str, split_qkv: bool, doubled: tuple[nn.Module, Experts]
) -> None:
    pretrained, experts = doubled
    method = SMILE(FULL, 4, split_qkv=split_qkv, average_others=True)
    merged = method.merge(pretrained, dict.fromkeys(names, experts["cars"]))
    torch.testing.assert_close(merged(IMAGES), experts["cars"](IMAGES))


@pytest.mark.filterwarnings("ignore:Expert 'none' is the pretrained model")
def test_no_token_goes_to_an_expert_that_is_the_pretrained_model(
    doubled: tuple[nn.Module, Experts],
) -> None:
    pretrained, experts = doubled
    merged = SMILE(3, 3).merge(pretrained, {"none": pretrained, "cars": experts["cars"]})
    alone = SMILE(3, 3).merge(pretrained, {"cars": experts["cars"]})
    torch.testing.assert_close(merged(IMAGES), alone(IMAGES))


def test_permuted_experts_give_the_same_features(doubled: tuple[nn.Module, Experts]) -> None:
    pretrained, experts = doubled
    one, other = (
        SMILE(3, 3).merge(pretrained, each) for each in (experts, dict(reversed(experts.items())))
    )
    torch.testing.assert_close(one(IMAGES), other(IMAGES))


@pytest.mark.filterwarnings("ignore:Expert 'cars'")
def test_layers_that_no_expert_changed_stay_and_nothing_merged_is_said(
    doubled: tuple[nn.Module, Experts],
) -> None:
    pretrained = doubled[0]
    changed = deepcopy(pretrained)
    nn.init.normal_(changed.get_parameter("blocks.0.mlp.fc1.bias"))
    with pytest.warns(UserWarning, match="SMILE merges nothing: no expert changed the matrix"):
        plain = SMILE().merge(pretrained, {"cars": changed})
    torch.testing.assert_close(plain.state_dict(), pretrained.state_dict())
    nn.init.normal_(changed.get_parameter("blocks.0.mlp.fc1.weight"))
    merged = SMILE().merge(pretrained, {"cars": changed})
    routed = [name for name, m in merged.named_modules() if isinstance(m, RoutedLinear)]
    assert routed == ["blocks.0.mlp.fc1"]


def test_nothing_of_it_is_trained(doubled: tuple[nn.Module, Experts]) -> None:
    merged = SMILE().merge(*doubled)
    assert SMILE.is_static
    assert not any(weight.requires_grad for weight in merged.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_decomposed_in_single(
    dtype: torch.dtype, doubled: tuple[nn.Module, Experts]
) -> None:
    pretrained = deepcopy(doubled[0]).to(dtype)
    experts = {task: deepcopy(expert).to(dtype) for task, expert in doubled[1].items()}
    merged = SMILE(3, 3).merge(pretrained, experts)
    assert {weight.dtype for weight in merged.parameters()} == {dtype}
    assert merged(IMAGES.to(dtype)).isfinite().all()


def test_attention_that_reads_the_matrix_is_refused() -> None:
    options: dict[str, Any] = {
        "img_size": 32,
        "patch_size": 16,
        "embed_dim": 16,
        "depth": 1,
        "num_heads": 2,
    }

    def make() -> nn.Module:
        model: nn.Module = timm.create_model("beit_base_patch16_224", **options, num_classes=0)
        return model

    merged = SMILE().merge(make(), {"cars": make(), "dtd": make()})
    with pytest.raises(MergeError, match="SMILE has no matrix that is the same for every token"):
        merged(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize("name", ["rank", "router_rank", "experts_per_token"])
def test_numbers_out_of_range_are_refused(name: str) -> None:
    options: dict[str, Any] = {name: 0}
    with pytest.raises(MergeError, match=rf"^{name} of SMILE is 0: choose a number from 1"):
        SMILE(**options)
