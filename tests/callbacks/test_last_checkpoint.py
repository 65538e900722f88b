"""Wherever a fit is interrupted, it goes on from a whole step and ends as if it had not been."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import lightning as L
import pytest
import torch
from torch import Tensor

from wemoe_pl.callbacks.collapse_guard import CollapseGuard
from wemoe_pl.callbacks.curves import Curves
from wemoe_pl.callbacks.last_checkpoint import LastCheckpoint, check_together
from wemoe_pl.data.datamodule import MultiTaskData, TaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import CheckpointError, ConfigError, WeMoEError
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.reporting.loggers import MetricsFile
from wemoe_pl.runs.checkpoint import read_checkpoint
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.finetune import ExpertFineTuning
from wemoe_pl.training.module import MultiTaskModule

STEPS = 8
EVERY = 3  # steps between validations
SPEED = "train/images_per_second"


class PowerCutError(Exception):
    """Ends a run."""


class PowerCut(L.Callback):
    """Ends a run at the n-th call of a hook."""

    def __init__(self, hook: str, call: int):
        self.left = call
        setattr(self, hook, self.count)

    def count(self, *_: Any, **__: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise PowerCutError


class Ended(NamedTuple):
    """What a fit comes to."""

    weights: Mapping[str, Tensor]
    points: dict[str, dict[int, float]]
    lines: list[dict[str, str]]
    guard: dict[str, Any]


Build = Callable[[], tuple[MultiTaskModule, L.LightningDataModule]]


@pytest.fixture
def fit(quiet_trainer: Callable[..., L.Trainer], tmp_path: Path) -> Callable[..., Ended]:
    """`fit(build, cut)`: fit until the cut, then in a new trainer from the checkpoint."""

    def run(build: Build, *cuts: PowerCut, accumulated: int = 1, every: int = 0) -> Ended:
        folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        for cut in (*cuts, None):
            torch.manual_seed(0)
            module, data = build()
            curves, guard = Curves(), CollapseGuard("restore")
            last = LastCheckpoint(str(folder / "checkpoints"), every_n_steps=every)
            logger = MetricsFile(str(folder))
            start = (
                RunFolder(folder).last_checkpoint
                if RunFolder(folder).last_checkpoint.is_file()
                else None
            )
            logger.first_step = read_checkpoint(start)["global_step"] if start else 0
            trainer = quiet_trainer(
                max_steps=STEPS,
                accumulate_grad_batches=accumulated,
                val_check_interval=EVERY * accumulated,
                check_val_every_n_epoch=None,
                enable_checkpointing=True,
                log_every_n_steps=2,
                num_sanity_val_steps=-1,
                logger=logger,
                callbacks=[guard, curves, last, *([cut] if cut else [])],
            )
            if cut is None:
                trainer.fit(module, data, ckpt_path=start)
                break
            with pytest.raises(PowerCutError) as error:
                trainer.fit(module, data, ckpt_path=start)
            kept = f"Step {read_checkpoint(last.path)['global_step']} of {STEPS} is kept in"
            assert error.value.__notes__ == [
                f"{kept} {last.path}: the same command goes on from there."
            ]
        points = {key: values for key, values in curves.points.items() if key != SPEED}
        return Ended(module.trained_parameters(), points, lines_of(logger.path), guard.report)

    return run


def lines_of(path: Path) -> list[dict[str, str]]:
    """The lines of a file of metrics, without what a clock says."""
    header, *lines = (line.split(",") for line in path.read_text().splitlines())
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    return [{key: value for key, value in row.items() if key != SPEED} for row in rows]


def assert_same(one: Ended, other: Ended) -> None:
    torch.testing.assert_close(dict(one.weights), dict(other.weights), rtol=0, atol=0)
    assert one.points == other.points
    assert one.lines == other.lines
    assert one.guard == other.guard


@pytest.fixture
def adaptation(tiny_suite: Suite) -> Callable[[int | None], Build]:
    """`adaptation(tasks_per_batch)`: what builds the main job."""

    def build(tasks_per_batch: int | None = None) -> Build:
        return lambda: (
            TestTimeAdaptation(tiny_suite, WEMoE(), learning_rate=0.05),
            MultiTaskData(tiny_suite, batch_size=2, tasks_per_batch=tasks_per_batch),
        )

    return build


@pytest.fixture(scope="module")
def known() -> dict[tuple[int | None, int], Ended]:
    """What fits have come to that were never interrupted."""
    return {}


@pytest.fixture
def uninterrupted(
    fit: Callable[..., Ended], adaptation: Callable[..., Build], known: dict[Any, Ended]
) -> Callable[..., Ended]:
    """`uninterrupted(tasks_per_batch, accumulated)`: what a whole fit comes to, made once."""

    def run(tasks_per_batch: int | None = None, accumulated: int = 1) -> Ended:
        key = (tasks_per_batch, accumulated)
        if key not in known:
            known[key] = fit(adaptation(tasks_per_batch), accumulated=accumulated)
        return known[key]

    return run


@pytest.mark.parametrize(
    ("moments", "every"),
    [
        ("on_train_batch_start 5", 0),
        ("on_train_batch_start 4", 0),
        ("on_train_batch_start 5", 1),
        ("on_train_batch_end 2", 1),
        ("on_train_batch_end 5", 0),
        ("on_validation_batch_start 4", 0),  # the first is before the first step
        ("on_validation_batch_start 8", 2),
        ("on_validation_end 3", 1),
        ("on_train_epoch_end 1", 2),
        ("on_train_batch_start 4, on_train_batch_start 1", 0),
        ("on_validation_batch_start 4, on_validation_batch_start 1", 0),
        ("on_train_batch_start 2, on_train_batch_start 2, on_train_batch_start 3", 0),
    ],
)
def test_a_fit_that_goes_on_ends_as_one_that_was_never_interrupted(
    fit: Callable[..., Ended], adaptation: Callable[..., Build],
    uninterrupted: Callable[..., Ended], moments: str, every: int,
) -> None:  # fmt: skip
    named = (moment.split() for moment in moments.split(", "))
    cuts = [PowerCut(hook, int(call)) for hook, call in named]
    assert_same(fit(adaptation(), *cuts, every=every), uninterrupted())


@pytest.mark.parametrize("batch", [5, 6, 7, 12])
def test_a_step_that_was_cut_short_is_made_again_as_a_whole(
    fit: Callable[..., Ended], adaptation: Callable[..., Build],
    uninterrupted: Callable[..., Ended], batch: int,
) -> None:  # fmt: skip
    cut = PowerCut("on_train_batch_start", batch)
    assert_same(fit(adaptation(1), cut, accumulated=3), uninterrupted(1, accumulated=3))


def test_random_numbers_go_on_too(
    fit: Callable[..., Ended], tiny_suite: Suite, tmp_path: Path
) -> None:
    """As of a backbone with dropout."""
    options = {**tiny_suite.backbone.options, "proj_drop_rate": 0.2}
    suite = replace(tiny_suite, backbone=replace(tiny_suite.backbone, options=options))

    def build() -> tuple[MultiTaskModule, L.LightningDataModule]:
        return ExpertFineTuning(suite, "cars", learning_rate=1e-3), TaskData(suite, "cars", 4)

    for cut in (PowerCut("on_train_batch_start", 5), PowerCut("on_validation_batch_start", 3)):
        assert_same(fit(build, cut), fit(build))


def test_a_checkpoint_of_the_last_step_says_that_training_has_ended(
    fit: Callable[..., Ended], adaptation: Callable[..., Build], tmp_path: Path
) -> None:
    fit(adaptation(), PowerCut("on_train_epoch_end", 1), every=1)
    [path] = tmp_path.glob("*/checkpoints/last.ckpt")
    assert read_checkpoint(path)["global_step"] == STEPS


def test_a_new_run_lets_go_of_what_an_earlier_one_has_left(
    fit: Callable[..., Ended], adaptation: Callable[..., Build], quiet_trainer: Any, tmp_path: Path
) -> None:
    last = LastCheckpoint(str(tmp_path / "checkpoints"))
    last.path.parent.mkdir()
    for left in (last.path, tmp_path / "results.json"):
        left.write_text("of an earlier run")
    module, data = adaptation()()
    trainer = quiet_trainer(
        max_steps=2, callbacks=[PowerCut("on_train_batch_start", 1), last],
        enable_checkpointing=True,
    )  # fmt: skip
    with pytest.raises(PowerCutError) as error:
        trainer.fit(module, data)
    assert not last.path.exists()
    assert not (tmp_path / "results.json").exists()
    assert not hasattr(error.value, "__notes__")


def test_what_is_not_a_whole_step_is_not_saved(
    adaptation: Callable[..., Build], quiet_trainer: Any, tmp_path: Path
) -> None:
    """An optimizer that fails may have changed some weights and not others."""
    last = LastCheckpoint(str(tmp_path / "checkpoints"), every_n_steps=2)
    module, data = adaptation()()
    step = PowerCut("lr_scheduler_step", 4)
    module.lr_scheduler_step = step.count  # type: ignore[method-assign]
    trainer = quiet_trainer(max_steps=5, callbacks=[last], enable_checkpointing=True)
    last.begins_anew = True
    with pytest.raises(PowerCutError) as error:
        trainer.fit(module, data)
    [note] = error.value.__notes__
    assert note.endswith("last.ckpt: the same command without --fresh goes on from there.")
    assert trainer.global_step == 4
    assert read_checkpoint(last.path)["global_step"] == 2


def test_a_checkpoint_in_place_is_named_though_the_other_process_is_gone(
    adaptation: Callable[..., Build], quiet_trainer: Any, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Lightning waits for it when the file is written, and raises."""

    def wait(name: str | None = None) -> None:
        if name == "Trainer.save_checkpoint":
            raise RuntimeError("[gloo/transport/tcp/pair.cc] Connection closed by peer")

    last = LastCheckpoint(str(tmp_path / "checkpoints"), every_n_steps=2)
    trainer = quiet_trainer(max_steps=5, callbacks=[last], enable_checkpointing=True)
    monkeypatch.setattr(trainer.strategy, "barrier", wait)
    with pytest.raises(RuntimeError, match="closed by peer") as error:
        trainer.fit(*adaptation()())
    assert error.value.__notes__[0].startswith("Step 2 of 5 is kept in ")
    assert read_checkpoint(last.path)["global_step"] == 2


