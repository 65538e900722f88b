"""The lines of a run that has no terminal: when they come, and what they say."""

import re
from collections.abc import Callable

import lightning as L
import pytest

from wemoe_pl.callbacks.progress import StepProgressBar
from wemoe_pl.callbacks.progress_lines import ProgressLines, counted
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.training.adapt import TestTimeAdaptation

MakeTrainer = Callable[..., L.Trainer]


def run(quiet_trainer: MakeTrainer, suite: Suite, *callbacks: L.Callback) -> None:
    """Fit three steps, the second of which is validated, and test."""
    trainer = quiet_trainer(
        max_steps=3, val_check_interval=2, check_val_every_n_epoch=None,
        enable_progress_bar=True, callbacks=[*callbacks],
    )  # fmt: skip
    module, data = TestTimeAdaptation(suite, WEMoE(), references=False), MultiTaskData(suite)
    trainer.fit(module, data)
    trainer.test(module, data, verbose=False)


def test_every_stage_says_how_far_it_is_and_a_fit_how_long_it_takes(
    quiet_trainer: MakeTrainer, tiny_suite: Suite, capsys: pytest.CaptureFixture[str]
) -> None:
    run(quiet_trainer, tiny_suite, StepProgressBar(), ProgressLines(seconds=0))
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"Training: step 1 of 3, entropy \d\.\d+, \d+ s left", lines[0])
    batches = len(tiny_suite.tasks)
    assert f"Validating: 1 of {batches} batches" in lines
    [last] = [line for line in lines if line.startswith("Training: step 3 of 3")]
    assert re.search(r", entropy .*, accuracy at step \d \d+\.\d%$", last)  # and no time is left
    assert lines[-1] == f"Scoring: {batches} of {batches} batches"


def test_nothing_is_said_before_it_is_time(
    quiet_trainer: MakeTrainer, tiny_suite: Suite, capsys: pytest.CaptureFixture[str]
) -> None:
    run(quiet_trainer, tiny_suite, StepProgressBar(), ProgressLines(seconds=1000))
    assert capsys.readouterr().out == ""


def test_nothing_is_said_beside_a_bar_that_is_drawn(
    quiet_trainer: MakeTrainer, tiny_suite: Suite, capsys: pytest.CaptureFixture[str]
) -> None:
    bar = StepProgressBar(console_kwargs={"force_terminal": True})
    run(quiet_trainer, tiny_suite, bar, ProgressLines(seconds=0))
    assert not re.search(r"^(Training: step|Scoring:)", capsys.readouterr().out, re.MULTILINE)


def test_nothing_is_said_of_a_run_that_wants_no_bar(
    quiet_trainer: MakeTrainer, tiny_suite: Suite, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = quiet_trainer(max_steps=1, callbacks=[ProgressLines(seconds=0)])
    trainer.fit(TestTimeAdaptation(tiny_suite, WEMoE()), MultiTaskData(tiny_suite))
    assert capsys.readouterr().out == ""


def test_batches_of_several_loaders_are_one_row() -> None:
    assert counted([3, 2, 5], 2, 1) == "7 of 10 batches"
