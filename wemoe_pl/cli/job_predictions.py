"""Let `predict` resume what a killed process has begun, and write its table in the end."""

import logging
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_info

from wemoe_pl.callbacks.lookup import callbacks_of
from wemoe_pl.callbacks.predictions import Predictions
from wemoe_pl.data.tasks import name_some
from wemoe_pl.data.to_classify import ToClassify
from wemoe_pl.merging.base import NOT_ADAPTED
from wemoe_pl.system.console import Console
from wemoe_pl.system.files import digest
from wemoe_pl.training.merged_module import MergedModule
from wemoe_pl.training.module import MultiTaskModule


def skip_answered(
    trainer: Trainer,
    model: MultiTaskModule,
    images: ToClassify,
    recipe: dict[str, Any],
    is_fresh: bool,
) -> None:
    """Leave out the batches that an earlier start of the same command has answered."""
    [predictions] = callbacks_of(trainer, Predictions)
    answered = predictions.begin(question_of(recipe, model, images), is_fresh)
    images.leave_out(answered)
    if answered:
        batches = len(images.batches)
        rank_zero_info(f"Going on: {len(answered)} of {batches} batches are answered already")


def question_of(
    recipe: dict[str, Any], model: MultiTaskModule, images: ToClassify
) -> dict[str, Any]:
    """Return all that the answers of `predict` depend on, as plain values."""
    checkpoint = recipe["ckpt_path"]
    return {
        "model": [recipe[key] for key in ("model", "suite", "task", "tasks", "unseen")],
        "precision": recipe["trainer"]["precision"],
        "checkpoint": checkpoint and digest(Path(checkpoint)),
        "sources": model.frozen_sources,
        "images": [images.source, images.images.fingerprint],
        "batch_size": images.batch_size,
        "thresholds": model.measured.thresholds if isinstance(model, MergedModule) else None,
    }


def write_answers(
    trainer: Trainer, model: MultiTaskModule, images: ToClassify, console: Console
) -> None:
    """Write the table of answers, in the order of the images, and say where it is."""
    [predictions] = callbacks_of(trainer, Predictions)
    answers, unreadable = predictions.finish(images.batches)
    by = f", by {model.method}" if model.method.endswith(NOT_ADAPTED) else ""
    none = f", {predictions.of_none} of them by none of the tasks" if predictions.of_none else ""
    console.print(f"{answers} predictions are in {predictions.path}{none}{by}")
    if unreadable:
        logging.getLogger("lightning.pytorch").warning(
            f"{len(unreadable)} of {len(images.images)} images cannot be read, and have rows "
            f"that say why: {name_some(unreadable)}."
        )
