"""Classifiers are built from what a suite names, which is read once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from wemoe_pl.checkpoints import load_encoder
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import ImageFolderTask
from wemoe_pl.errors import CheckpointError
from wemoe_pl.merging.adamerging import AdaMerging
from wemoe_pl.merging.baselines import Individual, Pretrained
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.building import build_classifier, build_classifiers
from wemoe_pl.moe.layers import WeightEnsemblingMoE

METHODS = [Pretrained(), Individual(), TaskArithmetic(), WEMoE()]


def random_x(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


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


def test_heads_are_trained_where_the_method_says_so_and_there_is_an_expert(
    tiny_suite: Suite,
) -> None:
    suite = tiny_suite.restricted_to(None, ["dtd"])
    model = build_classifier(suite, AdaMerging("task", trains_heads=True))
    images = random_x(2, 3, 28, 28)
    plain = build_classifier(suite, AdaMerging("task"))
    for task in suite.tasks:
        trained = [weight.requires_grad for weight in model.head(task).parameters()]
        assert trained == ([False] if task == "dtd" else [True, True])
        torch.testing.assert_close(model(images, task), plain(images, task))
        assert not any(weight.requires_grad for weight in plain.head(task).parameters())
