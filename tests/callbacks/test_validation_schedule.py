"""A fit is validated before its first step and early on, and comes to the same without it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

from wemoe_pl.callbacks.curves import Curves
from wemoe_pl.callbacks.last_checkpoint import LastCheckpoint
from wemoe_pl.callbacks.validation_schedule import (
    SHARE,
    ValidationSchedule,
    images_per_validation,
    is_validated_behind,
    steps_until,
)
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.miniature import MiniatureTask
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import VisionTask
from wemoe_pl.merging.regmean import RegMean
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.reporting.loggers import MetricsFile
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.sample_merging import SampleMerging

NewTrainer = Callable[..., L.Trainer]
LAST = 12
SCHEDULED = [0, 5, 10, LAST]


class CutShortError(Exception):
    """Ends a run."""


class CountImages(L.Callback):
    """Counts the images that a fit validates, and may end it at the n-th validation."""

    def __init__(self, ends_in: int | None = None):
        self.images, self.validations, self.ends_in = 0, 0, ends_in

    def on_validation_start(self, *_: Any) -> None:
        self.validations += 1

    def on_validation_batch_start(
        self, trainer: L.Trainer, pl_module: Any, batch: Any, *_: Any
    ) -> None:
        self.images += sum(len(images) for images, _ in batch.values())
        if self.validations == self.ends_in:
            raise CutShortError


def adapt(suite: Suite, trainer: L.Trainer, **options: Any) -> dict[str, Tensor]:
    torch.manual_seed(0)
    module = TestTimeAdaptation(suite, WEMoE(), learning_rate=0.1)
    trainer.fit(module, MultiTaskData(suite, batch_size=4, seed=0, **options))
    return {name: weight.detach().clone() for name, weight in module.trained_parameters().items()}


def test_the_steps_are_a_few_early_ones_and_the_last() -> None:
    assert list(steps_until(1)) == [0, 1]
    assert list(steps_until(5)) == [0, 5]
    assert list(steps_until(1000)) == [0, 5, 10, 20, 50, 100, 200, 500, 1000]


def test_curves_begin_before_the_first_step(tiny_suite: Suite, quiet_trainer: NewTrainer) -> None:
    schedule, curves, count = ValidationSchedule(), Curves(), CountImages()
    adapt(tiny_suite, quiet_trainer(max_steps=LAST, callbacks=[schedule, curves, count]))
    for key in ("val/acc", "val/entropy/cars", "val/diversity"):
        assert list(curves.points[key]) == SCHEDULED
    assert count.images == 16 * len(tiny_suite.tasks) * len(SCHEDULED)
    assert schedule.note == (
        "Curves are computed on the same 16 test images of each task, tables on all test images."
    )


@pytest.mark.parametrize("accumulated", [1, 3])
def test_a_fit_ends_bit_equal_with_the_schedule_and_without(
    tiny_suite: Suite, quiet_trainer: NewTrainer, accumulated: int
) -> None:
    ended, states = [], []
    for options in ({"callbacks": [ValidationSchedule()]}, {"limit_val_batches": 0}):
        trainer = quiet_trainer(
            max_steps=LAST, accumulate_grad_batches=accumulated, check_val_every_n_epoch=None,
            **options,
        )  # fmt: skip
        ended.append(adapt(tiny_suite, trainer, tasks_per_batch=3 // accumulated))
        states.append(torch.get_rng_state())
    validated, alone = ended
    assert all(torch.equal(validated[name], weight) for name, weight in alone.items())
    assert torch.equal(*states)  # validations draw no random numbers of the run's


@pytest.mark.parametrize("ends_in", [1, 2, 3])
def test_a_fit_that_is_cut_short_in_a_validation_goes_on_with_it(
    tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Path, ends_in: int
) -> None:
    def run(folder: Path, ends_in: int | None = None) -> tuple[Any, ...]:
        curves, path = Curves(), folder / "checkpoints" / "last.ckpt"
        trainer = quiet_trainer(
            max_steps=LAST,
            logger=MetricsFile(str(folder)),
            callbacks=[
                ValidationSchedule(), curves, CountImages(ends_in),
                LastCheckpoint(str(path.parent), every_n_steps=0),
            ],
            enable_checkpointing=True,
        )  # fmt: skip
        module = TestTimeAdaptation(tiny_suite, WEMoE(), learning_rate=0.1)
        start = str(path) if path.is_file() else None
        torch.manual_seed(0)
        trainer.fit(module, MultiTaskData(tiny_suite, batch_size=4, seed=0), ckpt_path=start)
        weights = [weight.tolist() for weight in module.trained_parameters().values()]
        return weights, {k: v for k, v in curves.points.items() if k.startswith("val/")}

    with pytest.raises(CutShortError):
        run(tmp_path / "cut", ends_in)
    assert run(tmp_path / "cut") == run(tmp_path / "whole")


def test_an_interval_of_its_own_comes_before_the_schedule(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    schedule, curves = ValidationSchedule(), Curves()
    trainer = quiet_trainer(
        max_steps=LAST, val_check_interval=4, check_val_every_n_epoch=None,
        callbacks=[schedule, curves],
    )  # fmt: skip
    adapt(tiny_suite, trainer)
    assert (schedule.steps, schedule.note) == ([], None)
    assert list(curves.points["val/acc"]) == [4, 8, 12]
    assert [step for step in range(1, 13) if is_validated_behind(trainer, step)] == [4, 8, 12]


@pytest.mark.parametrize("options", [{"limit_val_batches": 0}, {"fast_dev_run": 2}])
def test_who_wants_no_validation_or_only_a_trial_has_no_schedule(
    tiny_suite: Suite, quiet_trainer: NewTrainer, options: dict[str, Any]
) -> None:
    schedule = ValidationSchedule()
    adapt(tiny_suite, quiet_trainer(**{"max_steps": LAST, **options}, callbacks=[schedule]))
    assert schedule.steps == []


def test_weights_that_are_solved_for_in_the_end_are_not_validated_before(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    schedule, count = ValidationSchedule(), CountImages()
    trainer = quiet_trainer(max_steps=2, callbacks=[schedule, count])
    data = MultiTaskData(tiny_suite, stream="train", batch_size=4)
    trainer.fit(SampleMerging(tiny_suite, RegMean()), data)
    assert (schedule.steps, count.validations) == ([], 0)


@pytest.mark.parametrize("steps", [10, 200, 1000])
def test_validations_are_of_at_most_a_tenth_of_the_images_of_a_run(
    tiny_suite: Suite, steps: int
) -> None:
    size = 3000
    tasks: dict[str, VisionTask] = {
        task: MiniatureTask(task, test_size=size) for task in tiny_suite.tasks
    }
    suite = replace(tiny_suite, tasks=tasks)
    module = TestTimeAdaptation(suite, WEMoE())
    data = MultiTaskData(suite, batch_size=16)
    images = images_per_validation(module, data, steps)
    assert images is not None
    passes = len(list(steps_until(steps)))
    models = 4  # the merged one, and three that it is compared with
    most = SHARE * (steps * 16 + size * models)
    assert most * 0.9 < passes * images <= most


def test_of_few_images_all_are_validated(tiny_suite: Suite, quiet_trainer: NewTrainer) -> None:
    few: dict[str, VisionTask] = {
        task: MiniatureTask(task, test_size=10) for task in tiny_suite.tasks
    }
    schedule, count = ValidationSchedule(), CountImages()
    trainer = quiet_trainer(max_steps=5, callbacks=[schedule, count])
    adapt(replace(tiny_suite, tasks=few), trainer)
    assert (schedule.images, schedule.note) == (None, None)
    assert count.images == 2 * 10 * len(few)
