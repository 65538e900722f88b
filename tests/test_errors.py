"""Errors that a user can put right share one parent, and name what would have been right."""

import pytest

from wemoe_pl.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    MergeError,
    WeMoEError,
    did_you_mean,
)


@pytest.mark.parametrize("error", [CheckpointError, ConfigError, DataError, MergeError])
def test_one_except_clause_catches_every_error(error: type[WeMoEError]) -> None:
    with pytest.raises(WeMoEError, match="what to do"):
        raise error("what to do")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("mnits", "Did you mean 'mnist'? Valid names: dtd, mnist."),
        ("imagenet", "Valid names: dtd, mnist."),
    ],
)
def test_did_you_mean_names_the_nearest_and_then_all(name: str, answer: str) -> None:
    assert did_you_mean(name, ["mnist", "dtd"]) == answer


def test_did_you_mean_accepts_a_generator_and_nothing() -> None:
    assert did_you_mean("dtb", (name for name in ["dtd"])).startswith("Did you mean 'dtd'?")
    assert did_you_mean("dtd", []) == "Valid names: none."
