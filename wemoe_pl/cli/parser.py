"""Parse the config of a job: find shipped configs by name, and raise errors of one sentence."""

from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ActionConfigFile
from lightning.pytorch.cli import LightningArgumentParser

from wemoe_pl.cli.job_keys import refuse_handed_on
from wemoe_pl.cli.options import flatten, given_options
from wemoe_pl.cli.parser_errors import explain_report
from wemoe_pl.errors import ConfigError
from wemoe_pl.system.configs import ALLOW, find_config, find_suite
from wemoe_pl.system.jsonargparse_private import read_whole_numbers_first, subcommand_parsers
from wemoe_pl.system.public_names import short
from wemoe_pl.system.trust import PLAIN_YAML, load_settings, no_module


class ShippedConfig(ActionConfigFile):
    """A `ShippedConfig` loads the value of `--config`: a path, or the name of a shipped config."""

    def __call__(self, *args: Any) -> None:
        """Load the config that the third argument names into the second."""
        parser, loaded, name, *option = args
        path = find_config(name)
        suite = loaded.get("suite")
        try:
            super().__call__(parser, loaded, path, *option)  # type: ignore[no-untyped-call]
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        except Exception as error:  # jsonargparse raises all kinds for odd values or binary files
            raise ConfigError(f"{path}: {explain_report(str(error))}") from error
        refuse_handed_on_in(path)
        if getattr(parser, "replaces_suite", False):
            loaded.pop("suite", None)
            if suite is not None:  # it was given before the config
                loaded["suite"] = suite


def refuse_handed_on_in(path: str) -> None:
    """Raise `ConfigError` if a readable config gives a key whose value is that of another key."""
    given = load_settings(Path(path).read_text("utf-8"))
    try:
        refuse_handed_on(dict(flatten(given)))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


# Arguments of some of the trainer's commands. The config of a run may have them all, and every
# command takes it: a command ignores the arguments that are not its own.
TRAINER_ARGUMENTS: dict[str, dict[str, Any]] = {
    "verbose": {"type": bool, "default": True},
    "return_predictions": {"type": bool | None, "default": None},
}


class WeMoEParser(LightningArgumentParser):
    """A `WeMoEParser` is LightningCLI's parser, with shipped suites by name and short errors."""

    replaces_suite = False

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **{"parser_mode": PLAIN_YAML, **options})

    def parse_args(self, args: Any = None, *others: Any, **options: Any) -> Any:
        """Parse arguments; a suite given by `--suite` replaces the config's, without merging."""
        given = with_names_found(without_allowed(with_nulls([str(arg) for arg in args or ()])))
        refuse_handed_on(dict(given_options(given)))
        self.replaces_suite = any(arg.partition("=")[0] == "--suite" for arg in given)
        read_whole_numbers_first(self)
        try:
            return super().parse_args(with_suite_first(with_suite_found(given)), *others, **options)
        except ConfigError:
            raise
        except Exception as error:  # jsonargparse raises errors of all kinds for odd values
            self.error(str(error), error)

    def add_method_arguments(self, *args: Any, **options: Any) -> list[str]:
        """Add and return the arguments of a command; accept those of other commands as keys too."""
        own = super().add_method_arguments(*args, **options)
        for name, argument in TRAINER_ARGUMENTS.items():
            if name not in own:
                self.add_argument(f"--{name}", **argument)
        return own

    @property
    def known_keys(self) -> set[str]:
        """Return the keys of this parser and of its commands."""
        parsers = [self, *subcommand_parsers(self).values()]
        defaults = [parser.get_defaults(skip_validation=True) for parser in parsers]
        return set().union(*(values.keys() for values in defaults))

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise `ConfigError` with one sentence instead of printing the usage."""
        raise ConfigError(explain_report(message, self.known_keys)) from ex


def without_allowed(args: list[str]) -> list[str]:
    """Return the arguments without `--allow` and its values, which are no keys of a config.

    Raises:
        ConfigError: the last `--allow` has no value.

    >>> without_allowed(["fit", "--allow", "mine", "--out", "runs/1"])
    ['fit', '--out', 'runs/1']
    """
    if args[-1:] == [ALLOW]:
        raise ConfigError(f"{ALLOW} is given without the name of a package.")
    pairs = pairwise(["", *args])
    return [arg for option, arg in pairs if ALLOW not in (option, arg.partition("=")[0])]


def with_nulls(args: list[str]) -> list[str]:
    """Return the arguments with `null` in the place of `None`, which YAML does not know.

    Users of Python write `None`; so does jsonargparse when it hands a `null` to a nested parser.

    >>> with_nulls(["--model.merge.attention=None", "--model.objective", "None", "--out", "runs"])
    ['--model.merge.attention=null', '--model.objective', 'null', '--out', 'runs']
    """
    found = []
    for option, arg in pairwise(["", *args]):
        if arg == "None" and option.startswith("--") and "=" not in option:
            arg = "null"
        key, _, value = arg.partition("=")
        found.append(f"{key}=null" if value == "None" else arg)
    return found


def with_names_found(args: list[str]) -> list[str]:
    """Return the arguments with the full path of every public class replaced by its public name.

    >>> with_names_found(["--model.merge=wemoe_pl.merging.wemoe.WEMoE", "--out", "runs/a=b"])
    ['--model.merge=wemoe_pl.WEMoE', '--out', 'runs/a=b']
    """
    split = (arg.rpartition("=") for arg in args)
    return [f"{key}{equals}{short(value)}" for key, equals, value in split]


def with_suite_found(args: list[str]) -> list[str]:
    """Return the arguments with the bare name of a shipped suite replaced by its path.

    jsonargparse reads the file of a suite by itself, and finds it by its path alone.
    """
    found = []
    for option, arg in pairwise(["", *args]):
        if option == "--suite":
            arg = no_module(find_suite(arg))
        elif arg.startswith("--suite="):
            arg = f"--suite={no_module(find_suite(arg.removeprefix('--suite=')))}"
        found.append(arg)
    return found


def with_suite_first(args: list[str]) -> list[str]:
    """Return the arguments with `--suite` before those that change a part of the suite.

    It would undo them otherwise, since it replaces a suite as a whole.

    >>> with_suite_first(["fit", "--suite.name", "mine", "--suite=a.yaml", "--out", "runs/1"])
    ['fit', '--suite=a.yaml', '--suite.name', 'mine', '--out', 'runs/1']
    """
    first = next((i for i, arg in enumerate(args) if arg.startswith("--suite.")), len(args))
    is_of_suite = [
        "--suite" in (option, arg.partition("=")[0]) for option, arg in pairwise(["", *args])
    ]
    moved = [i for i, is_moved in enumerate(is_of_suite) if is_moved and i > first]
    rest = [i for i in range(first, len(args)) if i not in moved]
    return args[:first] + [args[i] for i in (*moved, *rest)]
