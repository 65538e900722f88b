"""Keep names and times in YAML as they are written, such as `no`, `00`, `1e3` or `1:30`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
ITEMS_ARE_NAMES = frozenset({"class_names", "label_names", "tasks", "unseen"})
KEYS_ARE_NAMES = frozenset({"tasks", "experts", "heads"})
VALUES_ARE_NAMES = frozenset({"task", "name"})
NULLS = frozenset({"null", "Null", "NULL", "~"})  # only values may be null, not items or keys
MERGE = "<<"  # the key that inserts the keys of another mapping
SEXAGESIMAL = re.compile(r"[-+]?\d[\d_]*(:[0-5]?\d)+(\.[\d_]*)?")  # a number to base 60
BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"  # may begin a file; parsers do not count it


def quote_names(text: str) -> str:
    """Put quotes around names in YAML that have none, so that all readers take them for text.

    Numbers to base 60 get quotes too: YAML 1.1 takes `1:30`, an hour and a half, for 90.

    Raises:
        yaml.YAMLError: the text is no YAML.

    >>> quote_names("class_names: [yes, 00, cat]")
    "class_names: ['yes', '00', 'cat']"
    >>> quote_names("max_time: 1:12:00:00")
    "max_time: '1:12:00:00'"
    >>> quote_names("heads: {1: head.safetensors}")
    "heads: {'1': head.safetensors}"
    """
    text = text.removeprefix(BYTE_ORDER_MARK)
    parts, done = [], 0
    for name, end in unquoted_names(text):
        quoted = name.replace("'", "''")
        parts += [text[done : end - len(name)], f"'{quoted}'"]
        done = end
    return "".join([*parts, text[done:]])


@dataclass
class Parent:
    """A `Parent` is a mapping or sequence, with the place in it that a parser has reached.

    Args:
        key: the key whose value it is; "" if it is not the value of a key.
        is_mapping: True for a mapping, False for a sequence.
        pending: the key of a mapping whose value comes next; None if a key comes next.
    """

    key: str
    is_mapping: bool
    pending: str | None = None


def unquoted_names(text: str) -> Iterator[tuple[str, int]]:
    """Yield the names and times without quotes in a text, in order, with the index of their end."""
    above = [Parent("", is_mapping=False)]
    for event in yaml.parse(text, LOADER):
        if isinstance(event, yaml.CollectionEndEvent):
            above.pop()
        if not isinstance(event, yaml.NodeEvent):
            continue
        parent = above[-1]
        if (
            isinstance(event, yaml.ScalarEvent)
            and (is_name(event.value, parent) or SEXAGESIMAL.fullmatch(event.value))
            and (end := end_of_plain(event)) is not None
        ):
            yield event.value, end
        key = parent.pending or ""
        if parent.is_mapping:
            is_key = parent.pending is None
            parent.pending = str(getattr(event, "value", "")) if is_key else None
        if isinstance(event, yaml.CollectionStartEvent):
            above.append(Parent(key, isinstance(event, yaml.MappingStartEvent)))


def end_of_plain(scalar: yaml.ScalarEvent) -> int | None:
    """Return the end of a scalar in one line that is without quotes and not empty; else None."""
    start, end = scalar.start_mark, scalar.end_mark
    if not (scalar.value and scalar.implicit[0] and start and end and start.line == end.line):
        return None
    place: int = end.index
    return place


def is_name(value: str, parent: Parent) -> bool:
    """Return whether a scalar stands in a place for the name of a class or a task."""
    if not parent.is_mapping:
        return last_part(parent.key) in ITEMS_ARE_NAMES
    if parent.pending is None:
        return last_part(parent.key) in KEYS_ARE_NAMES and value != MERGE
    return last_part(parent.pending) in VALUES_ARE_NAMES and value not in NULLS


def last_part(key: str) -> str:
    """Return the last part of a key, which may be written with points.

    >>> last_part("init_args.class_names")
    'class_names'
    """
    return key.rpartition(".")[2]
