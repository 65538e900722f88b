"""What every module of a merge method shares: its columns, and whom `predict` answers for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest

from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging import Individual, TaskArithmetic, WEMoE
from wemoe_pl.training.adapt import TestTimeAdaptation

NewTrainer = Callable[..., L.Trainer]


@pytest.fixture
def data(tiny_suite: Suite, tmp_path: Path) -> MultiTaskData:
    """Two images to classify."""
    for i in range(2):
        tiny_suite.task("dtd").images("test")[i][0].save(tmp_path / f"{i}.png")
    return MultiTaskData(tiny_suite, images=str(tmp_path))


def predicted(trainer: L.Trainer, module: TestTimeAdaptation, data: MultiTaskData) -> list[Any]:
    batches = trainer.predict(module, data)
    assert batches is not None
    return [row for batch in batches for row in batch]


@pytest.mark.parametrize("rule", ["entropy", "routing"])
def test_an_inferred_task_gives_one_answer_per_image(
    rule: Any, tiny_suite: Suite, quiet_trainer: NewTrainer, data: MultiTaskData
) -> None:
    module = TestTimeAdaptation(tiny_suite, WEMoE(), infer_task=rule)
    rows = predicted(quiet_trainer(), module, data)
    assert [Path(row.image).name for row in rows] == ["0.png", "1.png"]
    for row in rows:
        assert row.class_name in tiny_suite.task(row.task).classes
        assert 0 < row.probability <= 1
        assert 0 <= row.task_confidence <= 1
    everything = TestTimeAdaptation(tiny_suite, WEMoE())
    everything.classifier = module.classifier
    told = [row._replace(task_confidence=None) for row in rows]
    of_all_tasks = predicted(quiet_trainer(), everything, data)
    assert all(row in of_all_tasks for row in told)


@pytest.mark.parametrize(
    ("merge", "rule", "message"),
    [
        (TaskArithmetic(), "routing", "has no routers to infer the task by: use the rule"),
        (Individual(), "entropy", "has an encoder per task: say which task the images are of"),
    ],
)
def test_a_rule_that_the_model_cannot_follow_is_refused(
    merge: Any, rule: Any, message: str,
    tiny_suite: Suite, quiet_trainer: NewTrainer, data: MultiTaskData,
) -> None:  # fmt: skip
    with pytest.raises(ConfigError, match=message):
        predicted(quiet_trainer(), TestTimeAdaptation(tiny_suite, merge, infer_task=rule), data)


def test_a_task_is_either_told_or_inferred(tiny_suite: Suite) -> None:
    with pytest.raises(ConfigError, match=r"The task is given as 'cars': leave out model\.infer"):
        TestTimeAdaptation(tiny_suite, WEMoE(), task="cars", infer_task="entropy")
