"""Run a `wemoe-pl` command line, and print one sentence when something is wrong."""

import shlex
import sys

from wemoe_pl import __version__
from wemoe_pl.cli import completion
from wemoe_pl.cli.help import parser_of
from wemoe_pl.cli.options import CONFIG, values_of, wrong_command
from wemoe_pl.cli.verb_parsers import predict_parser
from wemoe_pl.errors import ConfigError, UnreachableError, WeMoEError, sentence_of
from wemoe_pl.system.address_space import check_address_space
from wemoe_pl.system.configs import find_config
from wemoe_pl.system.quick_imports import quick_imports
from wemoe_pl.system.signals import Stopped, end_with_lifeline, stoppable
from wemoe_pl.system.terminal import flushed_quietly, say


def main(args: list[str] | None = None) -> int:
    """Run one command, and return its exit status.

    The status is 0, or 1 after an error of one sentence, or 128 plus the number of the signal that
    has ended the command.
    """
    given = sys.argv[1:] if args is None else args
    try:
        with flushed_quietly(), stoppable():
            end_with_lifeline()
            answer(given)
    except UnreachableError as error:
        return complain(f"{sentence_of(error)} {where_to_fetch(given)}".rstrip(), error)
    except (WeMoEError, OSError) as error:
        return complain(sentence_of(error), error)
    except Stopped as stopped:
        complain(stopped.sentence, stopped)
        return stopped.status
    return 0


def answer(args: list[str]) -> None:
    """Print the version, help or completions if they are asked for; otherwise run a command.

    Raises:
        WeMoEError: a library that the command needs cannot be loaded.
    """
    said = said_without_torch(args)
    if said is not None:
        say(said, end="")
        return
    check_address_space()
    try:
        with quick_imports():  # only now: torch takes seconds to import
            if names_a_run(args):
                from wemoe_pl.cli.predict import run_predict as run
            elif args[0] == "serve":
                from wemoe_pl.cli.serve import run_serve as run
            else:
                from wemoe_pl.cli.verbs import run
    except (ImportError, MemoryError) as error:
        if str(getattr(error, "name", "")).startswith("wemoe_pl"):
            raise  # a mistake in this package, which only its traceback explains
        raise WeMoEError(
            f"A library cannot be loaded ({str(error) or 'there is not enough memory'}): give the "
            "process more address space (`ulimit -v unlimited`), or install wemoe_pl anew."
        ) from error
    run(args)


def names_a_run(args: list[str]) -> bool:
    """Return whether arguments ask `predict` for a run by its folder, not for a job.

    >>> names_a_run(["predict", "runs/demo", "photo.png"]), names_a_run(["predict", "-c", "mine"])
    (True, False)
    """
    match args:
        case ["predict", first, *_]:
            return not first.startswith("-")
    return False


def said_without_torch(args: list[str]) -> str | None:
    """Return the version, help or completions if they are asked for; None if a command must run.

    Raises:
        ConfigError: there is no such command, or no such config.
    """
    match args:
        case ["--version"]:
            return f"wemoe-pl {__version__}\n"
        case ["completion", "--complete", *words]:
            return completion.lines_for_shell(words)
    command = args[0] if args and not args[0].startswith("-") else ""
    parser = predict_parser() if names_a_run(args) else parser_of(command)
    if not {"-h", "--help"}.isdisjoint(args):
        return parser.format_help()
    if not args:
        raise ConfigError(wrong_command())
    if command == "completion":
        return completion.script(parser.parse_args(args[1:]).shell)
    for name in values_of(args, *CONFIG):
        find_config(name)
    return None


def where_to_fetch(args: list[str]) -> str:
    """Return a sentence on how to fetch in advance what a job lacks; "" for other commands."""
    if not values_of(args, *CONFIG):
        return ""
    if args[0] == "prepare":
        return "Run this command where there is a network."
    command = f"wemoe-pl prepare {shlex.join(args[1:])}"
    return f"Where there is a network, `{command}` fetches it in advance."


def complain(sentence: str, error: BaseException) -> int:
    """Print a sentence and the notes of an error to standard error; return the exit status."""
    say("wemoe-pl:", sentence, *getattr(error, "__notes__", ()), file=sys.stderr)
    return 1
