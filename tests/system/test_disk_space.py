"""Sizes are told as people tell them."""

import pytest

from wemoe_pl.system.disk_space import size_in_words


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (605_157_884, "605 MB"),
        (1_710_000_000, "1.71 GB"),
    ],
)
def test_sizes_are_told_as_people_tell_them(size: int, words: str) -> None:
    assert size_in_words(size) == words
