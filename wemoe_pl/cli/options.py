"""Define the commands and their options, as far as that can be done without importing torch."""

import re
from argparse import Action, ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, NoReturn

from wemoe_pl.errors import ConfigError, did_you_mean
from wemoe_pl.system.files import expanded

# The commands that have a trainer, each with its help text.
SUBCOMMANDS = {
    "fit": "Adapt or train, then score all test tasks.",
    "validate": "Score all test tasks, without writing results.",
    "test": "Score all test tasks of a static merge, or of a checkpoint given by --ckpt_path.",
    "predict": "Classify images: print a row for each, or run as a job that can be resumed.",
}
# The commands that have no trainer.
VERBS = {
    "check": "Show what a job would read, write and need, and all that is wrong with it.",
    "advise": "Say what speaks for and against merging a suite's experts, from their weights.",
    "prepare": "Fetch all that a fit needs from the hub, and verify it.",
    "heads": "Build the suite's zero-shot heads, and write each to a file in --out.",
    "sweep": "Run a job for every point of a grid, and make one table; can be resumed.",
    "report": "Write one table of many runs, with published results on request.",
    "workspace": "Make a workspace on Weights & Biases, with a few panels that answer questions.",
    "export": "Write a merged model for others to use, here or on the hub, and check it.",
    "serve": "Answer requests over HTTP by a model, for images of any of its tasks.",
    "similarity": "Compare the experts' task vectors by cosine and distance, layer by layer.",
    "landscape": "Draw the loss over the plane of two task vectors, chosen with --tasks [a,b].",
    "parameters": "Count the parameters of upscaled models, by number of tasks.",
    "bench": "Compare time and memory with the plain model and a loop over samples.",
}
COMMANDS = SUBCOMMANDS | VERBS | {"completion": "Print a script that completes commands."}


def switch(about: str) -> dict[str, Any]:
    """Return the arguments of `add_argument` for an option without a value."""
    return {"action": "store_true", "help": about}


CONFIG = ("-c", "--config")
QUIET = ("-q", "--quiet")
QUIET_OPTION = switch("Print only warnings and errors.")
FRESH = "--fresh"
FRESH_OPTION = switch("Begin anew, and replace the run in --out when the new one has finished.")
ALL_CLASSES = "--full"
ALL_CLASSES_OPTION = switch("Show all classes, and the full names of images.")
ALLOW_HELP = (
    "Trust this package, installed or in this folder, so that configs may name its classes; can be "
    "repeated."
)


@dataclass(frozen=True)
class Option:
    """An `Option` describes a command's option that is no key of its model, data or trainer."""

    help: str
    type: Any = str
    default: Any = None

    @property
    def help_and_default(self) -> str:
        """Return the help of the option, with its default if there is one."""
        return f"{self.help} (default: {self.default})" if self.default else self.help


JOB_OPTIONS = {
    "task": Option("The one task of the suite that the job is about.", str | None),
    "tasks": Option("The tasks of the suite to keep, such as [cars,gtsrb].", list[str] | None),
    "unseen": Option("Tasks that are scored although their experts are left out.", list[str], []),
    "out": Option("The folder of the run.", expanded, "runs/latest"),
}
LANDSCAPE_OPTIONS = {
    "points": Option("The number of grid points on each axis.", int, 11),
    "images": Option("The number of images of each task that are scored.", int, 256),
}


WRONG_CHOICE = re.compile(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)")


class OneSentence(ArgumentParser):
    """A `OneSentence` parser raises `ConfigError` with one sentence for every error."""

    def error(self, message: str) -> NoReturn:
        """Raise `ConfigError` instead of printing the usage."""
        if found := WRONG_CHOICE.fullmatch(message):
            option, value, names = found.groups()
            choices = [name.strip("' ") for name in names.split(",")]
            raise ConfigError(f"{option}: there is no '{value}'. {did_you_mean(value, choices)}")
        raise ConfigError(f"{message}. See {self.prog} --help.")

    @property
    def options(self) -> dict[str, Action]:
        """Return the actions of all options, by each of their names that begin with a dash."""
        return self._option_string_actions


def command_parser(command: str, description: str, **more: Any) -> OneSentence:
    """Make a parser with no option but `--help`, for a command, or for `wemoe-pl` without one."""
    program = f"wemoe-pl {command}".strip()
    parser = OneSentence(
        prog=program, description=description, allow_abbrev=False, add_help=False, **more
    )
    parser.add_argument("-h", "--help", action="help", help="Show this help message and exit.")
    return parser


def wrong_command(name: str = "") -> str:
    """Return the sentence about a command that does not exist, or about a missing command.

    >>> wrong_command("fti")[:52]
    "There is no command 'fti'. Did you mean 'fit'? Valid"
    """
    if not name:
        return f"Give a command: {', '.join(COMMANDS)}."
    return f"There is no command '{name}'. {did_you_mean(name, COMMANDS)}"


def values_of(args: Sequence[str], *names: str) -> list[str]:
    """Return the values that are given to an option, by any of its names.

    >>> values_of(["-c", "a", "--out", "b", "--config=c"], "-c", "--config")
    ['a', 'c']
    """
    split = (arg.split("=", 1) if arg.startswith("--") else [arg] for arg in args)
    return [value for name, value in pairwise(chain.from_iterable(split)) if name in names]


def given_options(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the options among arguments with their values.

    >>> dict(given_options(["fit", "--out", "runs/1", "--data.seed=5", "--fresh"]))
    {'out': 'runs/1', 'data.seed': '5', 'fresh': ''}
    """
    for option, following in pairwise([*args, ""]):
        if option.startswith("--"):
            key, equals, value = option[2:].partition("=")
            yield key, value if equals else following


def flatten(settings: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the values of nested settings with their dotted keys, in the short form of options.

    >>> list(flatten({"model": {"class_path": "A", "init_args": {"depth": 2}}}))
    [('model', 'A'), ('model.depth', '2')]
    """
    if not isinstance(settings, dict):
        yield key, str(settings)
        return
    for name, value in settings.items():
        is_left_out = name in ("class_path", "init_args")
        yield from flatten(value, key if is_left_out else f"{key}.{name}".lstrip("."))
