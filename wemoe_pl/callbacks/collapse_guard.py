"""Guard against collapse: predictions of one class for all images have the least entropy."""

from collections.abc import Mapping
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from torch import Tensor

from wemoe_pl.callbacks.best_state import Best, better, recalled
from wemoe_pl.errors import ConfigError
from wemoe_pl.system.warn import warn
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.metrics import spread
from wemoe_pl.training.scoring import check_asks_experts
from wemoe_pl.training.shown_metrics import CHOSEN_BY, POOR_EXPERTS, LabelFreeScore

MEMORY = 0.9  # the share of past predictions that is kept per step: about ten steps count
FEWER = 0.5  # a task collapses if its predictions spread over less than this share of the most


class CollapseGuard(L.Callback):
    """The guard watches the classes that are predicted for each task while a model adapts.

    It needs no labels. It warns when the predictions of a task spread over fewer than half as many
    classes as at their widest. The number of classes is exp(H) of the histogram of predictions over
    the last steps, and is logged as a share of all classes (`train/diversity/<task>`). If your own
    training step does not return counts as `predicted`, the guard looks at validations instead. It
    can also end a run with the validated state that has the largest mean score over tasks. With
    `trainer.num_sanity_val_steps: -1`, the initial state is validated too.

    Args:
        action: the action: "warn"; "restore" also goes back to the best state; "off" does nothing.
        score: the score of the best state to "restore": the most "information" about the images, or
            the largest "agreement" with the experts, which every validation then asks.
    """

    def __init__(
        self,
        action: Literal["warn", "restore", "off"] = "warn",
        score: LabelFreeScore = "information",
    ):
        check_score(action, score)
        self.action, self.score = action, score
        self.best: Best | None = None
        self.collapsed: dict[str, int] = {}
        self._predicted: dict[str, Tensor] = {}  # in the batches of the current step so far
        self._histograms: dict[str, Tensor] = {}
        self._widest: dict[str, float] = {}
        self._is_said = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Make validations ask the experts, if agreement with them chooses the best state."""
        fitting = stage == TrainerFn.FITTING
        if fitting and self.score == "agreement" and isinstance(pl_module, TestTimeAdaptation):
            check_asks_experts(pl_module, "guard.score")
            pl_module.scoring.asks_experts = True
            if getattr(getattr(trainer, "datamodule", None), "corruption", None) is not None:
                rank_zero_only(warn)(f"{POOR_EXPERTS} Set guard.score to information.")

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Stop later validations from asking the experts."""
        if self.score == "agreement" and isinstance(pl_module, TestTimeAdaptation):
            pl_module.scoring.asks_experts = False

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the predictions of each whole step, and warn about each task at most once."""
        if self.action == "off" or not isinstance(pl_module, TestTimeAdaptation):
            return
        if not (isinstance(outputs, Mapping) and "predicted" in outputs):
            self.say_once_what_is_watched()
            return
        self._predicted |= outputs["predicted"]
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        settled = trainer.global_step >= 1 / (1 - MEMORY)
        predictions, self._predicted = self._predicted, {}
        for task, predicted in predictions.items():
            if task not in self._histograms:
                self._histograms[task] = torch.zeros_like(predicted, dtype=torch.float)
                self._widest.pop(task, None)  # a validation's, which has more images than steps
            seen = self._histograms[task]
            histogram = self._histograms[task] = MEMORY * seen + predicted
            now = spread(histogram)
            pl_module.log(f"train/diversity/{task}", now / len(histogram))
            if settled:
                self.watch(task, trainer.global_step, now)

    def watch(self, task: str, step: int, now: float) -> None:
        """Compare the spread of a task's predictions with the widest so far, and warn once."""
        before = self._widest[task] = max(now, self._widest.get(task, 0.0))
        if now < FEWER * before and task not in self.collapsed:
            self.collapsed[task] = step
            rank_zero_only(warn)(
                f"The predictions for '{task}' are collapsing: at step {step} they spread over "
                f"{now:.1f} classes, and earlier over {before:.1f}. Set model.objective to "
                "InformationMaximisation, or guard.action to restore."
            )

    def say_once_what_is_watched(self) -> None:
        """Say in the first step that steps are not watched."""
        if not self._is_said:
            rank_zero_info(
                "The training step does not return `predicted`, which tells how often each class "
                "was predicted, so the guard against collapse looks only at validations."
            )
        self._is_said = True

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Watch the predictions, unless those of steps are counted, and keep the best state."""
        fitting = trainer.state.fn == TrainerFn.FITTING
        if self.action == "off" or not fitting or not isinstance(pl_module, TestTimeAdaptation):
            return
        if not self._histograms:
            for task, share in pl_module.scores.diversity().items():
                classes = pl_module.classifier.num_classes[task]
                self.watch(task, trainer.global_step, share * classes)
        if self.action == "restore":
            self.best = better(self.best, pl_module, self.score, trainer.global_step)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Go back to the best state; checkpoints are saved after this."""
        if self.best is None or not isinstance(pl_module, TestTimeAdaptation):
            warn_of_no_choice(self.action)
            return
        pl_module.load_state_dict(self.best.weights, strict=False)
        rank_zero_info(
            f"The state of step {self.best.step} is restored: by {self.score}, which needs no "
            "labels, it is the best state that was validated."
        )

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Refuse a run without validations, or a best state of another model."""
        check_validates(self.action, trainer)
        if self.best is not None and isinstance(pl_module, TestTimeAdaptation):
            self.best.check(pl_module)

    @property
    def report(self) -> dict[str, Any]:
        """Return the entry of `results.json`: the steps of collapses and of the restored state."""
        return {
            "action": self.action,
            "score": self.score,
            "collapsed": self.collapsed,
            "restored_step": self.best.step if self.best else None,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run goes on with."""
        return {
            "best": self.best.saved(self.score) if self.best else None,
            "collapsed": self.collapsed,
            "histograms": self._histograms,
            "widest": self._widest,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the state of an interrupted run."""
        self.best = recalled(state_dict["best"], self.score)
        self.collapsed = state_dict["collapsed"]
        self._histograms = state_dict["histograms"]
        self._widest = state_dict["widest"]


def check_validates(action: str, trainer: L.Trainer) -> None:
    """Raise `ConfigError` if a state is to be chosen by validations that there are not."""
    if action == "restore" and not trainer.limit_val_batches:
        raise ConfigError(
            "guard.action is restore, which chooses among the validated states, but "
            "trainer.limit_val_batches is 0, so no state is validated: leave out "
            "trainer.limit_val_batches, or set guard.action to warn."
        )


def warn_of_no_choice(action: str) -> None:
    """Warn if a state was to be chosen, and none was validated."""
    if action == "restore":
        rank_zero_only(warn)(
            "guard.action is restore, but no state was validated that could be chosen: the last "
            "one is kept. Set trainer.val_check_interval below trainer.max_steps."
        )


def check_score(action: str, score: str) -> None:
    """Raise `ConfigError` for a score that is unknown, or that the action would not use."""
    if score not in CHOSEN_BY:
        raise ConfigError(f"guard.score is '{score}': choose {' or '.join(CHOSEN_BY)}.")
    if score != "information" and action != "restore":
        raise ConfigError(
            f"guard.score is {score}, but guard.action is {action}, which chooses no state and so "
            "ignores the score: set guard.action to restore, or leave guard.score out."
        )
