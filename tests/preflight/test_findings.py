"""Problems and warnings are collected, and none hides another."""

import warnings

import pytest

from wemoe_pl.errors import DataError
from wemoe_pl.preflight.findings import Findings


def test_an_error_of_one_part_does_not_hide_those_of_others() -> None:
    findings = Findings()
    for part in ("cars", "dtd"):
        with findings.listed(part):
            raise DataError(f"There is no folder {part}.")
    with findings.listed("file"):
        raise FileNotFoundError(2, "No such file or directory", "a.png")
    assert findings.problems == [
        "cars: There is no folder cars.",
        "dtd: There is no folder dtd.",
        "file: a.png: No such file or directory.",
    ]


def test_a_warning_is_told_once_and_those_for_programmers_are_not() -> None:
    findings = Findings()
    for _ in range(2):
        with findings.listed("cars"):
            warnings.warn("2 images are skipped.", stacklevel=1)
            warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert findings.warnings == ["cars: 2 images are skipped."]
    assert findings.problems == []


def test_a_mistake_of_the_program_is_not_taken_for_one_of_the_users() -> None:
    with pytest.raises(KeyError), Findings().listed("cars"):
        raise KeyError("cars")
