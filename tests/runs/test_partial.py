"""Limits of a trainer: which are refused, and what is said of the others."""

from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.trainer.states import TrainerFn

from wemoe_pl.errors import ConfigError
from wemoe_pl.runs.partial import check_limits, what_was_scored, what_was_validated

LOADERS = [range(4), range(9)]  # as long as these


def trainer(**values: Any) -> Any:
    defaults = {
        "fast_dev_run": False, "limit_test_batches": 1.0, "limit_val_batches": 1.0,
        "state": SimpleNamespace(fn=TrainerFn.TESTING), "test_dataloaders": LOADERS,
        "val_dataloaders": LOADERS, "num_test_batches": [4, 9], "num_val_batches": [4, 9],
    }  # fmt: skip
    return SimpleNamespace(**{**defaults, **values})


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, None),
        (
            {"limit_test_batches": 1, "num_test_batches": [1, 1]},
            "Only the first batch of test images of every task was scored.",
        ),
        (
            {"limit_test_batches": 0.5, "num_test_batches": [2, 4]},
            "Only the first 50 % of the test images of every task was scored.",
        ),
        ({"limit_test_batches": 100}, None),
        (
            {"limit_test_batches": 5, "num_test_batches": [4, 5]},
            "Only the first 5 batches of test images of every task was scored.",
        ),
        ({"fast_dev_run": 3}, "Only a trial: the first 3 batches of test images of every"),
    ],
)
def test_what_was_scored_only_in_part_is_said(values: dict[str, Any], told: str | None) -> None:
    found = what_was_scored(trainer(**values))
    assert found is None if told is None else (found or "").startswith(told)


def test_curves_of_a_part_are_said_to_be() -> None:
    assert what_was_validated(trainer()) is None
    assert what_was_validated(trainer(limit_val_batches=0)) is None
    told = what_was_validated(trainer(limit_val_batches=2))
    assert (
        told == "The validation curves cover only the first 2 batches of test images of every task."
    )


def test_limits_that_leave_something_are_taken() -> None:
    check_limits({"limit_train_batches": 4, "accumulate_grad_batches": 2, "overfit_batches": 0.0})
    check_limits({"limit_test_batches": None, "limit_val_batches": 0})


@pytest.mark.parametrize("name", ["limit_train_batches", "overfit_batches"])
def test_an_epoch_is_a_number_of_whole_steps(name: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"trainer\.{name} counts batches, and 2 .* multiple of 2"
    ):
        check_limits({name: 3, "accumulate_grad_batches": 2})
