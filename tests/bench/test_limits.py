"""What is counted, and what it is compared with."""

import pytest
import torch

from wemoe_pl.bench import limits
from wemoe_pl.bench.limits import Count, Machine
from wemoe_pl.bench.subjects import SHAPES, Settings

SETTINGS = Settings(shapes=("miniature",), samples=(1, 4), experts=(2,), repeats=1)


@pytest.fixture(autouse=True)
def small_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SIDE", 64)
    monkeypatch.setattr(limits, "READ", 2**12)


@pytest.mark.parametrize("learning", [False, True])
def test_counts_are_those_of_the_products_written_out(learning: bool) -> None:
    b, n, t, d, h = 3, 50, 2, 96, 384
    weights = d * h + h + h * d + d
    merge, use = b * t * weights, b * n * (d * h + h * d)
    passes = 3 if learning else 1
    count = Count.of(SHAPES["miniature"], samples=b, experts=t, learning=learning)
    assert count.multiply_adds == passes * (merge + use)
    assert count.numbers == (2 if learning else 1) * (t + 1) * weights


def test_a_machine_is_known_by_what_it_does_in_a_second() -> None:
    machine = Machine.measured(SETTINGS)
    assert machine.multiply_adds > 1e6
    assert machine.bytes > 1e6


def test_a_ratio_is_to_the_larger_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    for machine, larger in (Machine(1e9, 1e3), "reading"), (Machine(1e3, 1e9), "arithmetic"):
        monkeypatch.setattr(Machine, "measured", lambda settings, made=machine: made)
        torch.manual_seed(0)
        rows = [*limits.limits(SETTINGS)]
        loads = [(row["samples"], row["what"]) for row in rows]
        assert loads == [(b, what) for b in (1, 4) for what in ("forward", "forward + backward")]
        for row in rows:
            assert row["arithmetic"] == row["multiply-adds"] / machine.multiply_adds
            assert row["reading"] == 4 * row["numbers"] / machine.bytes
            assert row["ratio"] == row["seconds"] / row[larger]
