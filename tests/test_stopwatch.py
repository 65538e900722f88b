"""Time and memory."""

import time
from pathlib import Path

import pytest
import torch

from wemoe_pl import stopwatch
from wemoe_pl.stopwatch import interleaved, peak_memory


def test_runs_take_turns_and_the_first_turn_is_not_counted() -> None:
    turns: list[str] = []
    clock = {"a": iter([0.0, 5.0, 1.0]), "b": iter([0.0, 2.0, 4.0])}

    def run(name: str) -> None:
        turns.append(name)
        time.sleep(next(clock[name]) / 1000)

    medians = interleaved({name: lambda n=name: run(n) for name in clock}, 2, "cpu")  # type: ignore[misc]
    assert turns == ["a", "b", "a", "b", "a", "b"]
    assert medians.keys() == {"a", "b"}
    assert all(seconds >= 0.003 for seconds in medians.values())


@pytest.mark.skipif(not stopwatch.RESET.exists(), reason="only Linux tells the peak")
def test_the_peak_is_what_was_held_at_once() -> None:
    def run() -> int:
        for _ in range(3):
            torch.ones(2**22)  # 16 MiB, freed at once
        return 7

    result, held = peak_memory(run, "cpu")
    assert result == 7
    assert held is not None
    assert 14 * 2**20 < held < 40 * 2**20


def test_where_nothing_tells_the_peak_it_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopwatch, "RESET", Path("/nowhere"))
    assert peak_memory(lambda: 3, "cpu") == (3, None)
