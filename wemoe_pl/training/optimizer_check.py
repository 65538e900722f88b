"""Refuse the states of optimisers and of learning rates that a fit could not go on with."""

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from torch import Tensor
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from wemoe_pl.errors import CheckpointError

OF_ADAM = {"step", "exp_avg", "exp_avg_sq"}
RATES = ("lr", "betas", "eps", "weight_decay")  # options of a group that every step needs


def check_optimizers(saved: Sequence[Mapping[str, Any]], optimizers: Sequence[Optimizer]) -> None:
    """Raise `CheckpointError` unless optimisers can go on with the states in a checkpoint.

    Args:
        saved: a state per optimiser.
        optimizers: the optimisers of the fit.
    """
    if len(saved) != len(optimizers):
        raise damaged_state(f"there are {len(saved)} optimisers and not {len(optimizers)}")
    for state, optimizer in zip(saved, optimizers, strict=True):
        if not state and not optimizer.state_dict():  # Lightning's own, where a module has none
            continue
        check_groups(state.get("param_groups", ()), optimizer.param_groups)
        parameters = [*chain.from_iterable(group["params"] for group in optimizer.param_groups)]
        needed = OF_ADAM if isinstance(optimizer, Adam) else set()
        if "state" not in state:
            raise damaged_state("it has no moments")
        for place, moments in state["state"].items():
            if isinstance(place, str):  # some sharding strategies save states by parameter names
                continue
            if not 0 <= place < len(parameters) or not needed <= moments.keys():
                raise damaged_state(f"the moments of parameter {place} are not those of the model")
            for name, moment in moments.items():
                if not is_moment(moment, parameters[place], name in OF_ADAM - {"step"}):
                    raise damaged_state(
                        f"'{name}' of parameter {place} is of another shape or type"
                    )


def check_groups(saved: Sequence[Mapping[str, Any]], groups: Sequence[Mapping[str, Any]]) -> None:
    """Raise `CheckpointError` unless parameter groups have the sizes and options of a fit's."""
    if [len(g.get("params", ())) for g in saved] != [len(g["params"]) for g in groups]:
        raise damaged_state("its groups of parameters are not those of the model")
    for group, own in zip(saved, groups, strict=True):
        for name, value in own.items():
            is_there = name in group or name in RATES  # an earlier torch saved fewer options
            if name != "params" and is_there and not is_alike(group.get(name), value):
                raise damaged_state(f"'{name}' is {group.get(name)!r}, and of another type")


def check_schedulers(saved: Sequence[Mapping[str, Any]], schedulers: Sequence[LRScheduler]) -> None:
    """Raise `CheckpointError` unless learning rates can go on with the states in a checkpoint.

    Args:
        saved: a state per schedule.
        schedulers: the schedules of the fit.
    """
    if len(saved) != len(schedulers):
        raise damaged_state(f"there are {len(saved)} schedules and not {len(schedulers)}")
    for state, scheduler in zip(saved, schedulers, strict=True):
        for name, own in scheduler.state_dict().items():
            if not name.startswith("_") and not is_alike(state.get(name), own):
                raise damaged_state(f"'{name}' of the learning rate is {state.get(name)!r}")


def is_moment(moment: Any, parameter: Tensor, is_as_large: bool) -> bool:
    """Return whether an optimiser can have saved this value for a parameter.

    The value is a tensor of real numbers of the parameter's shape, or, unless `is_as_large`, one
    number.
    """
    if isinstance(moment, Tensor):
        shapes = (parameter.shape,) if is_as_large else ((), parameter.shape)
        return moment.is_floating_point() and moment.shape in shapes
    return is_finite_number(moment) and not is_as_large


def is_alike(one: Any, other: Any) -> bool:
    """Return whether two values are of one type, counting all finite numbers as one type."""
    if is_finite_number(other):
        return is_finite_number(one)
    if isinstance(other, list | tuple):
        is_list = isinstance(one, list | tuple) and len(one) == len(other)
        return is_list and all(map(is_alike, one, other))
    if other is None:
        return one is None or isinstance(one, bool)  # an option that torch decides, or the user
    return isinstance(one, type(other))


def is_finite_number(value: Any) -> bool:
    """Return whether a value is a finite number, or a tensor of one."""
    if isinstance(value, Tensor):
        return value.ndim == 0 and not value.is_complex() and bool(value.isfinite())
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def damaged_state(why: str) -> CheckpointError:
    """Return the error for a state that no fit of this model has saved."""
    return CheckpointError(
        f"The optimiser state of the checkpoint is damaged, or of another model: {why}. Go on from "
        "another checkpoint, or begin anew with --fresh."
    )
