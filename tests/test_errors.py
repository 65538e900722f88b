"""Errors that a user can put right share one parent, and name what would have been right."""

import pytest

from wemoe_pl.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    HubError,
    MergeError,
    UnreachableError,
    WeMoEError,
    check_class_names,
    did_you_mean,
    sentence_of,
)


@pytest.mark.parametrize(
    "error", [CheckpointError, ConfigError, DataError, HubError, MergeError, UnreachableError]
)
def test_one_except_clause_catches_every_error(error: type[WeMoEError]) -> None:
    with pytest.raises(WeMoEError, match="what to do"):
        raise error("what to do")


def test_what_cannot_be_reached_is_told_from_what_the_hub_refuses() -> None:
    assert issubclass(UnreachableError, HubError)
    with pytest.raises(HubError, match="try"):
        raise UnreachableError("try where there is a network")


FROM_A_WORKER = """Caught FileNotFoundError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "data.py", line 1, in fetch
KeyError: 'a'

During handling of the above exception, another exception occurred:
  File "data.py", line 2, in fetch
{}: There is no file.
"""


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (DataError(FROM_A_WORKER.format("wemoe_pl.errors.DataError")), "There is no file."),
        (FileNotFoundError(FROM_A_WORKER.format("FileNotFoundError")), "There is no file."),
        (OSError(28, "No space left on device", "a.csv"), "a.csv: No space left on device."),
        (OSError("The disk is gone."), "The disk is gone."),
        (ConfigError("In YAML:\nValueError: what it said."), "In YAML:\nValueError: what it said."),
        (OSError(), "OSError"),
    ],
)
def test_what_an_error_says_is_without_the_traceback_of_a_loading_process(
    error: WeMoEError | OSError, sentence: str
) -> None:
    assert sentence_of(error) == sentence


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


def test_did_you_mean_names_all_as_long_as_they_are_few() -> None:
    names = [f"task{i:02}" for i in range(20)]
    answer = did_you_mean("task5", names)
    assert answer == f"Did you mean 'task15'? Valid names: {', '.join(names)}."


def test_did_you_mean_names_the_nearest_of_many_and_counts_the_others() -> None:
    names = [f"task{i:02}" for i in range(30, -1, -1)]
    counted = "There are 31 valid names, from 'task00' to 'task30'."
    assert did_you_mean("taks07", names) == f"Did you mean 'task07'? {counted}"
    assert did_you_mean("imagenet", names) == counted


@pytest.mark.parametrize("name", [3, None, ["cat"], 2**31])
def test_a_name_of_a_class_that_is_no_text_is_refused(name: object) -> None:
    with pytest.raises(DataError, match=r"^The column has .* for class 1: give every class a name"):
        check_class_names(["cat", name], "The column", DataError)
