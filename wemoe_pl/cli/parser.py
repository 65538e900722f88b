"""The parser of jobs: shipped configs by bare name, errors of one sentence."""

import re
from ast import literal_eval
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ActionConfigFile
from lightning import Callback
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger

from wemoe_pl.cli.commands import wrong_command
from wemoe_pl.data.datamodule import VisionData
from wemoe_pl.data.tasks import VisionTask
from wemoe_pl.errors import FEW, ConfigError, did_you_mean
from wemoe_pl.merging import MergeMethod
from wemoe_pl.moe.dictionary import Compression
from wemoe_pl.system.configs import ALLOW, find_config, find_suite
from wemoe_pl.system.public_names import short
from wemoe_pl.system.trust import DENIED, PLAIN_YAML, no_module, not_allowed
from wemoe_pl.training.module import MultiTaskModule

# The keys that take the name of a class, and what that class must be.
CHOSEN_BY_KEY: dict[str, type] = {
    "model": MultiTaskModule,
    "data": VisionData,
    "merge": MergeMethod,
    "compression": Compression,
    "tasks": VisionTask,
    "logger": Logger,
    "callbacks": Callback,
}
NO_CONFIG = "It is no config: expected lines of the form `key: value`."
QUOTE_NAMES = "Put quotes around a name that YAML takes for something else, as in '1' or 'yes'."
SEE_KEYS = "Add --print_config to see all keys."
# Lines of jsonargparse's reports that say where it looked, not what is wrong.
BOILERPLATE = re.compile(
    r"Parser key|Does not validate|Subtypes:|Errors:|Problem with|Given value|Unable to load"
    r"|Expected a path but|Expected a <class 'NoneType'>"
)


class ShippedConfig(ActionConfigFile):
    """`--config`: a path, or the bare name of a shipped config."""

    def __call__(self, *args: Any) -> None:
        """Load the config that the third argument names into the second."""
        parser, loaded, name, *option = args
        path = find_config(name)
        suite = loaded.get("suite")
        try:
            super().__call__(parser, loaded, path, *option)  # type: ignore[no-untyped-call]
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        except Exception as error:  # what jsonargparse makes of odd values, or of no text
            raise ConfigError(f"{path}: {explain(str(error))}") from error
        if getattr(parser, "replaces_suite", False):
            loaded.pop("suite", None)
            if suite is not None:  # it was given before the config
                loaded["suite"] = suite


