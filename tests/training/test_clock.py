"""The clock of a run counts stages, blocks of them, and what an interrupted run had taken."""

from typing import Any

import pytest

from wemoe_pl.training import clock as clocks
from wemoe_pl.training.clock import StageClock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the clock of the machine shows, to be moved on."""
    shown = [100.0]
    monkeypatch.setattr(clocks, "perf_counter", lambda: shown[0])
    return shown


def test_a_stage_takes_its_time_and_that_of_the_run_that_it_resumes(now: list[float]) -> None:
    clock = StageClock()
    nobody: Any = None
    clock.setup(nobody, nobody, "fit")
    clock.resume(30.0)
    now[0] += 5
    assert clock.elapsed == 35.0
    clock.teardown(nobody, nobody, "fit")
    assert clock.seconds == {"fit": 35.0}


def test_the_blocks_of_a_stage_add_up(now: list[float]) -> None:
    clock = StageClock()
    for seconds in (2.0, 3.0):
        with clock.timed("build"):
            now[0] += seconds
    assert clock.seconds == {"build": 5.0}
