"""The guard warns of predictions that concentrate on few classes, and restores better states."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch

from wemoe_pl.callbacks.best_state import Best
from wemoe_pl.callbacks.collapse_guard import MEMORY, CollapseGuard
from wemoe_pl.callbacks.last_checkpoint import LastCheckpoint
from wemoe_pl.callbacks.validation_schedule import ValidationSchedule
from wemoe_pl.cli.main import main
from wemoe_pl.data.corruptions.task import Corruption
from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.runs.checkpoint import read_checkpoint
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.metrics import mean, spread

NewTrainer = Callable[..., L.Trainer]


def fitted(
    suite: Suite, trainer: L.Trainer, learning_rate: float, steps_seen: dict[int, float]
) -> TestTimeAdaptation:
    """A fitted module; `steps_seen` gets the mean information of every validation, by its step."""

    class Noted(TestTimeAdaptation):
        def on_validation_epoch_end(self) -> None:
            super().on_validation_epoch_end()
            steps_seen[self.trainer.global_step] = mean(self.scores.information()) or 0.0

    module = Noted(suite, WEMoE(), learning_rate=learning_rate, references=False)
    trainer.fit(module, MultiTaskData(suite, batch_size=4, test_batch_size=20))
    return module


def information(module: TestTimeAdaptation, trainer: L.Trainer) -> float:
    trainer.test(module, MultiTaskData(module.suite, test_batch_size=20), verbose=False)
    return mean(module.test_results["information"]) or 0.0


def validating(guard: CollapseGuard, **options: Any) -> dict[str, Any]:
    return {"max_steps": 6, "val_check_interval": 2, "callbacks": [guard], **options}


@pytest.mark.parametrize("learning_rate", [1e-9, 0.1, 3.0])
def test_restore_ends_with_the_best_state_of_those_validated(
    tiny_suite: Suite, quiet_trainer: NewTrainer, learning_rate: float
) -> None:
    guard, seen = CollapseGuard("restore"), dict[int, float]()
    trainer = quiet_trainer(**validating(guard, num_sanity_val_steps=-1))
    module = fitted(tiny_suite, trainer, learning_rate, seen)
    assert set(seen) == {0, 2, 4, 6}
    best = max(seen, key=lambda step: seen[step])
    assert guard.report == {
        "action": "restore", "score": "information", "collapsed": {}, "restored_step": best,
    }  # fmt: skip
    assert information(module, trainer) == pytest.approx(seen[best], abs=1e-6)


def test_what_is_restored_is_what_the_last_checkpoint_holds(
    tiny_suite: Suite, quiet_trainer: NewTrainer, tmp_path: Any
) -> None:
    guard = CollapseGuard("restore")
    callbacks = [LastCheckpoint(str(tmp_path / "checkpoints")), guard]
    options = validating(guard, num_sanity_val_steps=-1, enable_checkpointing=True)
    trainer = quiet_trainer(**options | {"callbacks": callbacks})
    module = fitted(tiny_suite, trainer, 3.0, {})
    saved = read_checkpoint(RunFolder(tmp_path).last_checkpoint)["state_dict"]
    assert guard.best is not None
    for name, weight in module.trained_parameters().items():
        assert torch.equal(saved[name], weight)
        assert torch.equal(saved[name], guard.best.weights[name])


def test_to_restore_without_validations_is_refused(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    trainer = quiet_trainer(**validating(CollapseGuard("restore"), limit_val_batches=0))
    with pytest.raises(ConfigError, match=r"limit_val_batches is 0, .*: leave out trainer\.lim"):
        fitted(tiny_suite, trainer, 0.1, {})
    fitted(tiny_suite, quiet_trainer(**validating(CollapseGuard(), limit_val_batches=0)), 0.1, {})


def test_a_run_that_validated_nothing_to_restore_says_so(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    never = quiet_trainer(**validating(CollapseGuard("restore"), val_check_interval=7))
    with pytest.warns(UserWarning, match="no state was validated that could be chosen: the la"):
        fitted(tiny_suite, never, 0.1, {})


@pytest.mark.parametrize("action", ["warn", "off"])
def test_without_restore_the_last_state_stays(
    tiny_suite: Suite, quiet_trainer: NewTrainer, action: Any
) -> None:
    guard, seen = CollapseGuard(action), dict[int, float]()
    trainer = quiet_trainer(**validating(guard))
    module = fitted(tiny_suite, trainer, 3.0, seen)
    assert guard.report["restored_step"] is None
    assert information(module, trainer) == pytest.approx(seen[6], abs=1e-6)


def watched(guard: CollapseGuard, collapsing_from: int, steps: int) -> None:
    """Predictions of ten classes alike, and then of one."""
    for step in range(steps):
        counts = torch.full((10,), 1.6) if step < collapsing_from else 16 * torch.eye(10)[0]
        guard._histograms["eurosat"] = MEMORY * guard._histograms.get("eurosat", 0) + counts
        if step >= 10 and "eurosat" not in guard.collapsed:
            guard.watch("eurosat", step, spread(guard._histograms["eurosat"]))


def test_a_task_whose_predictions_concentrate_is_named_once_and_early() -> None:
    guard = CollapseGuard()
    with pytest.warns(UserWarning, match="collapsing") as warned:
        watched(guard, collapsing_from=30, steps=100)
    [warning] = warned
    assert str(warning.message).startswith("The predictions for 'eurosat' are collapsing: at step")
    assert 30 < guard.collapsed["eurosat"] < 45


def test_a_task_that_collapses_from_the_first_step_on_is_named_too() -> None:
    guard = CollapseGuard()
    with pytest.warns(UserWarning, match="for 'eurosat' are collapsing"):
        watched(guard, collapsing_from=6, steps=60)
    assert guard.collapsed["eurosat"] < 25


def test_healthy_predictions_are_not_warned_of(
    tiny_suite: Suite, quiet_trainer: NewTrainer, recwarn: pytest.WarningsRecorder
) -> None:
    guard = CollapseGuard()
    trainer = quiet_trainer(max_steps=30, limit_val_batches=0, callbacks=[guard])
    fitted(tiny_suite, trainer, 1e-9, {})
    assert guard.report == {
        "action": "warn", "score": "information", "collapsed": {}, "restored_step": None,
    }  # fmt: skip
    assert set(guard._widest) == set(tiny_suite.tasks)
    assert not [w for w in recwarn if "collapsing" in str(w.message)]


class OwnStep(TestTimeAdaptation):
    """A training step of one's own, which returns a loss and nothing else."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        losses = [outputs.logits.square().mean() for outputs in self.outputs(batch).values()]
        return torch.stack(losses).sum()


