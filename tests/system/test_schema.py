"""What a schema says of contents that are not as it wants them."""

from dataclasses import dataclass, field
from typing import Any, NotRequired

import pytest
import torch
from pydantic import with_config
from torch import Tensor
from typing_extensions import TypedDict

from wemoe_pl.system.schema import OPEN, STRICT, Faults, Schema, parse_json


class Part(TypedDict):
    weight: Tensor
    count: NotRequired[int]


@with_config(STRICT)
class Whole(TypedDict):
    name: str
    score: float | None
    parts: dict[str, Part]


@with_config(OPEN)
class Open(TypedDict):
    name: str


@with_config(STRICT)
@dataclass(frozen=True)
class Record:
    name: str
    sizes: dict[str, int] = field(default_factory=dict)


WHOLE: dict[str, Any] = {"name": "a", "score": 1, "parts": {"b": {"weight": torch.ones(2)}}}


def test_contents_that_are_right_have_no_faults() -> None:
    assert Schema(Whole).faults(WHOLE) == Faults()
    assert Schema(Open).faults({"name": "a", "more": 1}) == Faults()
    assert Schema(Record).faults({"name": "a", "sizes": {"b": 1}}) == Faults()
    assert Schema(Record).make({"name": "a", "sizes": {"b": 1}}) == Record("a", {"b": 1})


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"name": 1}, "'name' is 1 and should be a valid string"),
        ({"score": True}, "'score' is True and should be a valid number"),
        ({"score": "1"}, "'score' is '1' and should be a valid number"),
        ({"score": float("nan")}, "'score' is nan and should be a finite number"),
        ({"parts": None}, "'parts' is None and should be a valid dictionary"),
        ({"parts": {"b": {}}}, "'parts.b.weight' is missing"),
        (
            {"parts": {"b": {"weight": [1.0]}}},
            "'parts.b.weight' is [1.0] and should be an instance",
        ),
        (
            {"parts": {"b": {"weight": torch.ones(1), "count": 1.5}}},
            "'parts.b.count' is 1.5 and sho",
        ),
    ],
)
def test_the_first_wrong_field_is_named(changes: dict[str, Any], wrong: str) -> None:
    assert Schema(Whole).faults({**WHOLE, **changes}).wrong.startswith(wrong)


@pytest.mark.parametrize("contents", [None, [], "text", 3, {1: 2}])
def test_contents_that_are_no_such_mapping_are_wrong(contents: Any) -> None:
    assert Schema(Whole).faults(contents).wrong
    assert Schema(Record).faults(contents).wrong


def test_unknown_fields_are_named_apart() -> None:
    assert Schema(Whole).faults({**WHOLE, "later": 1, "parts": {}}) == Faults("", ("later",))
    assert Schema(Record).faults({"name": "a", "later": 1}) == Faults("", ("later",))


def test_a_long_value_is_cut() -> None:
    assert len(Schema(Open).faults({"name": ["x" * 1000] * 1000}).wrong) < 300


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"), ("{", "Expecting property name"),
        ("[NaN]", "'NaN' is not a number"),
        ('{"a": {"b": 1, "b": 2}}', "'b' comes twice"), ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "Exceeds the limit"),
    ],
)  # fmt: skip
def test_what_is_no_plain_json_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_json(text)
