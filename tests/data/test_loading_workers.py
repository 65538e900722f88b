"""No more processes load images than there are cores, and it is said."""

import logging

import pytest

from wemoe_pl.data.datamodule import MultiTaskData
from wemoe_pl.data.loading_workers import as_many_as_cores
from wemoe_pl.data.suite import Suite

CORES = "wemoe_pl.system.cores.cores_of_process"


@pytest.mark.parametrize(("wanted", "workers"), [(0, 0), (1, 1), (3, 3), (4, 3), (64, 3)])
def test_there_is_at_most_one_for_every_core(
    wanted: int,
    workers: int,
    tiny_suite: Suite,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(CORES, lambda: 3)
    with caplog.at_level(logging.INFO, "lightning.pytorch.utilities.rank_zero"):
        data = MultiTaskData(tiny_suite, num_workers=wanted)
    assert data.num_workers == workers
    said = [message for message in caplog.messages if "data.num_workers" in message]
    expected = f"Only 3 of {wanted} processes (data.num_workers) load images: one per core."
    assert said == ([expected] if wanted > 3 else [])


def test_this_process_has_a_core() -> None:
    assert as_many_as_cores(1) == 1
