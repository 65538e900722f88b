"""Read YAML from strangers: plain values, each key once, in bounded time and memory."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import yaml

from wemoe_pl.system.yaml_names import LOADER, quote_names

DEEPEST = 100  # levels: a config of ours has ten
MOST_VALUES = 100_000  # values that an alias repeats count again
LONG = 100  # characters of a text that count as one more value
HUGE = re.compile(r"[-+]?(\d[\d_]{19,}|0x[\da-fA-F_]{17,}|0b[01_]{65,})")  # numbers beyond 64 bits


class RefusedYaml(yaml.YAMLError):
    """A `RefusedYaml` means that YAML is well-formed, but is not read."""


def load_plain(text: str, load: Callable[[str], Any] = yaml.safe_load) -> Any:
    """Read YAML of plain values, or raise `yaml.YAMLError`.

    It refuses tags (`!!python/object`), keys that come twice, and too much nesting or repetition: a
    few lines of aliases of aliases can stand for billions of values, and many aliases of one long
    text for as many copies of it. Names of classes and tasks are read as text even if YAML would
    make other values of them: see `quote_names`.

    Args:
        text: the YAML.
        load: the function that reads the text once it is known to be plain.

    >>> load_plain("depth: 2")
    {'depth': 2}
    """
    with suppress(yaml.YAMLError):  # `check_plain` says what is wrong
        text = quote_names(text)
    check_plain(text)
    try:
        return load(text)
    except (ValueError, TypeError, OverflowError) as error:  # from numbers, dates and odd keys
        raise RefusedYaml(f"The YAML has a value that cannot be read: {error}.") from error


@dataclass
class Collection:
    """A `Collection` is a mapping or sequence that is being read.

    Args:
        anchor: the name for aliases, if there is one.
        keys: the keys of a mapping that have come; None for a sequence.
        values: the number of values in it, including itself and those that aliases repeat.
        children: the number of nodes directly below it so far; in a mapping, every other is a key.
    """

    anchor: str | None
    keys: set[str] | None
    values: int = 1
    children: int = 0


def check_plain(text: str) -> None:
    """Raise `RefusedYaml` unless YAML stands for plain values, and not for too many."""
    above: list[Collection] = []
    sizes: dict[str, int] = {}  # values by anchor, with those that aliases repeat
    for event in yaml.parse(text, LOADER):
        if isinstance(event, yaml.NodeEvent):
            if (tag := getattr(event, "tag", None)) is not None:
                short = tag.replace("tag:yaml.org,2002:", "!!")
                raise RefusedYaml(f"The YAML has the tag '{short}'{at(event)}: use plain values.")
            note_key(above, event)
        if isinstance(event, yaml.CollectionStartEvent):
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            above.append(Collection(event.anchor, set() if is_mapping else None))
            if len(above) > DEEPEST:
                raise RefusedYaml(f"The YAML is nested deeper than {DEEPEST} levels{at(event)}.")
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = above.pop()
            count(above, sizes, closed.anchor, closed.values, event)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise RefusedYaml(
                    f"The YAML's '*{event.anchor}'{at(event)} stands for nothing, or for itself."
                )
            count(above, sizes, None, sizes[event.anchor], event)
        elif isinstance(event, yaml.ScalarEvent):
            if event.implicit[0] and HUGE.fullmatch(event.value):
                raise RefusedYaml(
                    f"The YAML has a number of more than 64 bits{at(event)}: put quotes around it "
                    "if it is a name."
                )
            count(above, sizes, event.anchor, 1 + len(event.value) // LONG, event)


def note_key(above: list[Collection], event: yaml.NodeEvent) -> None:
    """Count a node below its collection; raise `RefusedYaml` for a key that has come before."""
    if not above:
        return
    parent = above[-1]
    is_key = parent.keys is not None and parent.children % 2 == 0
    parent.children += 1
    if not is_key or not isinstance(event, yaml.ScalarEvent) or parent.keys is None:
        return
    if event.value in parent.keys:
        raise RefusedYaml(f"The YAML has the key '{event.value}' twice{at(event)}: give it once.")
    parent.keys.add(event.value)


def count(
    above: list[Collection],
    sizes: dict[str, int],
    anchor: str | None,
    values: int,
    event: yaml.Event,
) -> None:
    """Add values to their collection; raise `RefusedYaml` if there are too many."""
    if anchor is not None:
        sizes[anchor] = values
    if above:
        above[-1].values += values
    if values > MOST_VALUES or (above and above[-1].values > MOST_VALUES):
        raise RefusedYaml(
            f"The YAML has more than {MOST_VALUES} values, or too much text{at(event)}."
        )


def at(event: yaml.Event) -> str:
    """Return the line of an event in words; empty if it is not known."""
    return f" in line {event.start_mark.line + 1}" if event.start_mark else ""
