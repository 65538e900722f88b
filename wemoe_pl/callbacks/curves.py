"""The curves of a run: what a step is like beyond its loss, and all that was logged, by step."""

import math
import time
from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim import Optimizer

from wemoe_pl.errors import WeMoEError
from wemoe_pl.training.module import MultiTaskModule


class Curves(L.Callback):
    """Logs the learning rate, the gradient's norm and the speed of a fit, and keeps every curve.

    Logged are `train/learning_rate`, `train/gradient_norm` (of all that is trained, in the L2
    norm) and `train/images_per_second` (loading included).

    Attributes:
        points: by metric, its values by optimiser step: of `train/…` every
            `trainer.log_every_n_steps`, of `val/…` at every validation.
    """

    def __init__(self) -> None:
        self.points: dict[str, dict[int, float]] = {}
        self._since: float | None = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Log the rate at which the step is made."""
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        if groups:  # there are none where weights are computed from samples
            pl_module.log("train/learning_rate", groups[0]["lr"])
        if self._since is None:
            self._since = time.perf_counter()

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer
    ) -> None:
        """Log how large the gradient is, and look at it before a step is made with it.

        Raises:
            WeMoEError: it is not finite, and would make all weights so.
        """
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if getattr(trainer.precision_plugin, "scaler", None) is None:  # which skips such steps
            check_gradient(norm, trainer.global_step + 1, trainer.callback_metrics)
        pl_module.log("train/gradient_norm", norm)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Log the speed; now and then keep what was logged, and look at the loss.

        Raises:
            WeMoEError: the loss is not finite, of which nothing could be learned any more.
        """
        now = time.perf_counter()
        if self._since is not None and isinstance(batch, Mapping):
            images = trainer.world_size * sum(len(images) for images, _ in batch.values())
            pl_module.log("train/images_per_second", images / (now - self._since))
        self._since = now
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if trainer.global_step % every == 0:
            check_finite(outputs, trainer.global_step)
            self.keep(trainer, "train/")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep what was scored, and leave the time that it took out of the speed."""
        if trainer.state.fn == TrainerFn.FITTING and isinstance(pl_module, MultiTaskModule):
            self.keep(trainer, "val/")
            self._since = None

    def keep(self, trainer: L.Trainer, kind: str) -> None:
        """Add a point to all curves of a kind."""
        for key, value in trainer.callback_metrics.items():
            if key.startswith(kind):
                self.points.setdefault(key, {})[trainer.global_step] = float(value)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run goes on with."""
        return {"points": self.points}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where the interrupted run was."""
        self.points = state_dict["points"]


def check_gradient(norm: Tensor, step: int, metrics: Mapping[str, Tensor]) -> None:
    """Raise `WeMoEError` if a step's gradient is infinite or no number.

    Args:
        norm: of the gradient.
        step: the optimiser step, for the sentence.
        metrics: of the step, of which those that are not finite are named.
    """
    if not norm.isfinite():
        named = [
            f"{key} is {float(value)}"
            for key, value in metrics.items()
            if key.startswith("train/") and not value.isfinite()
        ]
        where = f" ({', '.join(named)})" if named else ""
        raise WeMoEError(
            f"The gradient is {float(norm)} at step {step}{where}: nothing can be learned from it. "
            "Choose a smaller model.learning_rate, or another trainer.precision, and go on with it "
            "by `--ckpt_path last`."
        )


def check_finite(outputs: Any, step: int) -> None:
    """Raise `WeMoEError` if a step's loss is infinite or no number.

    Args:
        outputs: what the training step gave: a loss, a mapping with one, or None.
        step: the optimiser step, for the sentence.
    """
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    if isinstance(loss, Tensor) and not math.isfinite(float(loss)):
        raise WeMoEError(
            f"The loss is {float(loss)} at step {step}: nothing can be learned from it. Choose a "
            "smaller model.learning_rate, or another trainer.precision."
        )
