"""What holds for every merge method, and which encoders can be merged block by block."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import LazyState
from wemoe_pl.errors import MergeError
from wemoe_pl.merging import Individual, MergeMethod, Pretrained, TaskArithmetic, WEMoE, blocks_of

METHODS = [Pretrained(), Individual(), TaskArithmetic(), WEMoE()]
MERGING = METHODS[1:]


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_merging_shares_nothing_with_its_arguments_and_leaves_them_untouched(
    method: MergeMethod, pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    arguments = [pretrained, *experts.values()]
    before = deepcopy(arguments)
    merged = method.merge(pretrained, experts)
    for tensor in (*merged.parameters(), *merged.buffers()):
        tensor.data.zero_()
    for argument, original in zip(arguments, before, strict=True):
        assert str(argument) == str(original)
        torch.testing.assert_close(argument.state_dict(), original.state_dict(), rtol=0, atol=0)
        for weight, twin in zip(argument.parameters(), original.parameters(), strict=True):
            assert weight.requires_grad == twin.requires_grad


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_nothing_but_routers_is_trainable(
    method: MergeMethod, pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    merged = method.merge(pretrained, experts)
    trainable = {name for name, weight in merged.named_parameters() if weight.requires_grad}
    assert trainable == {name for name, _ in merged.named_parameters() if ".router." in name}


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("training", [False, True])
def test_the_merged_encoder_is_in_the_mode_of_its_sources(
    method: MergeMethod, training: bool, pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    sources = [deepcopy(model).train(training) for model in (pretrained, *experts.values())]
    merged = method.merge(sources[0], dict(zip(experts, sources[1:], strict=True)))
    layers = [module for module in merged.modules() if not list(module.children())]
    assert {layer.training for layer in layers} == {training}


def lazy(expert: nn.Module, read: list[str]) -> LazyState:
    """The weights of an expert; what is read of them is noted."""
    state = expert.state_dict()

    def get(key: str) -> Tensor:
        read.append(key)
        return state[key]

    return LazyState({key: weight.shape for key, weight in state.items()}, get)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_experts_whose_weights_are_read_lazily_merge_to_the_same(
    method: MergeMethod, pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    read: list[str] = []
    torch.manual_seed(0)
    merged = method.merge(pretrained, {task: lazy(e, read) for task, e in experts.items()})
    torch.manual_seed(0)
    expected = method.merge(pretrained, experts)
    images = torch.randn(2, 3, 32, 32)
    for task in experts:
        given = (images, task) if isinstance(method, Individual) else (images,)
        assert torch.equal(merged(*given), expected(*given))


@pytest.mark.parametrize("method", [TaskArithmetic(), WEMoE()], ids=repr)
def test_every_weight_of_every_expert_is_read_once(
    method: MergeMethod, pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    read: list[str] = []
    method.merge(pretrained, {task: lazy(e, read) for task, e in experts.items()})
    assert sorted(read) == sorted(list(pretrained.state_dict()) * len(experts))


@pytest.mark.parametrize("method", MERGING, ids=repr)
def test_an_expert_that_does_not_fit_is_named_before_anything_is_read(
    method: MergeMethod, pretrained: nn.Module, experts: dict[str, nn.Module]
) -> None:
    read: list[str] = []
    states = {task: lazy(e, read) for task, e in experts.items()}
    states["mnist"].shapes["norm.bias"] = torch.Size([17])
    complaint = r"^Expert 'mnist' does not fit .*'norm\.bias' has shape \(17,\) instead of \(16,\)"
    with pytest.raises(MergeError, match=complaint):
        method.merge(pretrained, states)
    assert read == []


@pytest.mark.parametrize("method", MERGING, ids=repr)
def test_no_expert_is_refused(method: MergeMethod, pretrained: nn.Module) -> None:
    with pytest.raises(MergeError, match="no expert"):
        method.merge(pretrained, {})


def test_the_blocks_of_an_encoder_are_its_own(pretrained: nn.Module) -> None:
    assert blocks_of(pretrained) is pretrained.blocks


@pytest.mark.parametrize("blocks", [None, nn.ModuleList(), nn.Linear(1, 1)], ids=repr)
def test_an_encoder_without_blocks_is_refused_by_name(blocks: nn.Module | None) -> None:
    encoder = nn.Flatten()
    encoder.register_module("blocks", blocks)
    with pytest.raises(MergeError, match=r"Cannot upscale a Flatten: .* `blocks`"):
        blocks_of(encoder)


def test_the_block_without_an_mlp_is_named() -> None:
    encoder, good, bad = nn.Flatten(), nn.Identity(), nn.Softmax()
    good.mlp = nn.Identity()
    encoder.blocks = nn.Sequential(good, bad)
    with pytest.raises(MergeError, match=r"Flatten: its blocks\[1\], a Softmax, has no `mlp`"):
        blocks_of(encoder)
