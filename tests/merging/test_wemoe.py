"""Whole upscaled encoders against a slow one that loads merged weights for each single image."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import timm
import torch
from timm.layers import Mlp
from torch import Tensor, nn

from wemoe_pl.errors import MergeError
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.emr import EMR
from wemoe_pl.merging.iso import IsoC
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.tsv import TSVM
from wemoe_pl.merging.wemoe import EWEMoE, RouterSharing, WEMoE, share_router, upscale
from wemoe_pl.moe.compression import Compression
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.layers import WeightEnsemblingMoE
from wemoe_pl.moe.low_rank import LowRank
from wemoe_pl.moe.mixture import Mixture, mixtures_of
from wemoe_pl.moe.pruned import Pruned
from wemoe_pl.moe.router import Gate

TinyViT = Callable[..., nn.Module]
Experts = dict[str, nn.Module]

LAMBDA = 0.3
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))

DEPTHS = pytest.mark.parametrize("depth", [0, 1, 2])
ENCODERS: dict[str, dict[str, str]] = {
    "ViT": {"name": "vit_tiny_patch16_224"},
    "ViT, average pooling": {"name": "vit_tiny_patch16_224", "global_pool": "avg"},
    "CLIP ViT": {"name": "vit_base_patch32_clip_quickgelu_224"},
    "DeiT": {"name": "deit_tiny_patch16_224"},
    "DeiT, distilled": {"name": "deit_tiny_distilled_patch16_224"},
    "EVA-02, packed SwiGLU": {"name": "eva02_tiny_patch14_224"},
    "EVA-02, SwiGLU and norm": {"name": "eva02_base_patch14_224"},
    "BEiT": {"name": "beit_base_patch16_224"},
}


def mixtures(encoder: nn.Module) -> list[Mixture]:
    return list(mixtures_of(encoder).values())


def randomise_routers(encoder: nn.Module) -> None:
    """Routers far from their initial values, as after adaptation."""
    generator = torch.Generator().manual_seed(1)
    for mixture in mixtures(encoder):
        for weight in mixture.router.parameters():
            nn.init.normal_(weight, std=0.3, generator=generator)


@torch.no_grad()
def run_one_image(
    image: Tensor,
    pretrained: nn.Module,
    experts: list[nn.Module],
    routers: dict[str, nn.Module],
) -> Tensor:
    """A plain timm encoder, parts of which get this image's weights just before they run.

    `routers` has, by the name of each part, what routes it.
    """
    encoder = deepcopy(pretrained)
    for name, weight in encoder.named_parameters():
        for expert in experts:
            weight.add_(expert.get_parameter(name) - pretrained.get_parameter(name), alpha=LAMBDA)

    def load_merged_weights(
        part: nn.Module, inputs: tuple[Tensor], prefix: str, router: nn.Module
    ) -> None:
        for name, weight in part.named_parameters():
            base = pretrained.get_parameter(f"{prefix}.{name}")
            weight.copy_(base)
            for r, expert in zip(router(inputs[0])[0], experts, strict=True):
                weight.add_(r * (expert.get_parameter(f"{prefix}.{name}") - base))

    for part, router in routers.items():
        hook = partial(load_merged_weights, prefix=part, router=router)
        encoder.get_submodule(part).register_forward_pre_hook(hook)
    features: Tensor = encoder(image[None])[0]
    return features


@DEPTHS
@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_matches_the_slow_one_image_by_image(
    name: str, depth: int, tiny_vit: TinyViT
) -> None:
    pretrained, *experts = (tiny_vit(seed, **ENCODERS[name]).double() for seed in range(4))
    encoder = upscale(pretrained, experts, LAMBDA, depth)
    randomise_routers(encoder)
    assert len(mixtures(encoder)) == 2
    assert_matches_the_slow_one(encoder, pretrained, experts)


def assert_matches_the_slow_one(
    encoder: nn.Module, pretrained: nn.Module, experts: list[nn.Module]
) -> None:
    """Compare the features of every image with those of an encoder that sees it alone."""
    routers: dict[str, nn.Module] = {n: m.router for n, m in mixtures_of(encoder).items()}
    features = encoder(IMAGES.double())
    for image, actual in zip(IMAGES.double(), features, strict=True):
        expected = run_one_image(image, pretrained, experts, routers)
        assert ((actual - expected).norm() / expected.norm()).item() <= 1e-9


@DEPTHS
def test_at_initialisation_it_is_task_arithmetic_up_to_router_noise(
    depth: int, pretrained: nn.Module, experts: Experts
) -> None:
    torch.manual_seed(0)
    encoder = upscale(pretrained, experts, LAMBDA, depth)
    for mixture in mixtures(encoder):
        mixture.record_routing = True
    encoder(IMAGES)
    for mixture in mixtures(encoder):
        assert mixture.routing_weights is not None
        noise = (mixture.routing_weights - LAMBDA).abs().max().item()
        assert noise <= 0.2  # five deviations of a sum of 16 products of N(0, 1) and N(0, 0.01)
        for name, weight in mixture.router.named_parameters():
            if name.endswith("weight"):
                nn.init.zeros_(weight)
    expected = TaskArithmetic(LAMBDA).merge(pretrained, experts)(IMAGES)
    torch.testing.assert_close(encoder(IMAGES), expected, rtol=1e-4, atol=1e-5)


@DEPTHS
def test_every_router_parameter_learns_and_nothing_else(
    depth: int, pretrained: nn.Module, experts: Experts
) -> None:
    encoder = upscale(pretrained, experts, LAMBDA, depth)
    encoder(IMAGES).square().sum().backward()
    learning = {n for n, w in encoder.named_parameters() if w.grad is not None and w.grad.any()}
    assert learning == {name for name, _ in encoder.named_parameters() if ".router." in name}


@DEPTHS
def test_an_image_does_not_depend_on_the_rest_of_its_batch(
    depth: int, pretrained: nn.Module, experts: Experts
) -> None:
    encoder = upscale(pretrained, experts, LAMBDA, depth)
    randomise_routers(encoder)
    together = encoder(IMAGES)
    alone = torch.cat([encoder(image[None]) for image in IMAGES])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_one_expert_at_lambda_one_is_that_expert(pretrained: nn.Module, experts: Experts) -> None:
    encoder = upscale(pretrained, [experts["cars"]], init_lambda=1.0, router_depth=0)
    torch.testing.assert_close(encoder(IMAGES), experts["cars"](IMAGES), rtol=1e-4, atol=1e-5)


def test_identical_experts_that_share_lambda_one_are_that_expert(
    pretrained: nn.Module, experts: Experts
) -> None:
    encoder = upscale(pretrained, [experts["cars"]] * 4, init_lambda=0.25, router_depth=0)
    torch.testing.assert_close(encoder(IMAGES), experts["cars"](IMAGES), rtol=1e-4, atol=1e-5)


def test_the_order_of_experts_does_not_matter_before_adaptation(
    pretrained: nn.Module, experts: Experts
) -> None:
    forward = upscale(pretrained, experts, router_depth=0)
    backward = upscale(pretrained, dict(reversed(experts.items())), router_depth=0)
    torch.testing.assert_close(forward(IMAGES), backward(IMAGES), rtol=1e-4, atol=1e-5)


def test_experts_may_be_a_mapping_or_a_sequence(pretrained: nn.Module, experts: Experts) -> None:
    torch.manual_seed(0)
    by_name = upscale(pretrained, experts)
    torch.manual_seed(0)
    in_order = upscale(pretrained, list(experts.values()))
    assert torch.equal(by_name(IMAGES), in_order(IMAGES))


def test_upscale_is_the_method_as_a_function(pretrained: nn.Module, experts: Experts) -> None:
    torch.manual_seed(0)
    by_function = upscale(pretrained, experts, init_lambda=0.4, router_depth=1)
    torch.manual_seed(0)
    by_method = WEMoE(init_lambda=0.4, router_depth=1).merge(pretrained, experts)
    torch.testing.assert_close(by_function.state_dict(), by_method.state_dict(), rtol=0, atol=0)


@DEPTHS
def test_a_state_dict_carries_the_whole_encoder(
    depth: int, pretrained: nn.Module, experts: Experts
) -> None:
    encoder = upscale(pretrained, experts, router_depth=depth)
    randomise_routers(encoder)
    other = upscale(experts["cars"], [pretrained] * len(experts), router_depth=depth)
    assert not torch.allclose(other(IMAGES), encoder(IMAGES), atol=0.1)
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other(IMAGES), encoder(IMAGES))


def test_a_deep_copy_computes_the_same(pretrained: nn.Module, experts: Experts) -> None:
    encoder = upscale(pretrained, experts)
    assert torch.equal(deepcopy(encoder)(IMAGES), encoder(IMAGES))


PUBLISHED = {  # of eight experts: all parameters with routers of depth 2, then the routers alone
    "vit_base_patch32_clip_quickgelu_224.openai": (547_970_400, [96, 73_824, 7_160_928]),
    "vit_base_patch16_clip_quickgelu_224.openai": (546_313_824, [96, 73_824, 7_160_928]),
    "vit_large_patch14_clip_quickgelu_224.openai": (1_940_162_752, [192, 196_800, 25_387_200]),
}


@DEPTHS
@pytest.mark.parametrize("name", PUBLISHED)
def test_clip_with_eight_experts_has_the_published_parameters(name: str, depth: int) -> None:
    total, routers = PUBLISHED[name]
    with torch.device("meta"):
        clip = timm.create_model(name, num_classes=0)
    encoder = upscale(clip, [clip] * 8, router_depth=depth)
    assert all(weight.is_meta for weight in encoder.parameters())
    counts = {weight: weight.numel() for weight in encoder.parameters()}
    assert sum(n for weight, n in counts.items() if weight.requires_grad) == routers[depth]
    assert sum(counts.values()) == total - routers[2] + routers[depth]


@pytest.mark.parametrize(
    ("name", "options", "named"),
    [
        ("test_resnet", {}, "ResNet: .* `blocks`"),
        ("test_convnext", {}, "ConvNeXt: .* `blocks`"),
        (
            "swin_tiny_patch4_window7_224",
            {"img_size": 32, "window_size": 1, "embed_dim": 8, "depths": (1, 1)},
            "SwinTransformer: .* `blocks`",
        ),
        (
            "vit_small_patch16_18x2_224",
            {"img_size": 32, "embed_dim": 12, "depth": 1},
            r"VisionTransformer: its blocks\[0\], a ParallelThingsBlock, has no `mlp`",
        ),
    ],
)
def test_an_encoder_of_another_form_is_refused_by_name(
    name: str, options: dict[str, Any], named: str
) -> None:
    encoder = timm.create_model(name, num_classes=0, **options)
    with pytest.raises(MergeError, match=f"Cannot upscale a {named}"):
        upscale(encoder, [encoder])


def test_an_expert_of_another_shape_is_named_with_its_first_key(
    pretrained: nn.Module, tiny_vit: TinyViT
) -> None:
    wide = tiny_vit(seed=1, embed_dim=24)
    with pytest.raises(MergeError, match=r"'cars' .*'cls_token' .*\(1, 1, 24\) .*\(1, 1, 16\)"):
        upscale(pretrained, {"cars": wide})


def test_an_expert_with_missing_or_extra_blocks_is_named(
    pretrained: nn.Module, tiny_vit: TinyViT
) -> None:
    with pytest.raises(MergeError, match=r"'cars' .*'blocks\.1\.norm1\.weight' is missing"):
        upscale(pretrained, {"cars": tiny_vit(seed=1, depth=1)})
    with pytest.raises(MergeError, match=r"'cars' .*'blocks\.2\.norm1\.weight' is not a part"):
        upscale(pretrained, {"cars": tiny_vit(seed=1, depth=3)})


def test_experts_in_order_may_be_weights(pretrained: nn.Module, experts: Experts) -> None:
    torch.manual_seed(0)
    by_modules = upscale(pretrained, list(experts.values()))
    torch.manual_seed(0)
    by_states = upscale(pretrained, [expert.state_dict() for expert in experts.values()])
    assert torch.equal(by_states(IMAGES), by_modules(IMAGES))


def test_an_encoder_of_another_form_is_refused_before_its_experts_are_looked_at() -> None:
    with pytest.raises(MergeError, match=r"Cannot upscale a Linear: .* `blocks`"):
        upscale(nn.Linear(2, 2), {"cars": nn.Linear(3, 3)})


@pytest.mark.parametrize("experts", [{}, []])
def test_no_expert_is_refused(pretrained: nn.Module, experts: Experts | list[nn.Module]) -> None:
    with pytest.raises(MergeError, match="no expert"):
        upscale(pretrained, experts)


@pytest.mark.parametrize("init_lambda", [-0.1, 1.1, float("nan")])
def test_a_lambda_out_of_range_is_refused_before_any_work(init_lambda: float) -> None:
    with pytest.raises(MergeError, match=f"{init_lambda}.* 0 to 1"):
        WEMoE(init_lambda=init_lambda)


@pytest.mark.parametrize("depth", [-1, 3])
def test_a_router_depth_out_of_range_is_refused_before_any_work(depth: int) -> None:
    with pytest.raises(MergeError, match=f"router_depth is {depth}"):
        WEMoE(router_depth=depth)


# --- E-WEMoE -----------------------------------------------------------------------------------


def test_e_wemoe_is_wemoe_on_pruned_task_vectors_with_one_router(
    pretrained: nn.Module, tiny_vit: TinyViT
) -> None:
    pretrained = deepcopy(pretrained).double()
    experts = [tiny_vit(seed).double() for seed in (1, 2)]
    encoder = EWEMoE(init_lambda=LAMBDA, compression=Pruned(ratio=0.7)).merge(
        pretrained, dict(zip("ab", experts, strict=True))
    )
    first, second = mixtures(encoder)
    assert first.router is second.router
    randomise_routers(encoder)
    pruned = [deepcopy(expert) for expert in experts]  # whose MLPs have moved by what is kept
    for expert in pruned:
        for name, weight in expert.named_parameters():
            if ".mlp." in name:
                vector = weight - pretrained.get_parameter(name)
                entries = vector.abs().flatten()
                kept = len(entries) - int(0.7 * len(entries) + 1e-9)
                threshold = entries.sort(descending=True).values[kept - 1]
                weight.data = pretrained.get_parameter(name) + vector * (vector.abs() >= threshold)

    def outside(image: Tensor) -> Tensor:
        plain = WEMoE(LAMBDA).merge(pretrained, dict(zip("ab", pruned, strict=True)))
        frozen = WEMoE(LAMBDA).merge(pretrained, dict(zip("ab", experts, strict=True)))
        routers = [first.router] * 2
        for mixture, router in zip(mixtures(plain), routers, strict=True):
            mixture.router = router
        plain.load_state_dict(
            {k: w for k, w in frozen.state_dict().items() if ".mlp." not in k}, strict=False
        )
        features: Tensor = plain(image[None])[0]
        return features

    for image in IMAGES.double():
        torch.testing.assert_close(encoder(image[None])[0], outside(image), rtol=1e-9, atol=1e-9)


def test_e_wemoe_counts_one_router_and_the_entries_that_are_kept(pretrained: nn.Module) -> None:
    encoder = EWEMoE().merge(pretrained, {"a": pretrained, "b": pretrained})
    trainable = sum(w.numel() for w in encoder.parameters() if w.requires_grad)
    assert trainable == 16 * 16 + 16 + 16 * 2 + 2
    kept = sum(m.task_vectors.nbytes for m in mixtures(encoder))
    dense = sum(m.task_vectors.nbytes for m in mixtures(upscale(pretrained, [pretrained] * 2)))
    assert kept <= 0.25 * dense
    assert EWEMoE().label == "E-WEMoE"


def test_blocks_of_several_widths_cannot_share_a_router() -> None:
    widths = [
        WeightEnsemblingMoE(Mlp(width, 8), [Mlp(width, 8)], router_depth=1) for width in (4, 6)
    ]
    with pytest.raises(MergeError, match=r"widths \[4, 6\] cannot share a router"):
        share_router(widths)


# --- beyond the paper --------------------------------------------------------------------------


@pytest.mark.parametrize("sharing", ["own", "shared"])
@pytest.mark.parametrize("compression", [Dense(), LowRank(rank=16)], ids=["dense", "full rank"])
@pytest.mark.parametrize("name", ["ViT", "CLIP ViT", "DeiT, distilled"])
def test_attention_with_a_dictionary_matches_the_slow_encoder_image_by_image(
    name: str, compression: Compression, sharing: RouterSharing, tiny_vit: TinyViT
) -> None:
    pretrained, *experts = (tiny_vit(seed, **ENCODERS[name]).double() for seed in range(4))
    method = WEMoE(LAMBDA, attention=compression, attention_router=sharing)
    encoder = method.merge(pretrained, {str(i): expert for i, expert in enumerate(experts)})
    randomise_routers(encoder)
    assert [*mixtures_of(encoder)] == [
        f"blocks.{i}.{part}" for i in range(2) for part in ("attn", "mlp")
    ]
    assert_matches_the_slow_one(encoder, pretrained, experts)


@pytest.mark.parametrize(
    ("options", "routers"),
    [
        ({}, [0, 1, 2, 3]),
        ({"attention_router": "shared"}, [0, 0, 1, 1]),
        ({"shared_router": True}, [0, 1, 0, 1]),
        ({"shared_router": True, "attention_router": "shared"}, [0, 0, 0, 0]),
    ],
)
def test_attention_and_mlps_share_routers_as_the_options_say(
    options: dict[str, Any], routers: list[int], pretrained: nn.Module, experts: Experts
) -> None:
    encoder = WEMoE(attention=Dense(), **options).merge(pretrained, experts)
    found = [id(mixture.router) for mixture in mixtures(encoder)]
    assert [list(dict.fromkeys(found)).index(router) for router in found] == routers


def silenced(encoder: nn.Module) -> nn.Module:
    """The encoder with routers that give every image λ."""
    for mixture in mixtures(encoder):
        for name, weight in mixture.router.named_parameters():
            if name.endswith("weight"):
                nn.init.zeros_(weight)
    return encoder


@pytest.mark.parametrize("attention", [None, Dense()], ids=["MLPs", "attention too"])
def test_with_a_centre_and_a_lambda_of_0_it_starts_at_that_merge(
    attention: Compression | None, pretrained: nn.Module, experts: Experts
) -> None:
    method = WEMoE(0.0, centre=TSVM(), attention=attention)
    encoder = silenced(method.merge(pretrained, experts))
    torch.testing.assert_close(encoder(IMAGES), TSVM().merge(pretrained, experts)(IMAGES))


def test_around_a_centre_an_expert_of_weight_1_is_itself_in_the_mlps(
    pretrained: nn.Module, experts: Experts
) -> None:
    encoder = WEMoE(0.0, router_depth=0, centre=IsoC()).merge(pretrained, experts)
    centre = IsoC().merge(pretrained, experts)
    expert = next(iter(experts.values()))
    for block, tuned, mixture in zip(
        centre.get_submodule("blocks").children(),
        expert.get_submodule("blocks").children(),
        mixtures(encoder),
        strict=True,
    ):
        mixture.router.weights.data[0] = 1.0
        block.get_submodule("mlp").load_state_dict(tuned.get_submodule("mlp").state_dict())
    torch.testing.assert_close(encoder(IMAGES), centre(IMAGES), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rest", [TSVM(), IsoC(), TaskArithmetic(0.1)])
def test_the_rest_is_merged_by_the_method_that_is_named(
    rest: MergeMethod, pretrained: nn.Module, experts: Experts
) -> None:
    merged = WEMoE(LAMBDA, rest=rest).merge(pretrained, experts).state_dict()
    expected = rest.merge(pretrained, experts).state_dict()
    outside = {key: weight for key, weight in expected.items() if ".mlp." not in key}
    assert len(outside) > 10
    torch.testing.assert_close({key: merged[key] for key in outside}, outside)
    plain = WEMoE(LAMBDA).merge(pretrained, experts).state_dict()
    mixed = {key: weight for key, weight in plain.items() if key not in outside}
    own = {key: merged[key] for key in mixed if ".router." not in key}
    torch.testing.assert_close(own, {key: mixed[key] for key in own})


def test_a_softmax_starts_at_an_equal_share_for_every_expert(
    pretrained: nn.Module, experts: Experts
) -> None:
    method = WEMoE(init_lambda=0.3, init_std=0.0, gate=Gate(softmax=True))
    encoder = method.merge(pretrained, experts)
    for mixture in mixtures(encoder):
        mixture.record_routing = True
    encoder(IMAGES)
    for mixture in mixtures(encoder):
        assert mixture.routing_weights is not None
        assert method.initial_weight(len(experts)) == 1 / len(experts)
        share = torch.full_like(mixture.routing_weights, 1 / len(experts))
        torch.testing.assert_close(mixture.routing_weights, share)


def test_routers_that_are_fitted_to_images_have_no_common_start() -> None:
    assert WEMoE(0.2).initial_weight(4) == 0.2
    assert WEMoE(0.2, start_images=8).initial_weight(4) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rest": WEMoE()}, "WEMoE gives no final weights: choose for `rest` one such as"),
        ({"centre": EMR()}, "EMR gives no final weights: choose for `centre` one such as"),
        ({"router_depth": 1, "router_width": 9}, "router of depth 1 has no hidden layer"),
        ({"start_images": -1}, "start_images is -1: give a number from 0."),
        ({"start_images": 8, "router_depth": 0}, "A router of depth 0 does not look at images"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MergeError, match=message):
        WEMoE(**options)


def test_attention_that_cannot_be_mixed_is_refused(tiny_vit: TinyViT) -> None:
    pretrained, expert = (tiny_vit(seed, **ENCODERS["BEiT"]) for seed in range(2))
    with pytest.raises(MergeError, match=r"its Attention has weights of its own\. Leave out `att"):
        WEMoE(attention=Dense()).merge(pretrained, {"one": expert})
