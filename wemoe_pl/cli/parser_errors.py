"""Turn each error report of jsonargparse into one sentence, by a table of its wordings and ours."""

import re
import sys
from ast import literal_eval
from collections.abc import Callable, Iterable
from pathlib import Path

from wemoe_pl.cli.chosen_classes import CHOSEN_BY_KEY, choices_of
from wemoe_pl.cli.near_keys import nearest_key, nearest_name
from wemoe_pl.cli.options import wrong_command
from wemoe_pl.errors import did_you_mean
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.system.trust import DENIED, not_allowed

NO_CONFIG = "It is not a config: expected lines of the form `key: value`."
QUOTE_NAMES = "Put quotes around a name that YAML takes for something else, as in '1' or 'yes'."
LIST_TYPES = ("list", "tuple", "set", "Sequence", "Iterable")
SEE_KEYS = "Add --print_config to see all keys."
# Beginnings of the lines of a report that say where jsonargparse looked, not what is wrong.
BOILERPLATE = (
    "Parser key", "Does not validate", "Subtypes:", "Errors:", "Problem with", "Given value",
    "Unable to load", "Expected a path but", "Expected a <class 'NoneType'>",
    "Expected <class 'NoneType'>",
)  # fmt: skip
OF_PART = re.compile(r"[\w.]+: (expected|there is no) ")  # sentences about a key below another
UNLOADED = r"Unable to load config '(.+?)'"


class Report:
    """A `Report` splits an error report of jsonargparse into its parts.

    Args:
        text: the text of the report.
        keys: the keys that the command knows.

    Attributes:
        key: the dotted key of the value that is wrong; empty if none is named.
        place: the key, and the file that could not be loaded for it, if there is one.
        lines: the lines that say what is wrong.
    """

    def __init__(self, text: str, keys: Iterable[str]):
        self.keys = keys
        self.key = ".".join(re.findall(r'Parser key "([\w.]+)":\s*$', text, re.MULTILINE))
        unloaded = re.search(UNLOADED, text)
        self.place = f"{self.key}: {Path(unloaded[1])}" if unloaded else self.key
        lines = (line.strip(" -") for line in text.splitlines())
        self.lines = [line for line in lines if line and not line.startswith(BOILERPLATE)]


def explain_report(text: str, keys: Iterable[str] = ()) -> str:
    r"""Return one sentence for a report of jsonargparse, with the nearest valid name, if any.

    Args:
        text: the report.
        keys: the keys that the command knows.

    >>> explain_report("Subcommand 'fit' does not accept option 'lamda'", ["lambda", "depth"])
    "There is no key 'lamda'. Did you mean 'lambda'? Valid names: depth, lambda."
    >>> explain_report("Parser key \"depth\":\n  Expected a <class 'int'>. Got value: two")
    "depth: expected int, got 'two'."
    """
    report = Report(text, keys)
    for pattern, sentence in SENTENCES:
        if (found := re.search(pattern, text)) and (said := sentence(found, report)):
            return said
    return after(report.place, report.lines[0] if report.lines else NO_CONFIG)


def after(place: str, sentence: str) -> str:
    """Return a sentence preceded by the key or file that it is about, if there is one.

    >>> after("tasks", "expected a list."), after("model", "depth: expected int.")
    ('tasks: expected a list.', 'model.depth: expected int.')
    """
    between = "." if OF_PART.match(sentence) else ": "
    return f"{place}{between}{sentence}" if place else sentence


def unknown_key(found: re.Match[str], report: Report) -> str:
    """Say that a key does not exist, and name the nearest one."""
    name = re.sub(r"\.(class_path|init_args)\b.*", "", found[1])  # without the class of its value
    return f"There is no key '{name}'. {nearest_key(name, report.keys, SEE_KEYS)}"


def stray_word(found: re.Match[str], report: Report) -> str:
    """Say that an option does not exist, or that a word belongs to no key."""
    word = found[1]
    if word.startswith("-"):
        return f"There is no option '{word}'. {nearest_key(word.strip('-'), report.keys, SEE_KEYS)}"
    return f"'{word}' does not follow an option: give a config as --config {word}."


def unknown_class(found: re.Match[str], report: Report) -> str:
    """Say that a class does not exist, and name the nearest one that the key takes."""
    key = report.key.rpartition(".")[2]
    if key == "model" and found[1] in choices_of(MergeMethod):
        return f"'{found[1]}' is a merge method: give --model.merge {found[1]}."
    bases = [CHOSEN_BY_KEY[key]] if key in CHOSEN_BY_KEY else CHOSEN_BY_KEY.values()
    names = {name for base in bases for name in choices_of(base)}
    backbone = " A backbone is set by --suite.backbone.model." if key == "model" else ""
    return f"There is no class '{found[1]}'. {nearest_name(found[1], names)}{backbone}"


