"""Callbacks of a trainer are found by their class."""

from collections.abc import Callable

import lightning as L

from wemoe_pl.callbacks.curves import Curves
from wemoe_pl.callbacks.lookup import all_callbacks, callbacks_of
from wemoe_pl.callbacks.processes import EndTogether, Requeue


def test_callbacks_are_found_by_class_in_their_order(
    quiet_trainer: Callable[..., L.Trainer],
) -> None:
    one, other = Requeue(), EndTogether()
    trainer = quiet_trainer(callbacks=[one, other])
    assert callbacks_of(trainer, Requeue) == [one]
    assert callbacks_of(trainer, L.Callback)[:2] == [one, other]
    assert callbacks_of(trainer, Curves) == []
    all_callbacks(trainer).append(curves := Curves())
    assert callbacks_of(trainer, Curves) == [curves]