class WeMoEParser(LightningArgumentParser):
    """LightningCLI's parser, with shipped suites by bare name and short errors."""

    replaces_suite = False

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **{"parser_mode": PLAIN_YAML, **options})

    def parse_args(self, args: Any = None, *others: Any, **options: Any) -> Any:
        """Parse; a suite that is given as a whole replaces the config's instead of joining it."""
        given = with_names_found(without_allowed([str(arg) for arg in args or ()]))
        self.replaces_suite = any(arg.partition("=")[0] == "--suite" for arg in given)
        try:
            return super().parse_args(with_suite_found(given), *others, **options)
        except ConfigError:
            raise
        except Exception as error:  # what jsonargparse makes of odd values
            self.error(str(error), error)

    @property
    def commands(self) -> dict[str, "WeMoEParser"]:
        """The sub-commands' parsers by name; none below the top."""
        return next((a.choices for a in self._actions if isinstance(a.choices, dict)), {})

    @property
    def known_keys(self) -> set[str]:
        """The keys of this parser and of its commands."""
        parsers = [self, *self.commands.values()]
        defaults = [parser.get_defaults(skip_validation=True) for parser in parsers]
        return set().union(*(values.keys() for values in defaults))

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise `ConfigError` with one sentence instead of printing the usage."""
        raise ConfigError(explain(message, self.known_keys)) from ex


def without_allowed(args: list[str]) -> list[str]:
    """Arguments without those that allow packages, which no config may set, and so are no keys.

    >>> without_allowed(["fit", "--allow", "mine", "--out", "runs/1"])
    ['fit', '--out', 'runs/1']
    """
    if args[-1:] == [ALLOW]:
        raise ConfigError(f"{ALLOW} is given without the name of a package.")
    before = ["", *args]
    return [
        arg
        for option, arg in zip(before, args, strict=False)
        if ALLOW not in (option, arg.partition("=")[0])
    ]


def with_names_found(args: list[str]) -> list[str]:
    """Arguments in which every place of a public class has become the public name.

    >>> with_names_found(["--model.merge=wemoe_pl.merging.wemoe.WEMoE", "--out", "runs/a=b"])
    ['--model.merge=wemoe_pl.WEMoE', '--out', 'runs/a=b']
    """
    split = (arg.rpartition("=") for arg in args)
    return [f"{key}{equals}{short(value)}" for key, equals, value in split]


def with_suite_found(args: list[str]) -> list[str]:
    """Arguments in which the bare name of a shipped suite has become its path.

    jsonargparse reads the file of a suite by itself, and knows no other way to name it.
    """
    before = ["", *args]
    return [
        no_module(find_suite(arg))
        if option == "--suite"
        else f"--suite={no_module(find_suite(arg.removeprefix('--suite=')))}"
        if arg.startswith("--suite=")
        else arg
        for option, arg in zip(before, args, strict=False)
    ]


def explain(message: str, keys: Iterable[str] = ()) -> str:
    r"""One sentence for a report of jsonargparse's, with the nearest valid name where one is near.

    Args:
        message: the report.
        keys: the keys that the command knows.

    >>> explain("Subcommand 'fit' does not accept option 'lamda'", ["lambda", "depth"])
    "There is no key 'lamda'. Did you mean 'lambda'? Valid names: depth, lambda."
    >>> explain("Parser key \"depth\":\n  Expected a <class 'int'>. Got value: two")
    "depth: expected int, got 'two'."
    """
    if found := re.search(r"There is no (?:key|class) '.*", message):
        return found[0]  # said by the parser of a class, and quoted by the parser of the command
    where = ".".join(re.findall(r'Parser key "([\w.]+)":\s*$', message, re.MULTILINE))
    if found := re.search(r"The YAML .*", message):
        return f"{where}: {found[0]}".removeprefix(": ")
    if found := re.search(r"(?:[\w.]+: )*A config may not name '.*", message):
        return f"{where}: {found[0]}".removeprefix(": ")
    if found := DENIED.search(message):
        return f"{where}: {not_allowed(found[1])}".removeprefix(": ")
    if found := re.search(r"(?:unrecognized arguments: --|[Oo]ption ')([\w.]+)", message):
        return f"There is no key '{found[1]}'. {nearest(found[1], keys, SEE_KEYS)}"
    if found := re.search(r"Expected a dot import path string: (\S+)", message):
        base = CHOSEN_BY_KEY.get(where.rpartition(".")[2])
        bases = [base] if base else CHOSEN_BY_KEY.values()
        names = {name for each in bases for name in concrete(each)}
        return f"There is no class '{found[1]}'. {nearest(found[1], names)}"
    if found := re.search(r"invalid choice: '(\S+)' \(choose from ", message):
        return wrong_command(found[1])
    if 'expected "subcommand" to be one of' in message:
        return wrong_command()
    if found := re.search(r"arguments are required: \w+\.(\w+)|[Kk]ey ['\"](suite)\.name", message):
        return f"No {found[1] or found[2]} was given: start from a config, with --config NAME."
    if "Unexpected config:" in message:
        return NO_CONFIG
    return explain_value(message, where)


def explain_value(message: str, where: str) -> str:
    """One sentence for a report on the value of a key."""
    if found := re.search(r"Unable to load config '(.+?)'", message):
        path = Path(found[1])
        if not path.is_file():
            siblings = [sibling.name for sibling in path.parent.glob("*.yaml")]
            return f"{where}: there is no file {path}. {did_you_mean(path.name, siblings)}"
        where = f"{where}: {path}"
    if found := re.search(r"Call to compute_fn .* failed: (.*)", message):
        return found[1]
    if lines := re.findall(r'in "<unicode string>", line (\d+)', message):
        return f"{where}: not valid YAML near line {lines[-1]}.".removeprefix(": ")
    if "codec can't decode" in message:
        return f"{where}: it is no text in UTF-8.".removeprefix(": ")
    lines = [line.strip(" -") for line in message.splitlines()]
    told = [line for line in lines if line and not BOILERPLATE.match(line)] or [NO_CONFIG]
    if not told[0].startswith("Expected a"):
        return f"{where}: {told[0]}" if where else told[0]
    types = re.findall(
        r"Expected an? (?:<class '|typing\.)?(.*?)(?:'>|$|\. Got)", "\n".join(told), re.M
    )
    given = re.findall(r"(?:Got|Given) value: (.*)", message)[-1]
    expected = f"{where}: expected {' or '.join(dict.fromkeys(types))}, got '{given}'."
    return f"{expected} {QUOTE_NAMES}" if "str" in types and is_no_text(given) else expected


def is_no_text(value: str) -> bool:
    """Has YAML made numbers, truth values or nothing of what may have been names?

    >>> is_no_text("[1, 'a']"), is_no_text("None"), is_no_text("['a']"), is_no_text("a")
    (True, True, False, False)
    """
    try:
        read = literal_eval(value)
    except (ValueError, SyntaxError):
        return False
    return any(not isinstance(each, str) for each in (read if isinstance(read, list) else [read]))


def nearest(name: str, candidates: Iterable[str], otherwise: str = "") -> str:
    """The end of a sentence that names the nearest candidate, and the others if they are few."""
    names = [candidate for candidate in candidates if not candidate.startswith("_")]
    hint = did_you_mean(name, names)
    return hint if len(names) <= FEW else hint.partition("There are")[0].strip() or otherwise


def concrete(base: type) -> list[str]:
    """The names of the classes that can be chosen for a base class."""
    children: list[type] = base.__subclasses__()
    below = [name for child in children for name in concrete(child)]
    members = (getattr(base, name, None) for name in dir(base))
    abstract = any(getattr(member, "__isabstractmethod__", False) for member in members)
    return below if abstract or base in CHOSEN_BY_KEY.values() else [base.__name__, *below]