def by_own_steps(suite: Suite, trainer: L.Trainer) -> OwnStep:
    module = OwnStep(suite, WEMoE(), learning_rate=0.1, references=False)
    trainer.fit(module, MultiTaskData(suite, batch_size=4, test_batch_size=20))
    return module


def test_a_step_of_ones_own_that_counts_nothing_is_watched_by_validations(
    tiny_suite: Suite,
    quiet_trainer: NewTrainer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spreads = iter([0.8, 0.7, 0.35, 0.2])  # at step 0, 2, 4 and 6, as shares of ten classes
    monkeypatch.setattr(
        "wemoe_pl.training.metrics.TaskScores.diversity",
        lambda scores: {"cars": 0.5, "mnist": next(spreads)},
    )
    monkeypatch.setattr("wemoe_pl.training.scoring.SHOWN_METRICS", [])
    guard = CollapseGuard("restore")
    trainer = quiet_trainer(**validating(guard, num_sanity_val_steps=-1))
    with (
        caplog.at_level("INFO"),
        pytest.warns(
            UserWarning, match=r"'mnist' are collapsing: at step 4 .* over 3\.5 classes, "
        ),
    ):
        by_own_steps(tiny_suite, trainer)
    assert guard.report["collapsed"] == {"mnist": 4}
    assert guard.best is not None
    assert caplog.text.count("looks only at validations") == 1


@pytest.mark.parametrize("action", ["warn", "restore", "off"])
def test_a_step_of_ones_own_is_no_trouble_to_a_guard(
    tiny_suite: Suite, quiet_trainer: NewTrainer, action: Any
) -> None:
    guard = CollapseGuard(action)
    by_own_steps(tiny_suite, quiet_trainer(**validating(guard)))
    assert guard._histograms == {}
    assert (guard.best is not None) == (action == "restore")


def test_what_steps_count_is_not_compared_with_a_validation() -> None:
    guard = CollapseGuard()
    guard.watch("eurosat", 0, 200.0)
    trainer = SimpleNamespace(accumulate_grad_batches=1, global_step=50)
    module = object.__new__(TestTimeAdaptation)
    torch.nn.Module.__init__(module)
    module.log = lambda *_: None  # type: ignore[method-assign]
    outputs = {"predicted": {"eurosat": torch.full((10,), 2)}}
    guard.on_train_batch_end(trainer, module, outputs, {}, 0)  # type: ignore[arg-type]
    assert guard._widest == {"eurosat": pytest.approx(10.0)}
    assert guard.collapsed == {}


def test_a_resumed_run_goes_on_with_what_the_guard_knew() -> None:
    guard = CollapseGuard("restore")
    guard.best = Best(0.5, 100, {"router": torch.ones(2)})
    guard.collapsed = {"dtd": 40}
    guard._histograms = {"dtd": torch.ones(3)}
    guard._widest = {"dtd": 2.5}
    resumed = CollapseGuard("restore")
    resumed.load_state_dict(guard.state_dict())
    assert resumed.best == guard.best
    assert resumed.report == guard.report
    assert resumed.state_dict() == guard.state_dict()


# --- by agreement ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "score", "complaint"),
    [
        ("warn", "agreement", r"^guard\.score is agreement, but guard\.action is warn, .*: set"),
        ("restore", "accuracy", r"^guard\.score is 'accuracy': choose information or agreement\.$"),
    ],
)
def test_a_score_that_chooses_nothing_is_refused(action: Any, score: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        CollapseGuard(action, score)


def scored_by_agreement(
    suite: Suite, trainer: L.Trainer, seen: dict[int, float], **data: Any
) -> TestTimeAdaptation:
    """A fitted module; `seen` gets the mean agreement of every validation, by its step."""

    class Noted(TestTimeAdaptation):
        def on_validation_epoch_end(self) -> None:
            super().on_validation_epoch_end()
            seen[self.trainer.global_step] = mean(self.scores.agreement()) or 0.0

    module = Noted(suite, WEMoE(), learning_rate=1.0)
    trainer.fit(module, MultiTaskData(suite, batch_size=4, test_batch_size=20, **data))
    return module


def test_restore_by_agreement_ends_with_the_state_that_agrees_most(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    guard, seen = CollapseGuard("restore", "agreement"), dict[int, float]()
    trainer = quiet_trainer(**validating(guard, num_sanity_val_steps=-1))
    module = scored_by_agreement(tiny_suite, trainer, seen)
    assert set(seen) == {0, 2, 4, 6}
    assert len(set(seen.values())) > 1
    assert guard.report["score"] == "agreement"
    assert guard.report["restored_step"] == max(seen, key=lambda step: seen[step])
    assert not module.scoring.asks_experts
    trainer.test(module, MultiTaskData(tiny_suite, test_batch_size=20), verbose=False)
    tested = module.test_results["agreement"]
    assert mean(tested) == pytest.approx(max(seen.values()))


@pytest.mark.parametrize("order", [1, -1])
def test_agreement_is_asked_for_by_the_schedule_too(
    tiny_suite: Suite, quiet_trainer: NewTrainer, order: int
) -> None:
    guard, seen = CollapseGuard("restore", "agreement"), dict[int, float]()
    callbacks = [guard, ValidationSchedule()][::order]
    scored_by_agreement(tiny_suite, quiet_trainer(max_steps=5, callbacks=callbacks), seen)
    assert set(seen) == {0, 5}
    assert all(seen.values())


def test_a_job_that_compares_with_no_experts_is_refused(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    module = TestTimeAdaptation(tiny_suite, WEMoE(), references=False)
    trainer = quiet_trainer(**validating(CollapseGuard("restore", "agreement")))
    with pytest.raises(ConfigError, match=r"^guard\.score is agr.*references to true, or "):
        trainer.fit(module, MultiTaskData(tiny_suite, batch_size=4))


def test_agreement_on_corrupted_images_is_warned_of(
    tiny_suite: Suite, quiet_trainer: NewTrainer
) -> None:
    trainer = quiet_trainer(
        max_steps=1, val_check_interval=1, callbacks=[CollapseGuard("restore", "agreement")]
    )
    with pytest.warns(UserWarning, match=r"may be poor on them.* Set guard\.score to information"):
        scored_by_agreement(tiny_suite, trainer, {}, corruption=Corruption("contrast", 2))


def test_a_run_by_agreement_says_so_in_its_folder(tiny_suite_yaml: Path, tmp_path: Path) -> None:
    job = ["fit", "--config", "adapt_miniature", "--suite", str(tiny_suite_yaml), "--quiet",
           "--data.batch_size", "2", "--trainer.max_steps", "2", "--trainer.accelerator", "cpu",
           "--guard.action", "restore", "--guard.score", "agreement"]  # fmt: skip
    assert main([*job, "--out", str(tmp_path / "run")]) == 0
    folder = RunFolder(tmp_path / "run")
    results = folder.read_results()
    assert results is not None
    assert results["guard"]["score"] == "agreement"
    assert results["guard"]["restored_step"] in (0, 2)
    assert (
        "restored, which was the best by agreement, a score without labels"
        in folder.summary.read_text()
    )
    best = read_checkpoint(folder.last_checkpoint)["callbacks"]["CollapseGuard"]["best"]
    assert 0 <= best["agreement"] <= 1
    assert results["adaptation"]["before"]["scores"].keys() >= {"agreement"}


def test_a_run_without_references_cannot_be_guarded_by_agreement(
    tiny_suite_yaml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = ["fit", "--config", "adapt_miniature", "--suite", str(tiny_suite_yaml), "--quiet",
           "--trainer.accelerator", "cpu", "--model.references", "false",
           "--guard.action", "restore", "--guard.score", "agreement"]  # fmt: skip
    assert main([*job, "--out", str(tmp_path / "run")]) == 1
    assert "guard.score is agreement, but the job does not compare" in capsys.readouterr().err
