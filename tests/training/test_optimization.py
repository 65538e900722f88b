"""Learning rates are above 0, and change with every step of a run whose length is known."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from wemoe_pl.errors import ConfigError
from wemoe_pl.training.optimization import (
    check_heads_are_averaged,
    checked_learning_rate,
    count_steps,
    stepwise,
)


def test_a_learning_rate_above_0_is_kept() -> None:
    assert checked_learning_rate(1e-9) == 1e-9


@pytest.mark.parametrize("rate", [0.0, -1e-3, math.nan])
def test_any_other_learning_rate_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match=f"^learning_rate is {rate}: give a number above 0.$"):
        checked_learning_rate(rate)


def test_a_run_of_unknown_length_is_refused() -> None:
    endless: Any = SimpleNamespace(max_steps=-1)
    with pytest.raises(ConfigError, match=r"^Give the number of steps: trainer\.max_steps, from 1"):
        count_steps(endless)
    one: Any = SimpleNamespace(max_steps=1)
    assert count_steps(one) == 1


def test_a_schedule_goes_on_with_every_step() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    configured = stepwise(optimizer, scheduler)
    assert configured["optimizer"] is optimizer
    assert configured["lr_scheduler"] == {"scheduler": scheduler, "interval": "step"}


def test_heads_are_not_trained_where_some_processes_have_no_images_for_them() -> None:
    def trainer(devices: int, batches: int) -> Any:
        return SimpleNamespace(world_size=devices, accumulate_grad_batches=batches)

    for devices, batches in ((1, 1), (1, 8), (2, 1)):
        check_heads_are_averaged(trainer(devices, batches))
    with pytest.raises(ConfigError, match=r"^Heads cannot be trained on several devices in steps"):
        check_heads_are_averaged(trainer(2, 8))
