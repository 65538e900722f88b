"""A description says what may be asked of a model."""

import json
import pickle
from dataclasses import replace

import pytest

from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.export.serving.description import (
    NO_THRESHOLDS,
    ONE_BY_ONE,
    ModelDescription,
    described_model,
)
from wemoe_pl.merging.baselines import Individual
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.model.building import build_classifier
from wemoe_pl.model.classifier import MultiTaskClassifier


@pytest.fixture(scope="module")
def of_wemoe(model: MultiTaskClassifier) -> ModelDescription:
    return described_model(model)


@pytest.fixture(scope="module")
def of_experts(tiny_suite: Suite) -> ModelDescription:
    return described_model(build_classifier(tiny_suite, Individual()))


def test_it_goes_from_one_process_to_another(
    of_wemoe: ModelDescription, model: MultiTaskClassifier
) -> None:
    received = pickle.loads(pickle.dumps(of_wemoe))
    assert received == of_wemoe
    assert received.classes == {task: tuple(model.head(task).classes) for task in model.tasks}
    assert received.preprocess.shape == model.preprocess.shape
    assert (received.routed, received.can_reject, received.notes) == (True, True, [])


def test_what_is_public_is_json(of_wemoe: ModelDescription) -> None:
    public = json.loads(json.dumps(of_wemoe.public))
    assert public["tasks"].keys() == of_wemoe.classes.keys()
    assert public["infers_tasks"] is True
    assert "timm" in public["versions"]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (("minst", None, False), "There is no task 'minst'. Did you mean 'mnist'?"),
        ((None, None, False), "This model has an encoder per task: say which task"),
        (("mnist", None, True), "This model has no routers"),
        (("mnist", True, False), "The model cannot say that an image belongs to none"),
    ],
)
def test_experts_are_told_the_task_and_route_nothing(
    asked: tuple[str | None, bool | None, bool], sentence: str, of_experts: ModelDescription
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        of_experts.check(*asked)
    of_experts.check("mnist", None, False)
    assert [note for note in of_experts.notes if "an encoder per task" in note]


def test_the_only_task_need_not_be_told(of_experts: ModelDescription) -> None:
    only = replace(of_experts, classes={"mnist": ("0", "1")})
    only.check(None, None, False)
    assert only.only_task == "mnist"
    assert only.notes == []


def test_what_a_model_lacks_is_noted(tiny_suite: Suite) -> None:
    static = described_model(build_classifier(tiny_suite, TaskArithmetic()))
    assert static.notes == [NO_THRESHOLDS]
    assert replace(static, one_by_one=True).notes == [NO_THRESHOLDS, ONE_BY_ONE]
