"""Messages of Lightning about runs in which all is as it should be are kept from the user."""

import logging
import warnings

LOGGERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.pytorch.trainer.connectors.checkpoint_connector",
    "lightning.pytorch.trainer.connectors.signal_connector",
)
# What Lightning logs of a run that is stopped or goes on, which is said in a line of our own.
SAID_BETTER = ("`weights_only` was not set", "Restoring states from", "Restored all states")
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


def says_something(record: logging.LogRecord) -> bool:
    """Is a line of Lightning's log neither a tip nor about a default of its own?"""
    message = record.getMessage()
    return "💡" not in message and not any(known in message for known in SAID_BETTER)
