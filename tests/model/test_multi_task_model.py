"""One encoder, a head per task, and every task answered by its own head."""

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.checkpoints.heads import ClassificationHead, CosineHead, LinearHead
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging.base import MergeMethod, blocks_of
from wemoe_pl.merging.baselines import Individual, Pretrained
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.classifier import MultiTaskClassifier

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


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_an_encoder_that_is_still_a_classifier_is_refused(
    method: MergeMethod, pretrained: nn.Module, heads: dict[str, ClassificationHead]
) -> None:
    classifier: Any = deepcopy(pretrained)
    classifier.reset_classifier(1000)
    merged = method.merge(classifier, {"cars": deepcopy(classifier)})
    complaint = (
        r"^The head of 'cars' is for 16 features, but the encoder ends in a layer of its own with "
        r"1000 outputs: call `reset_classifier\(0\)` on it\.$"
    )
    with pytest.raises(ConfigError, match=complaint):
        MultiTaskClassifier(merged, heads, backbone=BACKBONE)


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


@pytest.mark.parametrize("task", [None, 3, ["mnist"]])
def test_what_is_no_name_of_a_task_is_shown(
    task: Any, pretrained: nn.Module, heads: dict[str, ClassificationHead]
) -> None:
    model = MultiTaskClassifier(pretrained, heads, backbone=BACKBONE)
    with pytest.raises(ConfigError, match=rf"^The model has no head for {re.escape(repr(task))}\."):
        model.head(task)


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
