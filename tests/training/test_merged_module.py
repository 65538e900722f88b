"""What every module of a merge method shares: its columns, and whom `predict` answers for."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.merging.baselines import Individual
from wemoe_pl.merging.task_arithmetic import TaskArithmetic
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.lightning_noise import silence_lightning

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


# --- load_from_checkpoint ------------------------------------------------------------------------


def test_a_module_is_made_again_from_its_checkpoint_alone(
    tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"learning_rate": 0.02, "schedule": "constant", "references": False}
    module = TestTimeAdaptation(tiny_suite, WEMoE(router_depth=1), **options)
    trainer = quiet_trainer(max_steps=2)
    data = MultiTaskData(tiny_suite, batch_size=2)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    again = TestTimeAdaptation.load_from_checkpoint(tmp_path / "own.ckpt")
    assert again.options == module.options
    assert (again.suite, again.merge, again.method) == (tiny_suite, module.merge, "WEMoE")
    learned = again.trained_parameters()
    for name, weight in module.trained_parameters().items():
        torch.testing.assert_close(learned[name], weight, rtol=0, atol=0)
    given = TestTimeAdaptation.load_from_checkpoint(tmp_path / "own.ckpt", learning_rate=0.5)
    assert given.options == module.options | {"learning_rate": 0.5}
    on = quiet_trainer(max_steps=3)
    on.fit(again, data, ckpt_path=tmp_path / "own.ckpt")
    assert on.global_step == 3


def test_a_checkpoint_of_an_earlier_version_says_no_options(
    checkpoint: Path, tmp_path: Path
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    del content["wemoe_pl"]["options"]
    torch.save(content, tmp_path / "early.ckpt")
    module = TestTimeAdaptation.load_from_checkpoint(tmp_path / "early.ckpt")
    assert module.options == TestTimeAdaptation(module.suite, WEMoE()).options


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"learning_rate": "much"}, "options do not fit TestTimeAdaptation.*learning_rate"),
        ({"speed": 3}, "options do not fit TestTimeAdaptation.*speed"),
    ],
)
def test_options_that_there_are_not_are_refused(
    change: dict[str, Any], sentence: str, checkpoint: Path, tmp_path: Path
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["wemoe_pl"]["options"] |= change
    torch.save(content, tmp_path / "changed.ckpt")
    with pytest.raises(ConfigError, match=re.compile(sentence, re.DOTALL)):
        TestTimeAdaptation.load_from_checkpoint(tmp_path / "changed.ckpt")


def test_a_checkpoint_of_nothing_merged_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["wemoe_pl"]["recipe"] = {}
    torch.save(content, tmp_path / "trained.ckpt")
    with pytest.raises(
        CheckpointError,
        match="is not a checkpoint of a TestTimeAdaptation: it holds no merged model",
    ):
        TestTimeAdaptation.load_from_checkpoint(tmp_path / "trained.ckpt")


def test_a_trainer_of_ones_own_prints_no_noise(
    tiny_suite: Suite, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With Lightning's own summary, table and loggers, as it comes."""
    module = TestTimeAdaptation(tiny_suite, WEMoE(), references=False)
    data = MultiTaskData(tiny_suite, batch_size=2)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        silence_lightning()  # which `catch_warnings` has undone
        trainer = L.Trainer(
            accelerator="cpu", max_steps=1, default_root_dir=tmp_path, logger=False,
            enable_checkpointing=False,
        )  # fmt: skip
        trainer.fit(module, data)
        tested, validated = trainer.test(module, data), trainer.validate(module, data)
    noise = ("eval mode", "LeafSpec", "max_epochs")
    assert not [w for w in warned if any(word in str(w.message) for word in noise)]
    said = "".join(capfd.readouterr())
    assert "FLOPs" not in said
    assert "DataLoader 1" not in said
    assert "test/acc/mnist" in said
    assert len(tested) == len(validated) == 1
    assert tested[0]["test/acc/mnist"] == validated[0]["val/acc/mnist"]
