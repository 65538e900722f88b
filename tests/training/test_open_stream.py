"""A stream that nobody announces: whose images the model itself sorts, and learns from."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import lightning as L
import pytest
import torch
from helpers.objectives import Everything
from torch import Tensor, nn
from torch.optim import Adam

from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging.adamerging import AdaMerging
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.baselines import Individual
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.building import build_classifier
from wemoe_pl.model.classifier import MultiTaskClassifier
from wemoe_pl.model.task_inference import InferenceRule, InferredTask
from wemoe_pl.moe.task_vectors import Model
from wemoe_pl.training import open_stream
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.objectives.base import Objective
from wemoe_pl.training.objectives.entropy import Entropy
from wemoe_pl.training.objectives.outputs import AdaptationOutputs

NewTrainer = Callable[..., L.Trainer]
BATCH_SIZE = 4
LEARNING_RATE = 0.01
WEIGHTS = {"cars": 6.0, "dtd": 1.0, "mnist": 3.0}


def adapted(
    suite: Suite,
    trainer: L.Trainer,
    merge: MergeMethod | None = None,
    data: MultiTaskData | None = None,
    **options: Any,
) -> TestTimeAdaptation:
    torch.manual_seed(0)
    settings = {"learning_rate": LEARNING_RATE, "schedule": "constant", **options}
    module = TestTimeAdaptation(suite, merge or WEMoE(), **settings)
    trainer.fit(module, datamodule=data or MultiTaskData(suite, batch_size=BATCH_SIZE))
    return module


def routers(module: TestTimeAdaptation) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in module.trained_parameters().items()}


def by_entropy(classifier: MultiTaskClassifier, image: Tensor) -> str:
    """The task whose head is the most certain of one image, as a share of what it could be."""
    shares = {}
    for task in classifier.tasks:
        p = classifier(image[None], task)[0].double().softmax(dim=0)
        shares[task] = float(-(p * p.log()).sum()) / math.log(len(p))
    return min(shares, key=lambda task: shares[task])


def by_routing(classifier: MultiTaskClassifier, image: Tensor) -> str:
    """The task whose expert has the largest mean routing weight of one image."""
    with classifier.recorded_routing():
        classifier.encode(image[None])
        mean = torch.stack([weights[0] for weights in classifier.routing_weights]).mean(dim=0)
    return classifier.experts[int(mean.argmax())]


@dataclass(frozen=True)
class OfSeveral(Everything):
    """Looks at all that there is of two images or more, whose variances it needs."""

    @property
    def least_images(self) -> int:
        return 2


@pytest.mark.parametrize("proportions", [None, WEIGHTS])
@pytest.mark.parametrize(("rule", "slow_rule"), [(None, by_entropy), ("routing", by_routing)])
def test_adaptation_matches_a_loop_that_looks_at_one_image_after_another(
    tiny_suite: Suite, quiet_trainer: NewTrainer, rule: InferenceRule | None,
    slow_rule: Callable[[MultiTaskClassifier, Tensor], str], proportions: dict[str, float] | None,
) -> None:  # fmt: skip
    steps, objective = 3, OfSeveral()
    data = MultiTaskData(tiny_suite, batch_size=BATCH_SIZE, proportions=proportions)
    module = adapted(
        tiny_suite, quiet_trainer(max_steps=steps), data=data, announced=False, infer_task=rule,
        objective=objective,
    )  # fmt: skip

    torch.manual_seed(0)
    classifier = build_classifier(tiny_suite, WEMoE())
    experts = build_classifier(tiny_suite, Individual())
    trained = {n: p for n, p in classifier.named_parameters() if p.requires_grad}
    optimizer = Adam(trained.values(), lr=LEARNING_RATE)
    batches, found = data.step_batches(), set[str]()
    for step in range(steps):
        optimizer.zero_grad()
        groups: dict[str, list[Tensor]] = {}
        for images, _ in batches[step].values():
            for image in images:
                with torch.no_grad():
                    groups.setdefault(slow_rule(classifier, image), []).append(image)
        found |= groups.keys()
        for task, members in groups.items():
            if len(members) < 2:
                continue
            images = torch.stack(members)
            with classifier.recorded_routing(detached=False):
                features = classifier.encode(images)
                routing = torch.stack(classifier.routing_weights, dim=1)
            logits = classifier.head(task)(features)
            needed: dict[Any, Tensor] = {"features": features, "routing_weights": routing}
            with torch.no_grad():
                taught = experts.encode(images, task)
                needed |= {"expert_features": taught, "expert_logits": experts.head(task)(taught)}
            needed["images"] = images
            objective(AdaptationOutputs(task, logits, needed)).backward()
        optimizer.step()
    assert len(found) > 1
    expected = {f"classifier.{name}": weight.detach() for name, weight in trained.items()}
    torch.testing.assert_close(routers(module), expected, rtol=0, atol=1e-5)


def test_where_every_task_is_found_it_is_as_if_they_were_announced(
    tiny_suite: Suite, quiet_trainer: NewTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def infer(rule: str, logits: Mapping[str, Tensor], *_: object) -> InferredTask:
        count = len(next(iter(logits.values())))
        place = torch.arange(len(logits)).repeat_interleave(count // len(logits))
        return InferredTask(place, torch.ones(count))

    monkeypatch.setattr(open_stream, "infer_task", infer)
    trainer = quiet_trainer(max_steps=2)
    found = adapted(tiny_suite, trainer, announced=False)
    told = adapted(tiny_suite, quiet_trainer(max_steps=2))
    torch.testing.assert_close(routers(found), routers(told), rtol=0, atol=0)
    assert trainer.logged_metrics["train/task_accuracy"] == 1
    assert trainer.logged_metrics["train/left_out"] == 0


@dataclass(frozen=True)
class OfFour(Objective):
    """An objective that compares four images or more, and says how many it was given."""

    @property
    def least_images(self) -> int:
        return 4

    def __call__(self, outputs: AdaptationOutputs) -> Tensor:
        assert len(outputs.logits) >= 4
        return Entropy()(outputs)


def test_too_few_images_are_left_out_and_counted(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    data = MultiTaskData(tiny_suite, batch_size=4, proportions=WEIGHTS, seed=2)
    sizes = {task: len(labels) for task, (_, labels) in data.step_batches()[0].items()}
    few = sum(size for size in sizes.values() if size < 4)
    assert few > 0
    trainer = quiet_trainer(max_steps=1)
    adapted(tiny_suite, trainer, data=data, objective=OfFour())
    assert trainer.logged_metrics["train/left_out"] == few
    learned = {key for key in trainer.logged_metrics if key.startswith("train/loss/")}
    assert learned == {f"train/loss/{task}" for task, size in sizes.items() if size >= 4}
    assert "train/task_accuracy" not in trainer.logged_metrics


def test_it_is_logged_how_often_the_task_is_the_true_one(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    trainer = quiet_trainer(max_steps=1)
    data = MultiTaskData(tiny_suite, batch_size=BATCH_SIZE)
    adapted(tiny_suite, trainer, AdaMerging(), data, announced=False)
    classifier = build_classifier(tiny_suite, AdaMerging())
    batch = data.step_batches()[0]
    with torch.no_grad():
        right = {
            task: [by_entropy(classifier, image) == task for image in images]
            for task, (images, _) in batch.items()
        }
    for task, own in right.items():
        assert trainer.logged_metrics[f"train/task_accuracy/{task}"] == pytest.approx(
            sum(own) / len(own)
        )
    mean = sum(map(sum, right.values())) / sum(map(len, right.values()))
    assert trainer.logged_metrics["train/task_accuracy"] == pytest.approx(mean)


def test_too_few_images_of_all_tasks_are_no_step(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    data = MultiTaskData(tiny_suite, batch_size=1)
    with pytest.raises(ConfigError, match=r"set data\.batch_size to 4 or more"):
        adapted(
            tiny_suite, quiet_trainer(max_steps=1), data=data, objective=OfFour(), announced=False
        )


class OwnMethod(MergeMethod):
    """Routes by batch, and does not say so."""

    def merge(self, pretrained: nn.Module, experts: Mapping[str, Model]) -> nn.Module:
        return WEMoE(routing="batch").merge(pretrained, experts)


@pytest.mark.parametrize(
    ("merge", "rule", "complaint"),
    [
        (OwnMethod(), None, "routing by batch is for images of one task"),
        (WEMoE(routing="batch"), None, "routing by batch is for images of one task"),
        (WEMoE(start_images=2), None, "routers are fitted to images of known tasks"),
        (AdaMerging(), "routing", "This model has no routers to infer the task by"),
        (WEMoE(), "logit", "The rule 'logit' compares the tasks"),
    ],
)
def test_what_cannot_tell_tasks_apart_is_refused(
    tiny_suite: Suite, quiet_trainer: NewTrainer, merge: MergeMethod,
    rule: InferenceRule | None, complaint: str,
) -> None:  # fmt: skip
    with pytest.raises(ConfigError, match=complaint):
        adapted(tiny_suite, quiet_trainer(max_steps=1), merge, announced=False, infer_task=rule)


def test_one_expert_is_no_choice(tiny_suite: Suite, quiet_trainer: NewTrainer) -> None:
    alone = replace(tiny_suite, experts={"dtd": tiny_suite.experts["dtd"]})
    with pytest.raises(ConfigError) as error:
        adapted(alone, quiet_trainer(max_steps=1), announced=False)
    assert str(error.value) == (
        "model.announced is false, which puts the images of all tasks of a step together, but the "
        "suite has one expert, for 'dtd': change one of them."
    )


def test_a_step_that_is_split_by_task_is_refused(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    data = MultiTaskData(tiny_suite, batch_size=BATCH_SIZE, tasks_per_batch=1)
    trainer = quiet_trainer(max_steps=1, accumulate_grad_batches=3)
    with pytest.raises(ConfigError, match=r"but a step is split by task .*: change one of them"):
        adapted(tiny_suite, trainer, data=data, announced=False)


def test_tasks_without_an_expert_are_not_inferred(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    two = {task: tiny_suite.experts[task] for task in ("cars", "mnist")}
    trainer = quiet_trainer(max_steps=1)
    adapted(replace(tiny_suite, experts=two), trainer, announced=False)
    of_tasks = {key for key in trainer.logged_metrics if key.startswith("train/entropy/")}
    assert of_tasks <= {"train/entropy/cars", "train/entropy/mnist"}


def test_a_run_says_that_nobody_told_the_tasks(tiny_suite: Suite) -> None:
    told, found = (TestTimeAdaptation(tiny_suite, WEMoE(), announced=a) for a in (True, False))
    assert open_stream.unannounced_note(told) == ""
    assert open_stream.unannounced_note(found) == (
        "No task was announced: the task of every image was inferred (by entropy)."
    )
