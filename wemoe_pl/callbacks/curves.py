"""Record the curves of a run: all logged values by step, with gradient norm and speed."""

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
    """The callback logs learning rate, gradient norm and speed of a fit, and keeps all curves.

    It logs `train/learning_rate`, `train/gradient_norm` (the L2 norm over all trained parameters)
    and `train/images_per_second` (loading included).

    Attributes:
        points: the values by metric and optimiser step: `train/…` every
            `trainer.log_every_n_steps`, `val/…` at every validation.
    """

    def __init__(self) -> None:
        self.points: dict[str, dict[int, float]] = {}
        self._since: float | None = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Log the learning rate of the step."""
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        if groups:  # `SampleMerging` has none
            pl_module.log("train/learning_rate", groups[0]["lr"])
        if self._since is None:
            self._since = time.perf_counter()

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer
    ) -> None:
        """Log the norm of the gradient, and check it before a step is made with it.

        Raises:
            WeMoEError: it is not finite, and would make no weight finite.
        """
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if getattr(trainer.precision_plugin, "scaler", None) is None:  # a scaler skips such steps
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
        """Log the speed; every `log_every_n_steps`, also check the loss and keep logged values.

        Raises:
            WeMoEError: the loss is not finite, so nothing more can be learned.
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
        """Keep the scores of a validation, and leave its time out of the speed."""
        if trainer.state.fn == TrainerFn.FITTING and isinstance(pl_module, MultiTaskModule):
            self.keep(trainer, "val/")
            self._since = None

    def keep(self, trainer: L.Trainer, kind: str) -> None:
        """Add a point to all curves whose name begins with `kind`."""
        for key, value in trainer.callback_metrics.items():
            if key.startswith(kind):
                self.points.setdefault(key, {})[trainer.global_step] = float(value)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run goes on with."""
        return {"points": self.points}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the curves of an interrupted run."""
        self.points = state_dict["points"]


def check_gradient(norm: Tensor, step: int, metrics: Mapping[str, Tensor]) -> None:
    """Raise `WeMoEError` if a step's gradient is infinite or not a number.

    Args:
        norm: the norm of the gradient.
        step: the optimiser step, for the message.
        metrics: the metrics of the step; the message names those that are not finite.
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
            "Choose a smaller model.learning_rate, or another trainer.precision, and go on from "
            "the last checkpoint with `--ckpt_path last`."
        )


def check_finite(outputs: Any, step: int) -> None:
    """Raise `WeMoEError` if a step's loss is infinite or not a number.

    Args:
        outputs: the value that the training step returned: a loss, a mapping with one, or None.
        step: the optimiser step, for the message.
    """
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    if isinstance(loss, Tensor) and not math.isfinite(float(loss)):
        raise WeMoEError(
            f"The loss is {float(loss)} at step {step}: nothing can be learned from it. Choose a "
            "smaller model.learning_rate, or another trainer.precision."
        )
