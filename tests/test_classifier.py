"""The product: one encoder, a head per task, and every task answered by its own head."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import Backbone, load_encoder
from wemoe_pl.classifier import MultiTaskClassifier, build_classifier, build_classifiers
from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.heads import ClassificationHead, CosineHead, LinearHead
from wemoe_pl.merging import Individual, MergeMethod, Pretrained, TaskArithmetic, WEMoE, blocks_of
from wemoe_pl.moe import WeightEnsemblingMoE
from wemoe_pl.suites import Suite
from wemoe_pl.tasks import ImageFolderTask

BACKBONE = Backbone("vit_tiny_patch16_224", {"img_size": 32})
METHODS = [Pretrained(), Individual(), TaskArithmetic(), WEMoE()]
SHARED = [method for method in METHODS if not isinstance(method, Individual)]


def random_x(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


IMAGES = random_x(4, 3, 32, 32)


@pytest.fixture
def heads() -> dict[str, ClassificationHead]:
    """Heads of both kinds, and of different numbers of classes."""
    return {
        "cars": CosineHead(random_x(2, 16, seed=2), ["coupe", "van"], 10.0),
        "dtd": LinearHead(random_x(3, 16, seed=3), ["a", "b", "c"], random_x(3)),
        "mnist": CosineHead(random_x(5, 16, seed=5), list("01234"), 20.0),
    }


@pytest.mark.parametrize("method", SHARED, ids=repr)
def test_logits_are_those_of_the_tasks_head_on_the_shared_features(
    method: MergeMethod,
    pretrained: nn.Module,
    experts: Mapping[str, nn.Module],
    heads: dict[str, ClassificationHead],
) -> None:
    encoder = method.merge(pretrained, experts)
    model = MultiTaskClassifier(encoder, heads, backbone=BACKBONE)
    for task, head in heads.items():
        assert torch.equal(model(IMAGES, task), head(encoder(IMAGES)))


def test_individual_experts_answer_their_own_task(
    pretrained: nn.Module,
    experts: Mapping[str, nn.Module],
    heads: dict[str, ClassificationHead],
) -> None:
    model = MultiTaskClassifier(Individual().merge(pretrained, experts), heads, backbone=BACKBONE)
    for task in ("cars", "mnist", "dtd", "cars", "cars"):
        assert torch.equal(model(IMAGES, task), heads[task](experts[task](IMAGES)))


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_all_tasks_together_are_answered_as_one_by_one(
    method: MergeMethod,
    pretrained: nn.Module,
    experts: Mapping[str, nn.Module],
    heads: dict[str, ClassificationHead],
) -> None:
    model = MultiTaskClassifier(method.merge(pretrained, experts), heads, backbone=BACKBONE)
    batches = {"mnist": random_x(3, 3, 32, 32, seed=1), "cars": random_x(1, 3, 32, 32, seed=2)}
    together = model.forward_tasks(batches)
    assert list(together) == ["mnist", "cars"]
    for task, batch in batches.items():
        torch.testing.assert_close(together[task], model(batch, task))


def test_all_tasks_together_are_one_pass(
    pretrained: nn.Module, heads: dict[str, ClassificationHead]
) -> None:
    encoder = Pretrained().merge(pretrained, {})
    passes = []
    encoder.register_forward_hook(lambda _, inputs, __: passes.append(len(inputs[0])))
    MultiTaskClassifier(encoder, heads, backbone=BACKBONE).forward_tasks(
        {"cars": IMAGES, "dtd": IMAGES[:1]}
    )
    assert passes == [5]


def test_a_head_is_found_by_its_task(
    pretrained: nn.Module, heads: dict[str, ClassificationHead]
) -> None:
    model = MultiTaskClassifier(pretrained, heads, backbone=BACKBONE)
    assert model.tasks == ("cars", "dtd", "mnist")
    assert model.head("dtd") is heads["dtd"]


def test_an_unknown_task_is_answered_with_the_nearest(
    pretrained: nn.Module, heads: dict[str, ClassificationHead]
) -> None:
    with pytest.raises(ConfigError) as error:
        MultiTaskClassifier(pretrained, heads, backbone=BACKBONE)(IMAGES, "mnits")
    assert str(error.value) == (
        "The model has no head for 'mnits'. Did you mean 'mnist'? Valid names: cars, dtd, mnist."
    )


def test_mixtures_are_listed_from_the_first_block_to_the_last(
    pretrained: nn.Module,
    experts: Mapping[str, nn.Module],
    heads: dict[str, ClassificationHead],
) -> None:
    encoder = WEMoE().merge(pretrained, experts)
    mixtures = MultiTaskClassifier(encoder, heads, backbone=BACKBONE).mixtures
    assert mixtures == [block.mlp for block in blocks_of(encoder)]
    assert len(mixtures) == 2


@pytest.mark.parametrize("method", METHODS[:-1], ids=repr)
def test_a_static_merge_has_no_mixtures(
    method: MergeMethod,
    pretrained: nn.Module,
    experts: Mapping[str, nn.Module],
    heads: dict[str, ClassificationHead],
) -> None:
    assert (
        MultiTaskClassifier(method.merge(pretrained, experts), heads, backbone=BACKBONE).mixtures
        == []
    )


def test_a_classifier_is_built_from_a_suite(tiny_suite: Suite) -> None:
    model = build_classifier(tiny_suite, WEMoE(init_lambda=0.2))
    expected = WEMoE(init_lambda=0.2).merge(tiny_suite.load_pretrained(), tiny_suite.load_experts())
    frozen = {key: w for key, w in expected.state_dict().items() if ".router." not in key}
    actual = {key: model.encoder.state_dict()[key] for key in frozen}
    torch.testing.assert_close(actual, frozen, rtol=0, atol=0)
    for task in tiny_suite.tasks:
        assert torch.equal(model.head(task).weight, tiny_suite.load_head(task).weight)


def test_nothing_but_the_routers_of_a_classifier_is_trainable(tiny_suite: Suite) -> None:
    model = build_classifier(tiny_suite, WEMoE())
    routers = {id(weight) for moe in model.mixtures for weight in moe.router.parameters()}
    assert {id(weight) for weight in model.parameters() if weight.requires_grad} == routers
    assert all(isinstance(moe, WeightEnsemblingMoE) for moe in model.mixtures)


# --- built from a suite ----------------------------------------------------------------------


def test_several_methods_share_what_is_read(
    tiny_suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def counted(name: str) -> Callable[[Suite], Any]:
        load: Callable[[Suite], Any] = getattr(Suite, name)

        def read(suite: Suite) -> Any:
            calls.append(name)
            return load(suite)

        return read

    for name in ("load_pretrained", "load_experts"):
        monkeypatch.setattr(Suite, name, counted(name))
    together = build_classifiers(tiny_suite, METHODS)
    assert calls == ["load_pretrained", "load_experts"]
    images = random_x(2, 3, 28, 28)
    for method, model in zip(METHODS[:-1], together, strict=False):  # routers are random
        alone = build_classifier(tiny_suite, method)
        for task in tiny_suite.tasks:
            assert torch.equal(model(images, task), alone(images, task))


def test_without_methods_nothing_is_read(tiny_suite: Suite) -> None:
    assert build_classifiers(replace(tiny_suite, pretrained="nowhere"), []) == []


def test_individual_experts_have_heads_for_their_own_tasks_only(tiny_suite: Suite) -> None:
    fewer = replace(tiny_suite, experts={"dtd": tiny_suite.experts["dtd"]})
    assert build_classifier(fewer, Individual()).tasks == ("dtd",)
    assert build_classifier(fewer, TaskArithmetic()).tasks == ("cars", "dtd", "mnist")


def test_individual_experts_take_turns_whatever_the_order(tiny_suite: Suite) -> None:
    model, images = build_classifier(tiny_suite, Individual()), random_x(2, 3, 28, 28)
    first = {task: model(images, task) for task in model.tasks}
    for task in reversed(model.tasks):
        assert torch.equal(model(images, task), first[task])
    expert = load_encoder(tiny_suite.experts["dtd"], tiny_suite.backbone)
    assert torch.equal(first["dtd"], tiny_suite.load_head("dtd")(expert(images)))


def test_the_classes_of_images_are_compared_unless_they_are_not_there(tiny_suite: Suite) -> None:
    names = tuple(f"class {i}" for i in range(len(tiny_suite.task("dtd").classes)))
    tasks = tiny_suite.tasks | {"dtd": ImageFolderTask(class_names=names)}
    suite = replace(tiny_suite, tasks=tasks)
    with pytest.raises(CheckpointError, match="names class 0"):
        build_classifier(suite, Pretrained())
    model = build_classifier(suite, Pretrained(), check_classes=False)
    assert model.head("dtd").classes == tiny_suite.task("dtd").classes
