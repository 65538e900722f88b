"""The time of each stage is added up, and the stage that takes most is called the bound."""

import time

import pytest

from wemoe_pl.export.many_images.stages import (
    DECODING,
    MODEL,
    WAITING,
    WRITING,
    Stages,
    rate,
    shares,
    speed_in_words,
    sum_of,
)

SECONDS = {DECODING: 9.0, WAITING: 1.0, MODEL: 6.0, WRITING: 3.0}


def test_a_stage_is_timed_also_if_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((10.0, 12.5, 20.0, 21.0))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    stages = Stages()
    with stages.timed(MODEL):
        pass
    with pytest.raises(ValueError, match="no"), stages.timed(MODEL):
        raise ValueError("no")
    assert stages.seconds == {DECODING: 0.0, WAITING: 0.0, MODEL: 3.5, WRITING: 0.0}


def test_shares_are_of_the_time_of_the_processes_that_answer() -> None:
    assert shares(SECONDS) == {WAITING: 0.1, MODEL: 0.6, WRITING: 0.3}
    assert rate(50, SECONDS) == 5.0
    assert sum_of([SECONDS, SECONDS])[DECODING] == 18.0


def test_the_bound_is_named_only_if_there_is_one() -> None:
    assert "60 % in the model (the bound)" in speed_in_words(10, SECONDS)
    assert "bound" not in speed_in_words(10, SECONDS | {MODEL: 3.0, WAITING: 3.0})


def test_nothing_that_took_no_time_is_divided_by() -> None:
    assert shares(Stages().seconds) == {WAITING: 0.0, MODEL: 0.0, WRITING: 0.0}
