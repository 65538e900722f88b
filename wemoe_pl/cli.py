"""`wemoe-pl`: one command per line, and one sentence when something is wrong."""

import logging
import re
import shlex
import sys
import warnings
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException

from wemoe_pl.errors import UnreachableError, WeMoEError
from wemoe_pl.jobs import read_job
from wemoe_pl.parsing import VERBS, described
from wemoe_pl.verbs import run_verb

SUBCOMMANDS = {
    "fit": "Adapt or train, then score all test tasks.",
    "validate": "Score all test tasks, without writing results.",
    "test": "Score all test tasks of a static merge, or of a checkpoint given by --ckpt_path.",
    "predict": "Classify the images below --data.images into a CSV of task, class, probability.",
}
LOGGERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.pytorch.trainer.connectors.checkpoint_connector",
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
)


def main(args: list[str] | None = None) -> int:
    """Run one command; the exit status is 0, or 1 after an error of one sentence."""
    silence_lightning()
    given = sys.argv[1:] if args is None else args
    try:
        if given and given[0] in VERBS:
            run_verb(given[0], given[1:])
        else:
            run_trainer(given)
    except UnreachableError as error:
        return complain(f"{error} {where_to_fetch(given)}")
    except (WeMoEError, MisconfigurationException) as error:
        return complain(without_worker(str(error)))
    except OSError as error:
        return complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        return complain("interrupted; nothing was left half-written.")
    return 0


def run_trainer(args: list[str]) -> None:
    """Run a command that has a trainer."""
    commands = ",".join((*SUBCOMMANDS, *VERBS))
    about: dict[str, Any] = {
        "usage": f"wemoe-pl {{{commands}}} --config CONFIG [--out DIR] [--KEY VALUE ...]",
        "description": "Merge fine-tuned vision transformers into one multi-task model.",
    }
    read_job(args, about | {name: described(name, text) for name, text in SUBCOMMANDS.items()})


def where_to_fetch(args: list[str]) -> str:
    """The command that fetches in advance what a command of these arguments lacks."""
    command = f"wemoe-pl prepare {shlex.join(args[1:])}"
    return f"Where there is a network, `{command}` fetches it in advance."


def complain(sentence: str) -> int:
    """Print one sentence where errors go; the exit status."""
    print(f"wemoe-pl: {sentence}", file=sys.stderr)
    return 1


def without_worker(message: str) -> str:
    """The last sentence of a message to which a loading process has added its traceback."""
    return re.split(r"\nwemoe_pl\.errors\.\w+: ", message)[-1].strip()


def silence_lightning() -> None:
    """Drop warnings that say nothing, and tips about other products, two per run."""
    for message in NOISE:
        warnings.filterwarnings("ignore", message)
    for name in LOGGERS:
        logging.getLogger(name).addFilter(says_something)


def says_something(record: logging.LogRecord) -> bool:
    """Is a line of Lightning's log neither a tip nor about a default of its own?"""
    message = record.getMessage()
    return "💡" not in message and "`weights_only` was not set" not in message
