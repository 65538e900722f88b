"""States of optimisers and learning rates that a fit cannot go on with."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch.core.optimizer import _MockOptimizer
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from wemoe_pl.errors import CheckpointError
from wemoe_pl.training.optimizer_check import check_optimizers, check_schedulers


@pytest.fixture
def fit() -> tuple[Adam, CosineAnnealingLR]:
    """An optimiser of two parameters and its schedule, after a step."""
    layer = nn.Linear(3, 2)
    optimizer = Adam(layer.parameters(), lr=0.1)
    scheduler = CosineAnnealingLR(optimizer, 5)
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    scheduler.step()
    return optimizer, scheduler


def test_what_was_saved_is_taken(fit: tuple[Adam, CosineAnnealingLR]) -> None:
    optimizer, scheduler = fit
    check_optimizers([optimizer.state_dict()], [optimizer])
    check_schedulers([scheduler.state_dict()], [scheduler])
    plain = SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    check_optimizers([plain.state_dict()], [plain])
    check_optimizers([], [])
    check_optimizers([{}], [_MockOptimizer()])  # of a merge in closed form


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: s["param_groups"][0].update(lr="fast"), "'lr' is 'fast'"),
        (lambda s: s["param_groups"][0].pop("betas"), "'betas' is None"),
        (lambda s: s["param_groups"][0].update(betas=(0.9,)), r"'betas' is \(0\.9,\)"),
        (lambda s: s["param_groups"][0]["params"].pop(), "groups of parameters are not those"),
        (lambda s: s["param_groups"].clear(), "groups of parameters are not those"),
        (lambda s: s.clear(), "groups of parameters are not those"),
        (lambda s: s.pop("state"), "it has no moments"),
        (lambda s: s["state"][1].pop("exp_avg"), "moments of parameter 1 are not those"),
        (lambda s: s["state"].update({2: s["state"][1]}), "moments of parameter 2 are not those"),
        (lambda s: s["state"][0].update(exp_avg=torch.ones(2)), "'exp_avg' of parameter 0 is"),
        (lambda s: s["state"][0].update(exp_avg=torch.ones(())), "'exp_avg' of parameter 0 is"),
        (lambda s: s["state"][0].update(exp_avg_sq=None), "'exp_avg_sq' of parameter 0 is"),
        (lambda s: s["state"][1].update(step="one"), "'step' of parameter 1 is"),
        (lambda s: s["param_groups"][0].update(amsgrad="no"), "'amsgrad' is 'no'"),
        (lambda s: s["param_groups"][0].update(foreach=[3]), r"'foreach' is \[3\]"),
    ],
)
def test_a_state_of_no_such_optimiser_is_refused(
    change: Callable[[Any], object], complaint: str, fit: tuple[Adam, CosineAnnealingLR]
) -> None:
    state = fit[0].state_dict()
    change(state)
    with pytest.raises(
        CheckpointError, match=rf"optimiser state of the checkpoint is damaged.*{complaint}"
    ):
        check_optimizers([state], [fit[0]])


def test_as_many_states_as_optimisers_are_needed(fit: tuple[Adam, CosineAnnealingLR]) -> None:
    with pytest.raises(CheckpointError, match="there are 0 optimisers and not 1"):
        check_optimizers([], [fit[0]])
    with pytest.raises(CheckpointError, match="there are 0 schedules and not 1"):
        check_schedulers([], [fit[1]])


@pytest.mark.parametrize("changes", [{"T_max": None}, {"last_epoch": "2"}, {"base_lrs": []}])
def test_a_learning_rate_of_no_schedule_is_refused(
    changes: dict[str, Any], fit: tuple[Adam, CosineAnnealingLR]
) -> None:
    with pytest.raises(CheckpointError, match=rf"'{next(iter(changes))}' of the learning rate is"):
        check_schedulers([fit[1].state_dict() | changes], [fit[1]])
