"""The parser: shipped configs by bare name, help of one screen, errors of one sentence."""

import inspect
import re
from argparse import HelpFormatter
from collections.abc import Iterable
from importlib import import_module
from typing import Any, NoReturn

from jsonargparse import ActionConfigFile
from lightning.pytorch.cli import LightningArgumentParser

from wemoe_pl.configs import find_config, shipped_configs
from wemoe_pl.data import VisionData
from wemoe_pl.errors import ConfigError, did_you_mean
from wemoe_pl.evaluate import ScoredModule
from wemoe_pl.merging import MergeMethod
from wemoe_pl.tasks import VisionTask

CHOSEN_BY_CLASS = (ScoredModule, VisionData, MergeMethod, VisionTask)
SHOWN_IN_HELP = ("help", "config", "print_config", "out", "task", "seed_everything", "ckpt_path")
HELP_EPILOG = """\
  --KEY VALUE           any other key of the config, for example
                        --trainer.max_steps 500 or --model.merge.router_depth 1
  --model.help CLASS    the options of a class: {classes}

Every key and its value: add --print_config. Shipped configs: {configs}.
"""
# Lines of jsonargparse's reports that say where it looked, not what is wrong.
BOILERPLATE = re.compile(
    r"Parser key|Does not validate|Subtypes:|Errors:|Problem with|Given value|Unable to load"
    r"|Expected a <class 'NoneType'>|Expected a path but"
)


class ShippedConfig(ActionConfigFile):
    """`--config`: a path, or the bare name of a shipped config."""

    def __call__(self, *args: Any) -> None:
        """Load the config that the third argument names into the second."""
        parser, loaded, name, *option = args
        super().__call__(parser, loaded, find_config(name), *option)  # type: ignore[no-untyped-call]


class WeMoEParser(LightningArgumentParser):
    """LightningCLI's parser, with short help and short errors."""

    def format_help(self, formatter: HelpFormatter | None = None) -> str:
        """What fits a screen: Lightning's own help lists 400 lines of trainer options."""
        formatter = formatter or self._get_formatter()
        formatter.add_usage(self.usage, [], [])
        formatter.add_text(self.description)
        formatter.start_section("options")
        formatter.add_arguments([a for a in self._actions if a.dest in SHOWN_IN_HELP])
        formatter.end_section()
        classes = ", ".join(sorted(concrete(ScoredModule)))
        epilog = HELP_EPILOG.format(classes=classes, configs=", ".join(shipped_configs()))
        return formatter.format_help() + epilog

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise `ConfigError` with one sentence instead of printing the usage."""
        raise ConfigError(explain(message, self.get_defaults(skip_validation=True).keys())) from ex


def explain(message: str, keys: Iterable[str] = ()) -> str:
    """One sentence for a report of jsonargparse's, with the nearest valid name where one is near.

    Args:
        message: the report.
        keys: the keys that the command knows.

    >>> explain("Subcommand 'fit' does not accept option 'trainer.max_step'", ["trainer.max_steps"])
    "There is no key 'trainer.max_step'. Did you mean 'trainer.max_steps'?"
    """
    if found := re.search(
        r"(?:unrecognized arguments: --|does not accept option ')([\w.]+)", message
    ):
        return f"There is no key '{found[1]}'. {nearest_key(found[1], keys)}"
    if found := re.search(r"class_path '([\w.]+)':\s+Option '([\w.]+)' is not accepted", message):
        options = options_of(found[1])
        return f"{found[1].split('.')[-1]} has no '{found[2]}'. {did_you_mean(found[2], options)}"
    if found := re.search(r"Expected a dot import path string: (\S+)", message):
        names = {name for base in CHOSEN_BY_CLASS for name in concrete(base)}
        return f"There is no class '{found[1]}'. {did_you_mean(found[1], names)}"
    if found := re.search(r"invalid choice: '(\S+)' \(choose from (.*)\)", message):
        return (
            f"There is no '{found[1]}'. {did_you_mean(found[1], re.findall(r'[a-z]+', found[2]))}"
        )
    if "Key 'suite.name' is required" in message or 'key "suite.name"' in message:
        return "No suite was given: start from a config, with --config NAME."
    where = ".".join(re.findall(r'Parser key "([\w.]+)"', message))
    lines = [line.strip(" -") for line in message.splitlines()]
    what = next((line for line in lines if line and not BOILERPLATE.match(line)), lines[0])
    return f"{where}: {what}" if where else what


def nearest_key(key: str, keys: Iterable[str]) -> str:
    """The end of a sentence that names the nearest key, or says how to list them all."""
    guess = did_you_mean(key, keys).partition(" Valid names:")[0]
    return guess if guess.startswith("Did you mean") else "Add --print_config to see all keys."


def concrete(base: type) -> list[str]:
    """The names of the classes that can be chosen for a base class."""
    children: list[type] = base.__subclasses__()
    below = [name for child in children for name in concrete(child)]
    abstract = getattr(base, "__abstractmethods__", None) or base in CHOSEN_BY_CLASS
    return below if abstract else [base.__name__, *below]


def options_of(class_path: str) -> list[str]:
    """The names of the options of a class, given by its import path."""
    module, _, name = class_path.rpartition(".")
    return list(inspect.signature(getattr(import_module(module), name)).parameters)
