"""What a request may ask, and the sentences about what it may not."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from wemoe_pl.errors import ConfigError
from wemoe_pl.export.serving.request import (
    NO_URLS,
    AskedOptions,
    RequestLimits,
    fault_in_options,
    read_json,
)

IMAGE = base64.b64encode(b"bytes of an image").decode()


def as_body(contents: Any) -> bytes:
    return json.dumps(contents).encode()


def test_json_has_the_image_in_base64_and_the_options_beside_it() -> None:
    image, options = read_json(as_body({"image": IMAGE, "task": "mnist", "top": 3}))
    assert image == b"bytes of an image"
    assert options == {"task": "mnist", "top": 3}


@pytest.mark.parametrize(
    ("contents", "sentence"),
    [
        ([IMAGE], 'A request as JSON is an object such as {"image": "…", "top": 5}.'),
        ({}, "'image' is missing."),
        ({"image": 5}, "'image' is 5 and should be a valid string."),
        ({"image": "§"}, "'image' is not valid base64: encode the bytes"),
        ({"image": f"data:image/png;base64,{IMAGE}"}, "or a prefix such as `data:`"),
        ({"image": "https://example.org/cat.png"}, NO_URLS),
        ({"url": "https://example.org/cat.png"}, NO_URLS),
        ({"image_url": "file:///etc/passwd", "image": IMAGE}, NO_URLS),
        ({"image": IMAGE, "taks": "mnist"}, "There is no option 'taks'. Did you mean 'task'?"),
        ({"image": IMAGE, "top": 0}, "'top' is 0 and should be greater than or equal to 1."),
        ({"image": IMAGE, "top": "many"}, "'top' is 'many' and should be a valid integer"),
        ({"image": IMAGE, "reject": "perhaps"}, "'reject' is 'perhaps' and should be a valid b"),
    ],
)
def test_json_that_asks_for_nothing_is_refused(contents: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        read_json(as_body(contents))
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "The body of the request is not valid JSON: "),
        (b"\xff\xd8\xff", "The body of the request is not valid JSON: "),
        (b'{"top": 1, "top": 2}', "'top' comes twice"),
        (b'{"top": NaN}', "'NaN' is not a number"),
        (b"[" * 100_000, "it is nested too deeply"),
    ],
)
def test_what_is_no_json_is_refused(body: bytes, sentence: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        read_json(body)
    assert sentence in str(refusal.value)


@given(st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(as_body))
def test_any_other_body_is_refused_in_a_sentence(body: bytes) -> None:
    with pytest.raises(ConfigError, match=r"."):
        read_json(body)


@given(st.dictionaries(st.sampled_from(["task", "top", "reject", "routing", "x"]), st.text()))
def test_options_are_taken_or_refused_in_a_sentence(query: dict[str, str]) -> None:
    try:
        AskedOptions.model_validate(query)
        said = "It is taken."
    except ValidationError as error:
        said = fault_in_options(error.errors())
    assert said.endswith(".")


def test_an_unknown_option_is_named_before_one_that_is_missing_or_wrong() -> None:
    missing = {"type": "missing", "loc": ("image",), "msg": "", "input": {}}
    unknown = {"type": "extra_forbidden", "loc": ("query", "topp"), "msg": "", "input": 1}
    sentence = "There is no option 'topp'. Did you mean 'top'?"
    assert fault_in_options([missing, unknown]).startswith(sentence)


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"most_bytes": 0}, "--max-bytes is 0: give a number from 1"),
        ({"most_pixels": -1}, "--max-pixels is -1: give a number from 1"),
        ({"most_pixels": 10**9}, "--max-pixels is 1000000000: give at most 89478485"),
    ],
)
def test_limits_that_are_none_are_refused(limits: dict[str, int], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        RequestLimits(**limits)
