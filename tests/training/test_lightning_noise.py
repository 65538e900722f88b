"""What Lightning says that is kept from the user."""

import logging
import warnings
from collections.abc import Iterator

import pytest
from lightning.pytorch.utilities import rank_zero_info

from wemoe_pl.training.lightning_noise import LOGGERS, says_something, silence_lightning

TIP = "💡 Tip: For seamless cloud uploads and versioning, try installing litmodels."
DEFAULT = "`weights_only` was not set, defaulting to `False`."
OF_EVERY_RUN = "GPU available: False, used: False"
USEFUL = "GPU available: True (cuda), used: True"


@pytest.fixture(autouse=True)
def unsilenced() -> Iterator[None]:
    """Loggers and warnings as they were before anything ran, and again as they were found."""
    silenced = [name for name in LOGGERS if says_something in logging.getLogger(name).filters]
    for name in LOGGERS:
        logging.getLogger(name).removeFilter(says_something)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        yield
    for name in silenced:
        logging.getLogger(name).addFilter(says_something)


@pytest.mark.parametrize(
    "noise",
    [
        "`isinstance(treespec, LeafSpec)` is deprecated, use `isinstance(treespec, TreeSpec)`",
        "Found 97 module(s) in eval mode at the start of training.",
        "`max_epochs` was not set. Setting it to 1000 epochs. To train without an epoch limit, …",
        "LightningCLI's args parameter is intended to run from within Python",
        "`LightningModule.configure_optimizers` returned `None`, this fit will run with no optim",
        "`training_step` returned `None`. If this was on purpose, ignore this warning...",
        "The dirpath has changed from 'a/checkpoints' to 'b/checkpoints', therefore …",
    ],
)
def test_warnings_of_what_is_as_it_should_be_are_dropped(noise: str) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.warn(noise, stacklevel=1)
        silence_lightning()
        warnings.warn(noise, stacklevel=1)
    assert [str(warning.message) for warning in told] == [noise]


@pytest.mark.parametrize(
    "warning",
    [
        "1 of 4 images cannot be decoded and is skipped: broken.png",
        "Checkpoint directory a/checkpoints exists and is not empty.",
        "The model collapsed: see `max_epochs` was not set",
    ],
)
def test_warnings_of_anything_else_are_told(warning: str) -> None:
    with warnings.catch_warnings(record=True) as told:
        silence_lightning()
        warnings.warn(warning, stacklevel=1)
    assert [str(each.message) for each in told] == [warning]


@pytest.mark.parametrize(
    ("message", "kept"),
    [(TIP, False), (DEFAULT, False), (OF_EVERY_RUN, False), (USEFUL, True), ("", True)],
)
def test_tips_and_defaults_say_nothing(message: str, kept: bool) -> None:
    record = logging.LogRecord("lightning", logging.INFO, "", 0, "%s", (message,), None)
    assert says_something(record) == kept


def test_what_lightning_logs_passes_the_filter(caplog: pytest.LogCaptureFixture) -> None:
    silence_lightning()
    silence_lightning()  # as in a process that runs several commands
    with caplog.at_level(logging.INFO, "lightning.pytorch.utilities.rank_zero"):
        for message in (TIP, USEFUL):
            rank_zero_info(message)
    assert caplog.messages == [USEFUL]