@pytest.mark.parametrize("every", [-1, -100])
def test_an_interval_is_a_number_from_0(every: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"every_n_steps is {every}: give a number from 0"):
        LastCheckpoint(str(tmp_path), every)


def test_a_full_disk_leaves_the_last_checkpoint_whole(
    adaptation: Callable[..., Build], quiet_trainer: Any, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    def fill_the_disk(checkpoint: Any, file: Any) -> None:
        if checkpoint["global_step"] > 2:
            file.write(b"half")
            raise OSError(28, "No space left on device")
        save(checkpoint, file)

    save = torch.save
    monkeypatch.setattr(torch, "save", fill_the_disk)
    last = LastCheckpoint(str(tmp_path / "checkpoints"), every_n_steps=1)
    module, data = adaptation()()
    trainer = quiet_trainer(max_steps=5, callbacks=[last], enable_checkpointing=True)
    with pytest.raises(WeMoEError, match=r"Cannot write .*last\.ckpt: No space left") as error:
        trainer.fit(module, data)
    assert error.value.__notes__[0].startswith("Step 2 of 5 is kept in ")
    assert read_checkpoint(last.path)["global_step"] == 2
    assert [path.name for path in last.path.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize(("first", "own", "others_differ"), [(4, 4, False), (4, 0, True)])
def test_machines_that_do_not_see_the_checkpoint_are_told_to(
    first: int, own: int, others_differ: bool
) -> None:
    strategy = SimpleNamespace(
        broadcast=lambda _: first, reduce_boolean_decision=lambda differs, all: differs
    )
    trainer: Any = SimpleNamespace(strategy=strategy)
    told = (
        "goes on from step 4, but other processes do not see the checkpoint of that step: let all"
    )
    with pytest.raises(CheckpointError, match=told) if others_differ else nullcontext():
        check_together(trainer, own)
