"""Schedule the validations of a fit whose trainer has no interval of its own."""

from collections.abc import Iterator
from typing import Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn

from wemoe_pl.callbacks.lightning_private import validate_now
from wemoe_pl.callbacks.lookup import callbacks_of
from wemoe_pl.data.tasks import UNLABELLED
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.training.module import MultiTaskModule

SHARE = 0.1  # share of a run's images; scoring one takes less time than learning from it
FEWEST = 16  # with fewer images of a task, nothing could be seen
NEVER = float("inf")


class ValidationSchedule(L.Callback):
    """The schedule validates a fit before its first step, then ever more rarely, and at its end.

    The steps are 0, 5, 10, 20, 50, 100, 200, 500 and so on. All of these validations look at the
    same few images of every task. Together they look at no more than a tenth of the images that the
    run learns from and scores at the end, so they take less than a tenth of its time. Nothing else
    in the run depends on them.

    A fit with `trainer.val_check_interval` follows that instead.

    Attributes:
        steps: the steps after which the fit is validated; empty without the schedule.
        images: the number of images of each task that it is validated on; None for all.
    """

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.images: int | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Make the schedule, and set up the data, the module and the trainer for it."""
        data = getattr(trainer, "datamodule", None)
        if stage != TrainerFn.FITTING or not isinstance(pl_module, MultiTaskModule):
            return
        if not isinstance(data, VisionData) or not has_no_interval(trainer):
            return
        self.steps = list(steps_until(trainer.max_steps)) if pl_module.learns_by_steps else []
        if self.steps:
            pl_module.scoring.asks_experts |= lacks_labels(data)
            self.images = images_per_validation(pl_module, data, trainer.max_steps)
            data.validated_images = self.images
            trainer.num_sanity_val_steps = 0  # the schedule itself begins before the first step

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Make later validations look at all images again."""
        if self.steps and isinstance(pl_module, MultiTaskModule):
            trainer.datamodule.validated_images = None  # type: ignore[attr-defined]
            pl_module.scoring.asks_experts = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Tell Lightning whether to validate after the step from which a fit goes on."""
        self.announce(trainer, trainer.global_step in self.steps)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validate the model that the fit begins with."""
        if self.steps and not trainer.global_step:
            validate_now(trainer)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Tell Lightning whether a validation follows, which it does after whole steps only."""
        is_whole = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        self.announce(trainer, is_whole and trainer.global_step in self.steps)

    def announce(self, trainer: L.Trainer, is_due: bool) -> None:
        """Make Lightning validate after the current batch, or not."""
        if self.steps:
            trainer.val_check_batch = 1 if is_due else NEVER

    @property
    def note(self) -> str | None:
        """Return a note on the images of the curves; None if the curves are of all images."""
        if self.images is None:
            return None
        return (
            f"Curves are computed on the same {self.images} test images of each task, tables on "
            "all test images."
        )


def has_no_interval(trainer: L.Trainer) -> bool:
    """Return whether a trainer sets no interval of validations, in a real run on endless data."""
    interval = trainer.val_check_interval
    is_open = isinstance(interval, float) and interval == 1.0
    is_endless = not isinstance(trainer.limit_train_batches, int)
    is_trial = any(getattr(trainer, name, 0) for name in ("fast_dev_run", "overfit_batches"))
    return is_open and is_endless and trainer.limit_val_batches > 0 and not is_trial


def steps_until(last: int) -> Iterator[int]:
    """Yield 0, 5, 10, 20, 50, 100, 200, 500, … and the last step; nothing if there is none.

    >>> list(steps_until(60)), list(steps_until(-1))
    ([0, 5, 10, 20, 50, 60], [])
    """
    if last < 1:
        return
    yield 0
    step, factors = 5, (2, 2, 2.5)
    place = 0
    while step < last:
        yield step
        step, place = int(step * factors[place % 3]), place + 1
    yield last


def lacks_labels(data: VisionData) -> bool:
    """Return whether one of the tasks to score has no labelled image."""
    sets = (data.sets.load(wanted).images.labels for wanted in data.sets.scored.values())
    return any(set(labels) == {UNLABELLED} for labels in sets)


def images_per_validation(module: MultiTaskModule, data: VisionData, steps: int) -> int | None:
    """Return the number of images of each task that a validation may look at; None for all.

    Args:
        module: the module, which the test compares with its references.
        data: the data of the fit, with its sets of images loaded.
        steps: the number of steps of the fit.
    """
    learned = steps * data.batch_size * len(data.sets.streamed)
    sizes = [len(data.sets.load(wanted)) for wanted in data.sets.scored.values()]
    scored = sum(sizes) * (1 + len(module.references))
    passes = len(list(steps_until(steps))) + module.scoring.asks_experts
    images = max(FEWEST, int(SHARE * (learned + scored) / (passes * len(sizes))))
    return images if images < max(sizes) else None


def is_validated_behind(trainer: L.Trainer, step: int) -> bool:
    """Return whether a validation follows a step, by the schedule or the trainer's interval."""
    every = trainer.val_check_interval
    by_interval = isinstance(every, int) and step * trainer.accumulate_grad_batches % every == 0
    return by_interval or any(step in s.steps for s in callbacks_of(trainer, ValidationSchedule))
