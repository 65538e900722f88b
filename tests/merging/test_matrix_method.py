"""What holds for every method that merges matrices by an idea of its own."""

from collections.abc import Callable, Mapping
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.merging.cart import CART
from wemoe_pl.merging.iso import IsoC, IsoCTS
from wemoe_pl.merging.matrix_method import MatrixMethod
from wemoe_pl.merging.tsv import TSVM
from wemoe_pl.merging.wudi import WUDI

Experts = dict[str, nn.Module]
Models = tuple[nn.Module, Experts]
METHODS: list[MatrixMethod] = [TSVM(), IsoC(), IsoCTS(), CART(), WUDI()]
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.label)
QKV = "blocks.1.attn.qkv.weight"


def merged(method: MatrixMethod, models: tuple[nn.Module, Mapping[str, nn.Module]]) -> Tensor:
    """All weights of the merged encoder, one after the other."""
    return weights(method.merge(*models))


def weights(model: nn.Module) -> Tensor:
    return torch.cat([weight.flatten() for weight in model.state_dict().values()])


def fine_tuned(pretrained: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A copy of the pretrained encoder to which tensors are added."""
    copy = deepcopy(pretrained)
    for key, tensor in tensors.items():
        copy.get_parameter(key).data += tensor
    return copy


@every_method
def test_what_is_no_matrix_is_averaged(method: MatrixMethod, doubled: Models) -> None:
    pretrained, experts = doubled
    found = method.merge(pretrained, experts).state_dict()
    others = [k for k, w in found.items() if w.ndim != 2 and k != "pos_embed"]
    assert {"cls_token", "patch_embed.proj.weight", "blocks.0.norm1.bias"} <= set(others)
    for key in others:
        base = pretrained.state_dict()[key]
        vectors = [expert.state_dict()[key] - base for expert in experts.values()]
        expected = base + method.factor * sum(vectors) / 3
        torch.testing.assert_close(found[key], expected)


@every_method
def test_no_alpha_leaves_the_pretrained_encoder(method: MatrixMethod, doubled: Models) -> None:
    if method.factor == method.alpha:
        none = type(method)(alpha=0.0)
        torch.testing.assert_close(merged(none, doubled), weights(doubled[0]), rtol=0, atol=0)


@every_method
def test_the_order_of_experts_does_not_matter(method: MatrixMethod, doubled: Models) -> None:
    back = doubled[0], dict(reversed(doubled[1].items()))
    torch.testing.assert_close(merged(method, back), merged(method, doubled))


@every_method
def test_one_expert_is_merged_and_finite(method: MatrixMethod, doubled: Models) -> None:
    one = doubled[0], {"cars": doubled[1]["cars"]}
    assert merged(method, one).isfinite().all()


@every_method
@pytest.mark.parametrize("count", [5, 17, 40])  # 16 divides by none, and there are fewer columns
def test_any_number_of_experts_is_merged(
    count: int, method: MatrixMethod, doubled: Models, tiny_vit: Callable[..., nn.Module]
) -> None:
    experts = {str(seed): tiny_vit(seed + 1).double() for seed in range(count)}
    vector = merged(method, (doubled[0], experts)) - weights(doubled[0])
    assert vector.isfinite().all()
    assert (vector != 0).all()


@every_method
def test_a_zero_task_vector_adds_nothing_of_its_own(method: MatrixMethod, doubled: Models) -> None:
    """A tensor in which one expert alone has moved is merged from this one's directions."""
    pretrained, _ = doubled
    column = torch.zeros(64, 16, dtype=torch.float64)
    column[3, 5] = 2.0
    moved = fine_tuned(pretrained, {"blocks.0.mlp.fc1.weight": column})
    experts = {"moved": moved, "same": deepcopy(pretrained), "as well": deepcopy(pretrained)}
    vector = method.merge(pretrained, experts).state_dict()["blocks.0.mlp.fc1.weight"]
    vector = vector - pretrained.state_dict()["blocks.0.mlp.fc1.weight"]
    assert vector[3, 5].item() > 0
    vector[3, 5] = 0
    torch.testing.assert_close(vector, torch.zeros_like(vector))


@every_method
def test_experts_that_are_the_pretrained_encoder_leave_it(
    method: MatrixMethod, doubled: Models
) -> None:
    experts = {task: deepcopy(doubled[0]) for task in "ab"}
    torch.testing.assert_close(merged(method, (doubled[0], experts)), weights(doubled[0]))


@every_method
def test_queries_keys_and_values_are_merged_as_one_matrix_or_as_three(
    method: MatrixMethod, doubled: Models
) -> None:
    pretrained, experts = doubled
    split = type(method)(split_qkv=True)
    whole = method.merge(pretrained, experts).state_dict()
    parts = split.merge(pretrained, experts).state_dict()
    differing = [k for k in whole if not torch.equal(whole[k], parts[k])]
    assert differing == [f"blocks.{i}.attn.qkv.weight" for i in (0, 1)]
    base = pretrained.state_dict()[QKV]
    vectors = torch.stack([expert.state_dict()[QKV] - base for expert in experts.values()])
    for rows in (slice(0, 16), slice(16, 32), slice(32, 48)):
        expected = base[rows] + split.factor * split.combine(vectors[:, rows])
        torch.testing.assert_close(parts[QKV][rows], expected)


@every_method
def test_half_precision_is_merged_in_single(method: MatrixMethod, doubled: Models) -> None:
    pretrained, experts = doubled
    base = pretrained.state_dict()[QKV]
    vectors = torch.stack([e.state_dict()[QKV] - base for e in experts.values()]).half()
    found = method.merged_tensor(QKV, vectors)
    single = method.merged_tensor(QKV, vectors.float())
    torch.testing.assert_close(found, single.half(), rtol=0, atol=0)
