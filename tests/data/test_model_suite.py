"""A suite of models in memory gives the same as one whose models are in files."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers.plain_images import random_image
from torch import nn

from wemoe_pl.checkpoints import Backbone, load_encoder
from wemoe_pl.checkpoints.heads import LinearHead
from wemoe_pl.data.model_suite import ModelSuite
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import InMemoryTask
from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.model.building import build_classifier
from wemoe_pl.model.recipe import describe, rebuild

NewVit = Callable[..., nn.Module]
IMAGES = [random_image(9, 9, seed) for seed in range(3)]


def models_of(suite: Suite) -> dict[str, nn.Module]:
    experts = {task: load_encoder(s, suite.backbone) for task, s in suite.experts.items()}
    return {"pretrained": suite.load_pretrained(), **experts}


def tasks_of(*names: str, classes: tuple[str, ...] | None = None) -> dict[str, Any]:
    return {name: InMemoryTask(IMAGES, class_names=classes) for name in names}


def test_it_merges_as_the_suite_of_files_does(tiny_suite: Suite) -> None:
    heads = {task: tiny_suite.load_head(task) for task in tiny_suite.tasks}
    suite = ModelSuite.of(models_of(tiny_suite), tiny_suite.tasks, heads)
    assert suite.backbone == tiny_suite.backbone
    ours, theirs = (build_classifier(s, TaskArithmetic()) for s in (suite, tiny_suite))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, weight in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], weight, rtol=0, atol=0)


def test_classifiers_give_their_own_heads(tiny_vit: NewVit) -> None:
    models = {"pretrained": tiny_vit(0, num_classes=5), "a": tiny_vit(1, num_classes=3)}
    before = {name: weight.clone() for name, weight in models["pretrained"].state_dict().items()}
    suite = ModelSuite.of(models, tasks_of("a"))
    classifier = build_classifier(suite, TaskArithmetic(1.0))  # which is the expert itself
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(classifier(images, "a"), models["a"](images))
    assert classifier.head("a").classes == ("0", "1", "2")
    assert models["pretrained"].state_dict().keys() == before.keys()  # left as they are


def test_a_projection_stays_where_heads_are_for_it(tiny_vit: NewVit) -> None:
    models = {"pretrained": tiny_vit(0, num_classes=6), "a": tiny_vit(1, num_classes=6)}
    head = LinearHead(torch.randn(2, 6), ("x", "y"), torch.zeros(2))
    suite = ModelSuite.of(models, tasks_of("a"), {"a": head})
    assert suite.backbone.feature_dim == 6
    classifier = build_classifier(suite, TaskArithmetic(1.0))
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(classifier(images, "a"), head(models["a"](images)))


def test_sources_change_with_the_weights(tiny_vit: NewVit) -> None:
    models = {"pretrained": tiny_vit(0), "a": tiny_vit(1)}
    heads = {"a": nn.Linear(16, 3)}
    sources = ModelSuite.of(models, tasks_of("a"), heads).sources()
    assert set(sources) == {"pretrained", "experts/a", "heads/a"}
    assert ModelSuite.of(models, tasks_of("a"), heads).sources() == sources
    with torch.no_grad():
        heads["a"].bias[0] += 1
    changed = ModelSuite.of(models, tasks_of("a"), heads).sources()
    assert [part for part in sources if changed[part] != sources[part]] == ["heads/a"]


def test_it_is_described_without_its_models_and_says_so_when_they_are_missed(
    tiny_vit: NewVit,
) -> None:
    models = {"pretrained": tiny_vit(0), "a": tiny_vit(1)}
    suite = ModelSuite.of(models, tasks_of("a"), {"a": nn.Linear(16, 3)})
    again, _ = rebuild({"suite": describe(suite), "merge": describe(TaskArithmetic())})
    with pytest.raises(CheckpointError, match="from weights in memory, which are in no file: loa"):
        again.load_pretrained()


@pytest.mark.parametrize(
    ("names", "tasks", "heads", "sentence"),
    [
        (("a",), ("a",), {}, "no 'pretrained' among the models.*Valid names: a"),
        (("pretrained", "a"), ("a",), {}, "no head for 'a': give one, as `heads={'a': HEAD}`"),
        (("pretrained", "a"), ("a",), {"b": 3}, "heads has 'b', which is not one of the tasks"),
        (("pretrained",), ("a",), {"a": 3}, "has no expert: list at least one"),
    ],
)
def test_what_is_missing_is_named(
    names: tuple[str, ...], tasks: tuple[str, ...], heads: dict[str, int], sentence: str,
    tiny_vit: NewVit,
) -> None:  # fmt: skip
    models = {name: tiny_vit(seed) for seed, name in enumerate(names)}
    given = {task: nn.Linear(16, count) for task, count in heads.items()}
    with pytest.raises(ConfigError, match=sentence):
        ModelSuite.of(models, tasks_of(*tasks), given).load_experts()


def test_a_head_of_other_classes_or_another_width_is_refused(tiny_vit: NewVit) -> None:
    models = {"pretrained": tiny_vit(0), "a": tiny_vit(1)}
    named = tasks_of("a", classes=("x", "y"))
    with pytest.raises(ConfigError, match="'a' has 3 classes, but its images have 2"):
        ModelSuite.of(models, named, {"a": nn.Linear(16, 3)})
    suite = ModelSuite.of(models, tasks_of("a"), {"a": nn.Linear(15, 3)})
    with pytest.raises(CheckpointError, match="for 15 features"):
        suite.load_head("a")
    broken: Any = {"pretrained": tiny_vit(0), "a": "expert.safetensors"}
    with pytest.raises(ConfigError, match="The model 'a' is a str: give a module"):
        ModelSuite.of(broken, named)
    own = Backbone("vit_tiny_patch16_224", {"img_size": 32})
    assert ModelSuite.of(models, named, {"a": nn.Linear(16, 2)}, own).backbone is own
