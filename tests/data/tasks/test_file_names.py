"""Names of files as text: every one can be printed, written and read back, and no two are alike."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wemoe_pl.data.tasks import name_some, path_of, printable

NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: not {0, ord("/")} & {*name})


@given(NAMES)
def test_every_name_is_read_back_from_its_text(name: bytes) -> None:
    text = printable(os.fsdecode(name))
    text.encode("utf-8")
    assert os.fsencode(path_of(text)) == os.fsencode(Path(os.fsdecode(name)))


@given(NAMES, NAMES)
def test_two_names_never_read_alike(one: bytes, other: bytes) -> None:
    same = os.fsdecode(one) == os.fsdecode(other)
    assert (printable(os.fsdecode(one)) == printable(os.fsdecode(other))) == same


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"pets/a b%20.png", "pets/a b%20.png"),
        ("café 😀.png".encode(), "café 😀.png"),
        (b"caf\xe9.png", r"caf\xe9.png"),
        (rb"caf\xe9.png", r"caf\\xe9.png"),
        (b"\xff\\", r"\xff\\"),
    ],
)
def test_only_backslashes_and_what_is_no_utf_8_are_escaped(name: bytes, text: str) -> None:
    assert printable(Path(os.fsdecode(name))) == text


def test_of_many_names_the_first_five_are_named() -> None:
    assert name_some("abcde") == "a, b, c, d, e"
    assert name_some("abcdefg") == "a, b, c, d, e and 2 more"
