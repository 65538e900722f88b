"""Lightning is kept from telling users of what is as it should be."""

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
# What Lightning logs of a run that begins, goes on or is stopped, or of callbacks that a module
# brings along, which is said in a line of our own or of no concern.
SAID_BETTER = (
    "Seed set to",  # it is among the results
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
# What Lightning warns of in every run, though all is as it should be.
NOISE = (
    r".*LeafSpec",  # it makes tree leaves the way that torch has deprecated
    r"Found \d+ module\(s\) in eval mode",  # what is merged is frozen, and so in eval mode
    r"`max_epochs` was not set",  # runs are measured in steps
    r"LightningCLI's args parameter",  # a verb is taken off the command line before it
    r".*`LightningModule.configure_optimizers` returned `None`",  # nor an optimizer
    r".*`training_step` returned `None`",  # merging from samples has no loss
    r"The dirpath has changed",  # a checkpoint of another run is scored
    r"It is recommended to use `self\.log",  # what is logged is of all processes already
    r"The ``compute`` method of metric",  # a process may have no share of a task's few images
    r"You're resuming from a checkpoint that ended before",  # batches follow from the step alone
    r"torch\.distributed\.nn\.functional\.all_gather is deprecated",  # Lightning gathers by it
    r"Total length of `DataLoader` across ranks is zero",  # the same, of what is predicted
    r"FSDP2-wrapped module .* returned a view tensor",  # into which nothing of ours writes
)


def silence_lightning() -> None:
    """Drop warnings that say nothing, and tips about other products, two per run."""
    for message in NOISE:
        warnings.filterwarnings("ignore", message)
    for name in LOGGERS:
        logging.getLogger(name).addFilter(says_something)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Let Lightning log warnings only, in a block."""
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
    """Is a line of Lightning's log neither a tip nor about a default of its own?"""
    message = record.getMessage()
    return "💡" not in message and not any(known in message for known in SAID_BETTER)


def in_one_column(trainer: L.Trainer) -> None:
    """Let a validation or test return, and print, its metrics once, and not for every loader.

    Every task has a loader, and no metric is of a single one. Lightning keeps a dictionary for each
    loader, to all of which it adds what is logged in the end.
    """
    loops: Any = {"validate": trainer.validate_loop, "test": trainer.test_loop}
    loop = loops.get(trainer.state.fn)
    if loop is not None:
        loop._logged_outputs = loop._logged_outputs[:1]


class TrainedParameters(RichModelSummary):
    """Says how much of a model is trained, in the place of Lightning's summary.

    That has a table of a single row, and operations that nobody has counted: "FLOPs: 0".
    """

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the line, unless nothing is trained."""
        trained, frozen = counts_of(pl_module)
        if trained:
            share = f"{trained:,} of {trained + frozen:,} parameters are trained"
            rank_zero_info(f"{type(pl_module).__name__}: {share}, and the others are frozen.")


def counts_of(module: nn.Module) -> tuple[int, int]:
    """Count the parameters that are trained, and those that are not."""
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return trained, sum(p.numel() for p in module.parameters()) - trained


def summary_of(trainer: L.Trainer) -> list[L.Callback]:
    """The callback that takes the place of Lightning's summary, if the trainer has that."""
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    summaries = [c for c in callbacks if isinstance(c, ModelSummary)]
    is_ours = any(isinstance(c, TrainedParameters) for c in summaries)
    return [TrainedParameters()] if summaries and not is_ours else []
