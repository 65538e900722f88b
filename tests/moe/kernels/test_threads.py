"""Works run at once, each as if the caller ran it without gradients."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from wemoe_pl.moe.kernels import threads
from wemoe_pl.moe.kernels.threads import (
    MOST_THREADS,
    cpu_threads,
    end_idle_threads,
    pool,
    run_in_threads,
    threads_for,
)


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_every_work_runs_once_and_all_run_at_once() -> None:
    together, done = threading.Barrier(3, timeout=60), []

    def run(work: int) -> None:
        together.wait()  # which none passes before all are there
        done.append((work, threading.get_ident()))

    run_in_threads(run, [1, 2, 3])
    assert sorted(work for work, _ in done) == [1, 2, 3]
    assert len({thread for _, thread in done} | {threading.get_ident()}) == 4


def test_a_single_work_runs_where_it_is_asked_for() -> None:
    threads = []
    run_in_threads(lambda _: threads.append(threading.get_ident()), [0])
    assert threads == [threading.get_ident()]


@pytest.mark.parametrize("inference", [True, False])
def test_gradients_are_off_and_inference_mode_is_the_callers(inference: bool) -> None:
    seen = []
    with torch.inference_mode(inference):
        counted = torch.zeros(2)
        run_in_threads(lambda i: counted[i].add_(1.0), [0, 1])  # refused in another mode
        run_in_threads(
            lambda _: seen.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled())),
            [0, 1],
        )
    assert counted.tolist() == [1.0, 1.0]
    assert seen == [(False, inference)] * 2


def test_cores_are_shared_out_and_those_of_others_are_left_alone() -> None:
    pool.cache_clear()
    numbers, later = [], []
    run_in_threads(lambda _: numbers.append(torch.get_num_threads()), [0, 1])
    assert numbers == [2, 2]
    assert torch.get_num_threads() == 4
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [4]


def threads_of_the_process() -> frozenset[str]:
    return frozenset(task.name for task in Path("/proc/self/task").iterdir())


@pytest.mark.parametrize(("cores", "kept"), [(2, False), (4, True)])
def test_torchs_idle_threads_are_ended_only_where_each_work_has_one_core(
    cores: int, kept: bool
) -> None:
    torch.set_num_threads(cores)
    run_in_threads(lambda _: None, [0, 1])
    end_idle_threads()
    before, numbers = threads_of_the_process(), torch.ones(2**20)
    assert numbers.sum() == 2**20
    idle = threads_of_the_process() - before
    assert len(idle) == cores - 1
    seen: list[frozenset[str]] = []
    run_in_threads(lambda _: seen.append(threads_of_the_process()), [0, 1])
    assert [idle & each for each in seen] == [idle if kept else frozenset()] * 2
    assert numbers.sum() == 2**20  # by new ones


def test_an_openmp_that_has_no_such_function_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.set_num_threads(2)
    monkeypatch.setattr(threads, "openmp_pause", lambda: None)
    done: list[int] = []
    run_in_threads(done.append, [0, 1])
    assert sorted(done) == [0, 1]


def test_what_a_work_raises_is_raised() -> None:
    def run(work: int) -> None:
        if work:
            raise ValueError("of a work")

    with pytest.raises(ValueError, match="of a work"):
        run_in_threads(run, [0, 1])
    run_in_threads(lambda _: None, [0, 1])


def test_threads_are_kept_for_the_next_works() -> None:
    threads: set[int] = set()
    for _ in range(3):
        run_in_threads(lambda _: threads.add(threading.get_ident()), [0, 1])
    assert len(threads) <= 2


def test_a_forked_process_has_threads_of_its_own() -> None:
    run_in_threads(lambda _: None, [0, 1])
    if (child := os.fork()) == 0:
        done: list[int] = []
        run_in_threads(done.append, [0, 1])
        os._exit(0 if sorted(done) == [0, 1] else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    ("samples", "work", "threads"), [(1, 84, 4), (1, 83, 1), (8, 667, 4), (16, 999, 1), (0, 0, 1)]
)
def test_threads_of_our_own_take_much_work_and_less_of_it_in_few_samples(
    samples: int, work: int, threads: int
) -> None:
    assert threads_for(torch.zeros(samples, 3, 2), work, 1000) == threads


def test_only_a_few_threads_are_used() -> None:
    assert cpu_threads() == 4
    torch.set_num_threads(64)
    assert cpu_threads() == MOST_THREADS
    torch.set_num_threads(1)
    assert cpu_threads() == 1
