"""What a validation and a test log, under every trainer."""

from collections.abc import Callable

import lightning as L
import pytest

from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.training.adapt import TestTimeAdaptation

NewTrainer = Callable[..., L.Trainer]
TASKS = ["cars", "dtd", "mnist"]


def test_what_is_logged_has_the_keys_of_the_dashboard(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    trainer = quiet_trainer()
    trainer.test(TestTimeAdaptation(tiny_suite, WEMoE()), MultiTaskData(tiny_suite), verbose=False)
    means = {f"test/{name}" for name in ("acc", "entropy", "agreement", "information", "diversity")}
    expected = means | {f"{part}/{task}" for part in (*means, "routing") for task in TASKS}
    assert set(trainer.logged_metrics) == expected
    trainer.validate(
        TestTimeAdaptation(tiny_suite, WEMoE()), MultiTaskData(tiny_suite), verbose=False
    )
    means = {f"val/{name}" for name in ("acc", "entropy", "information", "diversity")}
    assert set(trainer.logged_metrics) == means | {f"{m}/{task}" for m in means for task in TASKS}


def test_a_trainer_scores_in_every_stage_and_says_nothing_of_it(
    tiny_suite: Suite, quiet_trainer: NewTrainer, caplog: pytest.LogCaptureFixture
) -> None:
    module = TestTimeAdaptation(tiny_suite, WEMoE(), references=False)
    trainer, data = quiet_trainer(max_steps=1), MultiTaskData(tiny_suite, batch_size=2)
    with caplog.at_level("INFO", logger="lightning.pytorch"):
        trainer.fit(module, data)
        trainer.test(module, data, verbose=False)
    assert "callbacks" not in caplog.text
    assert {"fit", "test", "build"} <= set(module.seconds)
    assert "test/acc" in trainer.logged_metrics


def test_a_module_of_another_trainer_is_scored_too(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    module = TestTimeAdaptation(tiny_suite, WEMoE(), references=False)
    for trainer in (quiet_trainer(), quiet_trainer()):
        trainer.validate(module, MultiTaskData(tiny_suite), verbose=False)
        assert "val/acc" in trainer.logged_metrics
