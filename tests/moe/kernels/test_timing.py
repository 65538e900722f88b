"""Time and memory."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from wemoe_pl.moe.kernels import timing
from wemoe_pl.moe.kernels.timing import interleaved, peak_memory


def test_runs_take_turns_and_the_first_of_each_turn_is_not_counted() -> None:
    turns: list[str] = []
    clock = {"a": iter([0.0, 5.0, 0.0, 3.0]), "b": iter([0.0, 4.0, 0.0, 4.0])}

    def run(name: str) -> None:
        turns.append(name)
        time.sleep(next(clock[name]) / 1000)

    medians = interleaved({name: lambda n=name: run(n) for name in clock}, 2, "cpu")  # type: ignore[misc]
    assert turns == ["a", "a", "b", "b"] * 2
    assert medians.keys() == {"a", "b"}
    assert all(seconds >= 0.003 for seconds in medians.values())


ONE_AFTER_ANOTHER = """
import torch
from wemoe_pl.moe.kernels.timing import peak_memory

def run():
    for _ in range(3):
        torch.ones(2**22)  # 16 MiB, freed at once
    return 7

print(*peak_memory(run, "cpu"))
"""


@pytest.mark.slow
@pytest.mark.skipif(not timing.RESET.exists(), reason="only Linux tells the peak")
def test_the_peak_is_what_was_held_at_once() -> None:
    alone = subprocess.run(  # what other tests have freed may be held here still
        [sys.executable, "-c", ONE_AFTER_ANOTHER], capture_output=True, text=True, check=True
    )
    result, held = map(int, alone.stdout.split())
    assert result == 7
    assert 14 * 2**20 < held < 40 * 2**20


def test_where_nothing_tells_the_peak_it_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "RESET", Path("/nowhere"))
    assert peak_memory(lambda: 3, "cpu") == (3, None)
