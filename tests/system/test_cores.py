"""How many cores a process has."""

import os

import pytest

from wemoe_pl.system.cores import cores_of_process


def test_only_those_count_on_which_the_process_may_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 7})
    assert cores_of_process() == 3


def test_all_count_where_the_system_does_not_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores_of_process() == 1
