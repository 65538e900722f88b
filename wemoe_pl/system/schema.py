"""Check files that are read again against schemas, which name their fields and types."""

import json
import re
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from wemoe_pl.system.warn import warn

Described = TypeVar("Described")
# The pydantic errors for a field that a dictionary, or a dataclass, does not have.
UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
# Numbers may not be texts, truth values, infinite or NaN, unless a field says so.
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)
OPEN = STRICT | ConfigDict(extra="allow")  # for contents to which others may add fields
# A list of numbers that JSON has indented; no text in JSON has a line break that is not escaped.
ROW_OF_NUMBERS = re.compile(r"\[\n\s*([-+.\deE]+(?:,\n\s*[-+.\deE]+)*)\n\s*\]")


@dataclass(frozen=True)
class Faults:
    """`Faults` are the differences between the contents of a file and its schema.

    Attributes:
        wrong: the first field that is missing or of another type, in words; empty if none is.
        unknown: the dotted keys of the fields that the schema does not have.
    """

    wrong: str = ""
    unknown: tuple[str, ...] = ()

    @property
    def unknown_in_words(self) -> str:
        """Return the unknown fields, as the middle of a sentence.

        >>> Faults(unknown=("a", "b.c")).unknown_in_words
        "the fields 'a', 'b.c'"
        """
        names = ", ".join(f"'{name}'" for name in self.unknown)
        return f"the field{'s' if len(self.unknown) > 1 else ''} {names}"

    def warn_of_unknown(self, path: Path) -> None:
        """Warn of the unknown fields of a file, if it has any; the rest of the file is read."""
        if self.unknown:
            warn(
                f"{path} has {self.unknown_in_words}, which this version does not know: a later "
                "wemoe-pl has written the file, or it was changed. The rest is read."
            )


class Schema(Generic[Described]):
    """A schema says which fields one kind of file has, and of which types.

    Args:
        kind: a `TypedDict` or a dataclass, decorated by `with_config(STRICT)` or `OPEN`; the types
            of its fields need no decorator.

    >>> from pydantic import with_config
    >>> from typing_extensions import TypedDict
    >>> Score = with_config(STRICT)(TypedDict("Score", {"task": str, "mean": float}))
    >>> Schema(Score).faults({"task": "dtd", "mean": "high"}).wrong
    "'mean' is 'high' and should be a valid number"
    """

    def __init__(self, kind: type[Described]):
        self.kind = kind

    @cached_property
    def _adapter(self) -> TypeAdapter[Described]:
        """Return the checks, which are made only when they are needed, since that takes a while."""
        return TypeAdapter(self.kind)

    def make(self, contents: Any) -> Described:
        """Make the dataclass that contents without faults describe, with the dataclasses in it."""
        return self._adapter.validate_json(json.dumps(contents))

    def faults(self, contents: Any) -> Faults:
        """Compare the contents of a file, given as plain values and tensors, with the schema."""
        try:
            if is_dataclass(self.kind):  # strict pydantic makes dataclasses from JSON alone
                self.make(contents)
            else:
                self._adapter.validate_python(contents)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False)
            wrong = (in_words(fault) for fault in found if fault["type"] not in UNKNOWN)
            unknown = (dotted(fault["loc"]) for fault in found if fault["type"] in UNKNOWN)
            return Faults(next(wrong, ""), tuple(unknown))
        except (TypeError, ValueError, RecursionError) as error:
            return Faults(f"it is not plain data ({error})")
        return Faults()


def in_words(fault: Any) -> str:
    """Describe what is wrong with a field, as the middle of a sentence.

    Args:
        fault: one of pydantic's errors.
    """
    name = dotted(fault["loc"]) or "all of it"
    if fault["type"] == "missing":
        return f"'{name}' is missing"
    should = str(fault["msg"]).removeprefix("Input ").removeprefix("Value error, ")
    return f"'{name}' is {reprlib.repr(fault['input'])} and {should[:1].lower()}{should[1:]}"


def dotted(place: Iterable[int | str]) -> str:
    """Return the dotted key of a field.

    >>> dotted(("accuracy", "dtd", 0))
    'accuracy.dtd.0'
    """
    return ".".join(str(part) for part in place)


def json_text(value: Any) -> str:
    r"""Return JSON that people can read: indented, with every row of numbers on one line.

    Raises:
        ValueError: a number is not finite.

    >>> print(json_text({"rows": [[0.5, 1], [2, 3]], "name": "a"}), end="")
    {
      "rows": [
        [0.5, 1],
        [2, 3]
      ],
      "name": "a"
    }
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return ROW_OF_NUMBERS.sub(lambda row: f"[{' '.join(row[1].split())}]", text) + "\n"


def parse_json(text: str) -> Any:
    """Read JSON in which every key comes once and every number is finite.

    Raises:
        ValueError: the text is no such JSON, or is nested too deeply.

    >>> parse_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ...
    ValueError: 'a' comes twice
    """
    try:
        return json.loads(text, object_pairs_hook=mapping_of, parse_constant=no_number)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def mapping_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a mapping of key and value pairs; raise `ValueError` if a key comes twice."""
    mapping: dict[str, Any] = {}
    for name, value in pairs:
        if name in mapping:
            raise ValueError(f"'{name}' comes twice")
        mapping[name] = value
    return mapping


def no_number(name: str) -> Any:
    """Raise `ValueError` for a constant that Python reads as a number and JSON does not have."""
    raise ValueError(f"'{name}' is not a number")
