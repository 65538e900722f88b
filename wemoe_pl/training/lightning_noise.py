"""Silence the messages of Lightning that tell users nothing."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelSummary, RichModelSummary
from lightning.pytorch.utilities import rank_zero_info
from torch import nn

LOGGERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.seed",
    "lightning.pytorch.trainer.connectors.checkpoint_connector",
    "lightning.pytorch.trainer.connectors.signal_connector",
)
# Lines that Lightning logs when a run begins, goes on or stops, or when a module adds callbacks.
# wemoe_pl says the same in a line of its own, or they do not matter.
SAID_BETTER = (
    "Seed set to",  # the results name the seed
    "GPU available: False",
    "TPU available",
    "HPU available",
    "LOCAL_RANK: ",
    "`Trainer.fit` stopped: `max_steps=",
    "Loaded model weights from the checkpoint",
    "`weights_only` was not set",
    "Restoring states from",
    "Restored all states",
    "The following callbacks returned in `LightningModule.configure_callbacks`",
)
# Warnings of Lightning and torch in runs that are in order, each with the reason to ignore it.
NOISE = (
    r".*LeafSpec",  # Lightning makes tree leaves in a way that torch has deprecated
    r"Found \d+ module\(s\) in eval mode",  # merged weights are frozen, and so in eval mode
    r"`max_epochs` was not set",  # runs are measured in steps
    r"LightningCLI's args parameter",  # the verb is taken off the command line first
    r".*`LightningModule.configure_optimizers` returned `None`",  # `SampleMerging` has none
    r".*`training_step` returned `None`",  # `SampleMerging` has no loss
    r"The dirpath has changed",  # a checkpoint of another run is scored
    r"It is recommended to use `self\.log",  # logged values are gathered from all processes already
    r"The ``compute`` method of metric",  # a process may have no share of a task's few images
    r"You're resuming from a checkpoint that ended before",  # batches follow from the step alone
    r"torch\.distributed\.nn\.functional\.all_gather is deprecated",  # Lightning calls it
    r"Total length of `DataLoader` across ranks is zero",  # a process may have no image to predict
    r"FSDP2-wrapped module .* returned a view tensor",  # wemoe_pl never writes into that tensor
)


def silence_lightning() -> None:
    """Drop warnings that say nothing, and tips about other products (two per run)."""
    for message in NOISE:
        warnings.filterwarnings("ignore", message)
    for name in LOGGERS:
        logging.getLogger(name).addFilter(says_something)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Let Lightning log nothing below warnings while a block runs."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def says_something(record: logging.LogRecord) -> bool:
    """Return whether a line of Lightning's log is neither a tip nor one of `SAID_BETTER`."""
    message = record.getMessage()
    return "💡" not in message and not any(known in message for known in SAID_BETTER)


def in_one_column(trainer: L.Trainer) -> None:
    """Make a validation or test return and print its metrics once instead of once per loader.

    Every task has a loader, and no metric belongs to a single loader. Lightning keeps a dictionary
    per loader, and adds the metrics that are logged at the end to all of them.
    """
    loops: Any = {"validate": trainer.validate_loop, "test": trainer.test_loop}
    loop = loops.get(trainer.state.fn)
    if loop is not None:
        loop._logged_outputs = loop._logged_outputs[:1]


class TrainedParameters(RichModelSummary):
    """The callback says how much of a model is trained, in place of Lightning's summary.

    Lightning's summary is a table of a single row, with an operation count that nobody has made
    ("FLOPs: 0").
    """

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the line, unless nothing is trained."""
        trained, frozen = counts_of(pl_module)
        if trained:
            share = f"{trained:,} of {trained + frozen:,} parameters are trained"
            rank_zero_info(f"{type(pl_module).__name__}: {share}, and the others are frozen.")


def counts_of(module: nn.Module) -> tuple[int, int]:
    """Return the number of parameters that are trained, and of those that are not."""
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return trained, sum(p.numel() for p in module.parameters()) - trained


def summary_of(trainer: L.Trainer) -> list[L.Callback]:
    """Return the callback that replaces Lightning's summary; [] if the trainer has no summary."""
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    summaries = [c for c in callbacks if isinstance(c, ModelSummary)]
    is_ours = any(isinstance(c, TrainedParameters) for c in summaries)
    return [TrainedParameters()] if summaries and not is_ours else []
