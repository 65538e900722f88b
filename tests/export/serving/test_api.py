"""Batches are collected without a pause in between and without busy waiting."""

import time
from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.servers import Served

from wemoe_pl.export.serving import api
from wemoe_pl.export.serving.api import PatientLoop


def collected(
    queue: "Queue[Any]", size: int = 3, wait: float = 0.0, patience: float = 60.0
) -> tuple[list[Any], list[Any]]:
    lit_api = SimpleNamespace(max_batch_size=size, batch_timeout=wait, request_timeout=patience)
    return PatientLoop().get_batch_requests(lit_api, queue, None)


def waiting(count: int, begun: float | None = None) -> "Queue[Any]":
    queue: Queue[Any] = Queue()
    for place in range(count):
        queue.put((0, f"uid{place}", begun or time.monotonic(), f"request {place}"))
    return queue


def test_a_batch_has_all_that_wait_up_to_its_size() -> None:
    queue = waiting(5)
    first, _ = collected(queue)
    second, _ = collected(queue)
    assert first == [(0, f"uid{place}", f"request {place}") for place in range(3)]
    assert [uid for _, uid, _ in second] == ["uid3", "uid4"]


def test_without_requests_there_is_no_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "IDLE", 0.01)
    assert collected(Queue()) == ([], [])


def test_the_first_waits_for_others_and_no_longer_once_the_batch_is_full() -> None:
    before = time.monotonic()
    batch, _ = collected(waiting(1), wait=0.2)
    assert len(batch) == 1
    assert time.monotonic() - before >= 0.2
    assert len(collected(waiting(3), wait=10_000)[0]) == 3


def test_requests_that_have_waited_too_long_are_not_answered() -> None:
    queue = waiting(1, begun=time.monotonic() - 100)
    queue.put((1, "new", time.monotonic(), "request"))
    assert collected(queue) == ([(1, "new", "request")], [(0, "uid0")])


def test_the_loop_ends_with_the_process_that_has_the_queues() -> None:
    class Gone:
        def get(self, timeout: float) -> None:
            raise EOFError

    with pytest.raises(SystemExit):
        collected(Gone())  # type: ignore[arg-type]


def test_a_server_that_nobody_asks_uses_no_processor(server: Served) -> None:
    def ticks() -> int:
        stats = [Path(f"/proc/{pid}/stat").read_text() for pid in server.others()]
        return sum(int(n) for stat in stats for n in stat.rpartition(")")[2].split()[11:13])

    before = ticks()
    time.sleep(2)
    assert ticks() - before < 20  # hundredths of a second of a processor