def unknown_attribute(found: re.Match[str], report: Report) -> str:
    """Say that a module has no such class, and name the nearest of its classes."""
    module, name = found[1], found[2]
    members = vars(sys.modules[module]) if module in sys.modules else {}
    names = [f"{module}.{known}" for known, value in members.items() if isinstance(value, type)]
    return f"There is no class '{module}.{name}'. {nearest_name(f'{module}.{name}', names)}"


def not_derived(found: re.Match[str], report: Report) -> str:
    """Say that a class is not derived from the base that the key takes."""
    given = re.search(r"(?:val='|Given value: )([\w.]+)\b(?!\()", found.string)
    named = found[1] or (given[1] if given else "This")
    return after(report.key, f"{named} is not derived from {found[2]}: name a class that is.")


def missing_file(found: re.Match[str], report: Report) -> str:
    """Say that a file does not exist, and name the nearest one; return "" if the file exists."""
    path = Path(found[1])
    if path.is_file():
        return ""
    siblings = [sibling.name for sibling in path.parent.glob("*.yaml")]
    return f"{report.key}: there is no file {path}. {did_you_mean(path.name, siblings)}"


def wrong_type(found: re.Match[str], report: Report) -> str:
    """Say which types a key takes; return "" if the report is not about a type."""
    if not "".join(report.lines).startswith("Expected a"):
        return ""
    types = re.findall(
        r"Expected an? (?:<class '|typing\.)?(.*?)(?:'>|$|\. Got)", "\n".join(report.lines), re.M
    )
    value = found[1]
    choices = re.fullmatch(r"Literal(\[.*\])", types[0]) if len(types) == 1 else None
    if choices:
        names = map(str, literal_eval(choices[1]))
        return after(report.place, f"there is no '{value}'. {nearest_name(value, names)}")
    hint = ""
    if types[0].startswith(LIST_TYPES) and value[:1] not in ("[", "("):
        types[0] = "a list"
        hint = f" Write it in brackets: '[{value}]'."
    elif "str" in types and is_no_text(value):
        hint = f" {QUOTE_NAMES}"
    wanted = " or ".join(dict.fromkeys(types))
    return after(report.place, f"expected {wanted}, got '{value}'.") + hint


# Patterns of reports, and functions that make a sentence of the match; "" leaves it to the next.
SENTENCES: tuple[tuple[str, Callable[[re.Match[str], Report], str]], ...] = (
    # The parser of the command quotes the sentence of the parser of a class.
    (r"There is no (?:key|class) '.*", lambda found, _: found[0]),
    (r"The YAML .*", lambda found, report: after(report.key, found[0])),
    (r"(?:[\w.]+: )*A config may not name '.*", lambda found, report: after(report.key, found[0])),
    (DENIED.pattern, lambda found, report: after(report.key, not_allowed(found[1]))),
    (r"(?:unrecognized arguments: --|[Oo]ption ')([\w.-]+)", unknown_key),
    (r"unrecognized arguments: (\S+)", stray_word),
    (r"Expected (?:a )?dot import path string: (\S+)", unknown_class),
    (r"module '([\w.]+)' has no attribute '(\w+)'", unknown_attribute),
    (r"Import path ([\w.]*) ?does not correspond to a subclass of (\w+)", not_derived),
    (r"invalid choice: '(\S+)' \(choose from ", lambda found, _: wrong_command(found[1])),
    (r'expected "subcommand" to be one of', lambda *_: wrong_command()),
    (
        r"arguments are required: \w+\.(\w+)|[Kk]ey ['\"](suite)\.name",
        lambda found, _: (
            f"No {found[1] or found[2]} was given: start from a config, with --config NAME."
        ),
    ),
    (r"Unexpected config:", lambda *_: NO_CONFIG),
    (UNLOADED, missing_file),
    (r"Call to compute_fn .* failed: (.*)", lambda found, _: found[1]),
    (
        r'(?s:\A.*)in "<unicode string>", line (\d+)',  # the last line counts
        lambda found, report: after(report.place, f"not valid YAML near line {found[1]}."),
    ),
    (r"codec can't decode", lambda _, report: after(report.place, "it is not text in UTF-8.")),
    (r"(?s:\A.*)(?:Got|Given) value: (.*)", wrong_type),  # the last value is the whole one
)


def is_no_text(value: str) -> bool:
    """Return whether YAML reads a value as numbers, truth values or nothing, not as names.

    >>> is_no_text("[1, 'a']"), is_no_text("None"), is_no_text("['a']"), is_no_text("a")
    (True, True, False, False)
    """
    try:
        parsed = literal_eval(value)
    except (ValueError, SyntaxError):
        return False
    items = parsed if isinstance(parsed, list) else [parsed]
    return any(not isinstance(item, str) for item in items)
