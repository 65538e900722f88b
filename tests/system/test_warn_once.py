"""A sentence is told once in a process, whatever happens to Python's filters in between."""

import warnings

from wemoe_pl.system.warn_once import warn_once


def test_a_sentence_is_told_once_and_another_all_the_same() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for sentence in ("It is odd.", "It is odd.", "It is even."):
            warn_once(sentence)
    with warnings.catch_warnings(record=True) as again:
        warnings.simplefilter("always")
        warn_once("It is odd.")
    assert [str(warning.message) for warning in caught] == ["It is odd.", "It is even."]
    assert again == []
