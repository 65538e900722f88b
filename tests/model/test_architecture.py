"""Encoders that are built before their weights are there, by this package and by timm."""

from collections.abc import Callable
from dataclasses import asdict

import pytest
import timm
import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.errors import CheckpointError, ConfigError, MergeError
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import EWEMoE, WEMoE
from wemoe_pl.model.architecture import Architecture, own_state
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.pruned import Pruned
from wemoe_pl.moe.quantised import Quantised
from wemoe_pl.moe.router import Gate

OPTIONS = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 2, "num_heads": 2}
BACKBONE = Backbone("vit_tiny_patch16_224", OPTIONS)
UPSCALED = [
    WEMoE(router_depth=1, routing="batch", compression=Dense("bfloat16")),
    WEMoE(compression=Pruned(ratio=0.7)),
    WEMoE(compression=LowRank(energy=0.6)),
    WEMoE(compression=Quantised()),
    WEMoE(attention=Dense(), gate=Gate(softmax=True, temperature=0.5, top_k=2)),
    WEMoE(attention=LowRank(rank=3), attention_router="shared", router_depth=1),
    WEMoE(attention=LowRank(rank=3), router_width=24),
    EWEMoE(),
    EWEMoE(attention=Pruned(), attention_router="shared"),
]
Merge = Callable[[MergeMethod], nn.Module]


@pytest.fixture
def merge(pretrained: nn.Module, experts: dict[str, nn.Module]) -> Merge:
    """`merge(method)`: an encoder whose routers are as adapted ones, and see their input."""

    def merged(method: MergeMethod) -> nn.Module:
        torch.manual_seed(0)
        encoder = method.merge(pretrained, experts).eval()
        for weight in encoder.parameters():
            if weight.requires_grad:
                nn.init.normal_(weight, std=0.2)
        return encoder

    return merged


def images() -> Tensor:
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("method", [TaskArithmetic(), *UPSCALED], ids=str)
def test_an_encoder_is_built_anew_from_its_state_and_a_few_plain_values(
    merge: Merge, method: MergeMethod
) -> None:
    encoder = merge(method)
    architecture = Architecture.of(encoder, BACKBONE)
    stored = {key: tensor.contiguous() for key, tensor in own_state(encoder).items()}
    again = Architecture(**asdict(architecture)).load(stored, "The file")
    assert again(images()).equal(encoder(images()))
    strides = {name: weight.stride() for name, weight in encoder.named_parameters()}
    assert {name: weight.stride() for name, weight in again.named_parameters()} == strides
    trained = {name for name, weight in again.named_parameters() if weight.requires_grad}
    assert trained == {name for name, weight in encoder.named_parameters() if weight.requires_grad}


def test_weights_keep_the_precision_that_they_are_stored_in(merge: Merge) -> None:
    encoder = merge(WEMoE()).to(torch.bfloat16)
    again = Architecture.of(encoder, BACKBONE).load(own_state(encoder), "The file")
    assert {weight.dtype for weight in again.parameters()} == {torch.bfloat16}
    assert again(images().bfloat16()).equal(encoder(images().bfloat16()))


def test_what_blocks_share_is_stored_once(merge: Merge) -> None:
    shared, apart = (own_state(merge(method)) for method in (EWEMoE(), WEMoE()))
    assert sum(".router." in key for key in apart) == 2 * sum(".router." in key for key in shared)


@pytest.mark.parametrize("method", UPSCALED, ids=str)
def test_timm_creates_an_upscaled_encoder_with_the_weights_that_it_is_told_of(
    merge: Merge, method: MergeMethod
) -> None:
    encoder = merge(method)
    given = {"state_dict": own_state(encoder), "num_classes": 0}
    args = asdict(Architecture.of(encoder, BACKBONE))
    again = timm.create_model("wemoe", pretrained=True, pretrained_cfg=given, **args).eval()
    assert again(images()).equal(encoder(images()))
    random = timm.create_model("wemoe", pretrained=False, pretrained_cfg=given, **args).eval()
    assert not random(images()).allclose(encoder(images()), atol=1e-2)


def test_timm_refuses_weights_that_are_not_all_there(merge: Merge) -> None:
    encoder = merge(WEMoE())
    args = asdict(Architecture.of(encoder, BACKBONE))
    state = own_state(encoder)
    del state["blocks.1.mlp.router.out.bias"]
    given = {"state_dict": state, "num_classes": 0}
    with pytest.raises(RuntimeError, match=r"Missing key.*blocks\.1\.mlp\.router\.out\.bias"):
        timm.create_model("wemoe", pretrained=True, pretrained_cfg=given, **args)


@pytest.mark.parametrize(
    ("change", "error", "complaint"),
    [
        ({"norm.bias": None}, CheckpointError, r"^The file is not .*'norm\.bias' is missing"),
        ({"extra": torch.ones(1)}, CheckpointError, r"'extra' is not a part of it"),
        ({"norm.bias": torch.ones(3)}, CheckpointError, r"shape \(3,\) instead of \(16,\)"),
        (
            {"blocks.0.mlp.task_vectors.fc1.weight.entries": None},
            MergeError,
            "An empty state cannot be read as a dict",
        ),
        (
            {"blocks.0.mlp.task_vectors.fc1.bias.entries": torch.ones(128)},
            MergeError,
            r"entries cannot be read as a dictionary of 3 task vectors of shape \(64,\)",
        ),
    ],
)
def test_a_state_of_another_architecture_is_refused(
    merge: Merge, change: dict[str, Tensor | None], error: type[Exception], complaint: str
) -> None:
    encoder = merge(WEMoE())
    state = {k: w for k, w in {**own_state(encoder), **change}.items() if w is not None}
    with pytest.raises(error, match=complaint):
        Architecture.of(encoder, BACKBONE).load(state, "The file")


@pytest.mark.parametrize("experts", [-1, 1001, 100_000])
def test_as_many_experts_as_nobody_merges_are_refused_at_once(experts: int) -> None:
    with pytest.raises(ConfigError, match=rf"have {experts} experts: give .* from 0 to 1000\.$"):
        Architecture("vit_tiny_patch16_224", experts=experts).build()
