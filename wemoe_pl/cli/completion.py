"""Complete the words of a `wemoe-pl` command line for a shell.

The script that a shell sources calls `wemoe-pl completion --complete WORDS…`, which prints what the
last word can become: on each line a word, a tab and an explanation. If nothing is printed, the
shell offers files.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from wemoe_pl.bench.names import BENCH_MEASURES
from wemoe_pl.cli.help import MODELS, parser_of
from wemoe_pl.cli.options import COMMANDS, CONFIG, OneSentence, flatten, values_of
from wemoe_pl.cli.verb_parsers import SHELLS
from wemoe_pl.errors import ConfigError, did_you_mean
from wemoe_pl.runs.settings import read_settings
from wemoe_pl.system.configs import (
    find_config,
    find_suite,
    shipped_configs,
    shipped_suites,
    shipped_trainers,
)
from wemoe_pl.system.files import SHIPPED

# Words that commands take in addition to options. Folders are left to the shell.
WORDS = {
    "advise": (), "bench": BENCH_MEASURES, "completion": SHELLS, "export": (), "report": (),
    "serve": (), "workspace": (),
}  # fmt: skip


def script(shell: str) -> str:
    """Return the script that a shell sources.

    Raises:
        ConfigError: there is no script for this shell.
    """
    if shell not in SHELLS:
        raise ConfigError(f"There is no script for '{shell}'. {did_you_mean(shell, SHELLS)}")
    return (SHIPPED / "completion" / f"wemoe-pl.{shell}").read_text("utf-8")


def lines_for_shell(words: Sequence[str]) -> str:
    """Return what the last of some words can become, as the lines that a shell reads."""
    lines = (f"{name}\t{' '.join(about.split())}" for name, about in candidates(words).items())
    return "".join(f"{line.rstrip()}\n" for line in lines)


def candidates(words: Sequence[str]) -> dict[str, str]:
    """Return what the last of the words after `wemoe-pl` can become, each with an explanation.

    >>> list(candidates(["fit", "--config", "adapt_m"]))
    ['adapt_miniature']
    """
    *before, current = without_equals(words)
    option, equals, value = current.partition("=")
    if equals and option.startswith("--"):  # zsh and fish do not split `--option=value`
        found = candidates([*before, option, value])
        found = {name: about for name, about in found.items() if not name.startswith("-")}
        return {f"{option}={name}": about for name, about in found.items()}
    found = offered(before, current)
    return {name: about for name, about in found.items() if name.startswith(current)}


def without_equals(words: Sequence[str]) -> list[str]:
    """Return the words without the `=` that bash makes of `--config=NAME`; at least one is left.

    >>> without_equals(["fit", "--config", "="])
    ['fit', '--config', '']
    """
    is_cut = [word == "=" and option[:2] == "--" for option, word in pairwise(["", *words])]
    rest = [word for word, cut in zip(words, is_cut, strict=True) if not cut]
    return rest if rest and not is_cut[-1] else [*rest, ""]


def offered(before: Sequence[str], current: str) -> dict[str, str]:
    """Return all words that may follow some words, whatever they begin with."""
    if not before:
        return COMMANDS | {"--help": "", "--version": ""}
    command, *args = before
    if command not in COMMANDS:
        return {}
    parser = parser_of(command)
    if args and expects_value(args[-1], parser):
        return values(args, parser)
    if command in WORDS and not current.startswith("-"):
        return dict.fromkeys(WORDS[command], "")
    return keys(args) | described_options(parser)


def expects_value(word: str, parser: OneSentence) -> bool:
    """Return whether the word after this one is its value."""
    action = parser.options.get(word)
    if action is None:  # a key of a config, or a value such as -1
        return word.startswith("--") and "=" not in word
    return action.nargs != 0


def values(args: Sequence[str], parser: OneSentence) -> dict[str, str]:
    """Return the values that the option at the end of some arguments can take."""
    name = args[-1]
    known: dict[str, Callable[[], Iterable[str]]] = {
        **dict.fromkeys(CONFIG, configs),
        "--suite": shipped_suites,
        "--task": lambda: tasks(args),
        "--model": lambda: MODELS,
    }
    action = parser.options.get(name)
    choices = (action and action.choices) or ()
    return dict.fromkeys(known[name]() if name in known else choices, "")


def described_options(parser: OneSentence) -> dict[str, str]:
    """Return the help of the options of a command, by the longest name of each."""
    actions = parser.options.values()
    return {max(action.option_strings, key=len): action.help or "" for action in actions}


def configs() -> list[str]:
    """List the values for `--config`: shipped configs, and YAML files in the current folder."""
    names = (*shipped_configs(), *shipped_trainers())
    shipped = [name.removesuffix(".yaml") for name in names]
    return [*shipped, *sorted(str(path) for path in Path().glob("*.yaml"))]


def tasks(args: Sequence[str]) -> list[str]:
    """List the tasks of the suite that is given directly or by a config; else the shipped tasks."""
    found = [read(find_suite, name) for name in values_of(args, "--suite")]
    if not found:
        found = [suite_of(name) for name in values_of(args, *CONFIG)]
    own: Any = next((suite["tasks"] for suite in reversed(found) if suite.get("tasks")), {})
    if own and isinstance(own, dict):
        return [str(task) for task in own]
    return sorted(path.stem for path in (SHIPPED / "tasks").glob("*.json"))


def suite_of(config: str) -> dict[str, Any]:
    """Return the suite of a config: written in the config, or in a file next to it."""
    suite = read(find_config, config).get("suite")
    if isinstance(suite, str):
        return read(lambda name: str(Path(find_config(config)).parent / name), suite)
    return suite if isinstance(suite, dict) else {}


def keys(args: Sequence[str]) -> dict[str, str]:
    """Return the keys of the given configs as options, each with its value there."""
    found = (read(find_config, name) for name in values_of(args, *CONFIG))
    return {f"--{key}": value for config in found for key, value in flatten(config) if key}


def read(find: Callable[[str], str], name: str) -> dict[str, Any]:
    """Return the contents of a YAML file; {} if it is wrong, since completion reports no errors."""
    try:
        return read_settings(Path(find(name))) or {}
    except ConfigError:
        return {}
