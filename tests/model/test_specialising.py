"""A model becomes a plain classifier of one task, whose weights are the same for all images."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.checkpoints.heads import ClassificationHead, CosineHead, LinearHead
from wemoe_pl.errors import ConfigError, MergeError
from wemoe_pl.merging.adamerging import AdaMerging
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.baselines import Individual
from wemoe_pl.merging.mass import MASS
from wemoe_pl.merging.smile import SMILE
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.model.measured import Measured
from wemoe_pl.moe.dense import Dense
from wemoe_pl.moe.mixture import mixtures_of

BACKBONE = Backbone("vit_tiny_patch16_224", {"img_size": 32})
TASKS = ("cars", "dtd", "mnist")


def random_x(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


IMAGES = random_x(4, 3, 32, 32)


def head_of(width: int, kind: type[ClassificationHead]) -> ClassificationHead:
    names = ["coupe", "van", "bus"]
    if kind is CosineHead:
        return CosineHead(random_x(3, width, seed=2), names, 10.0)
    return LinearHead(random_x(3, width, seed=2), names, random_x(3), normalize=True)


def classifier(
    method: MergeMethod,
    pretrained: nn.Module,
    experts: Mapping[str, nn.Module],
    kind: type[ClassificationHead] = CosineHead,
    width: int = 16,
) -> MultiTaskClassifier:
    torch.manual_seed(0)
    encoder = method.merge(pretrained, experts)
    heads = {task: head_of(width, kind) for task in TASKS}
    return MultiTaskClassifier(encoder, heads, backbone=BACKBONE, experts=tuple(experts)).eval()


@pytest.mark.parametrize("attention", [None, Dense()], ids=["MLPs", "MLPs and attention"])
@pytest.mark.parametrize("kind", [CosineHead, LinearHead])
def test_an_image_has_the_logits_of_its_own_routing(
    attention: Dense | None,
    kind: type[ClassificationHead],
    pretrained: nn.Module,
    experts: Mapping[str, nn.Module],
) -> None:
    method = WEMoE(init_std=0.2, attention=attention)
    model = classifier(method, pretrained, experts, kind)
    for image in IMAGES.split(1):
        plain = model.specialise("cars", image)
        torch.testing.assert_close(plain(image), model(image, "cars"), rtol=1e-4, atol=1e-5)


def test_it_is_a_timm_encoder_of_fixed_weights_with_its_head(
    pretrained: nn.Module, experts: Mapping[str, nn.Module]
) -> None:
    model = classifier(WEMoE(init_std=0.2), pretrained, experts)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    plain: Any = model.specialise("dtd", IMAGES)
    assert type(plain) is VisionTransformer
    assert not mixtures_of(plain)
    assert plain.num_classes == 3
    assert not plain.training
    assert not any(weight.requires_grad for weight in plain.parameters())
    shapes = {k: w.shape for k, w in pretrained.state_dict().items()}
    assert {k: w.shape for k, w in plain.state_dict().items()} == {**shapes, "head.weight": (3, 16)}
    plain.get_parameter("head.weight").zero_()  # what is done to it does not reach the model
    assert all(value.equal(before[key]) for key, value in model.state_dict().items())


def test_the_mean_routing_of_the_run_is_taken_if_no_images_are_given(
    pretrained: nn.Module, experts: Mapping[str, nn.Module]
) -> None:
    model = classifier(WEMoE(init_std=0.2), pretrained, experts)
    mean = torch.stack([w.mean(dim=0) for w in model.routing(IMAGES).values()], dim=1)
    model.measured = Measured(mean_routing={"cars": mean.tolist()})
    of_images, of_run = model.specialise("cars", IMAGES), model.specialise("cars")
    torch.testing.assert_close(of_run(IMAGES), of_images(IMAGES))
    told = r"does not know how images of 'dtd' are routed: .* specialise\('dtd', images\)"
    with pytest.raises(ConfigError, match=told):
        model.specialise("dtd")


@pytest.mark.parametrize(
    "method", [TaskArithmetic(), AdaMerging(), WEMoE(router_depth=0), Individual()], ids=repr
)
def test_other_models_keep_their_logits(
    method: MergeMethod, pretrained: nn.Module, experts: Mapping[str, nn.Module]
) -> None:
    model = classifier(method, pretrained, experts)
    for task in TASKS:
        plain = model.specialise(task)
        torch.testing.assert_close(plain(IMAGES), model(IMAGES, task), rtol=1e-4, atol=1e-5)
        assert type(plain) is VisionTransformer


def test_a_projection_stays_before_the_head(tiny_vit: Any) -> None:
    first, *others = (tiny_vit(seed, num_classes=8) for seed in range(4))
    experts = dict(zip(TASKS, others, strict=True))
    model = classifier(WEMoE(init_std=0.2), first, experts, width=8)
    image = IMAGES[:1]
    plain = model.specialise("mnist", image)
    torch.testing.assert_close(plain(image), model(image, "mnist"), rtol=1e-4, atol=1e-5)


def test_a_model_in_half_precision_stays_in_it(
    pretrained: nn.Module, experts: Mapping[str, nn.Module]
) -> None:
    model = classifier(WEMoE(init_std=0.2), pretrained, experts).to(torch.bfloat16)
    model.measured = Measured(mean_routing={"cars": [[0.3] * 3] * 2})
    plain = model.specialise("cars")
    assert {weight.dtype for weight in plain.parameters()} == {torch.bfloat16}
    assert plain(IMAGES.bfloat16()).dtype is torch.float32  # heads compute in it


@pytest.mark.parametrize(
    ("method", "why"),
    [(MASS(), "chooses some experts for every image"), (SMILE(), "routes every token by itself")],
)
def test_a_model_that_no_fixed_weights_stand_for_is_refused(
    method: MergeMethod, why: str, pretrained: nn.Module, experts: Mapping[str, nn.Module]
) -> None:
    model = classifier(method, pretrained, experts)
    with pytest.raises(ConfigError, match=f"{why}.*: specialise a static merge or a WEMoE"):
        model.specialise("cars")


def test_images_whose_routing_is_not_finite_are_refused(
    pretrained: nn.Module, experts: Mapping[str, nn.Module]
) -> None:
    model = classifier(WEMoE(init_std=0.2), pretrained, experts)
    with pytest.raises(ConfigError, match="not finite, so nothing can be folded"):
        model.specialise("cars", IMAGES * float("nan"))


def test_wrong_tasks_and_routing_are_told(
    pretrained: nn.Module, experts: Mapping[str, nn.Module]
) -> None:
    model = classifier(WEMoE(), pretrained, experts)
    with pytest.raises(ConfigError, match=r"no head for 'car'\. .*'cars'"):
        model.specialise("car")
    model.measured = Measured(mean_routing={"cars": [[0.3, 0.3]]})
    with pytest.raises(MergeError, match=r"shape \(1, 2\) .* 2 mixtures of 3 experts"):
        model.specialise("cars")
