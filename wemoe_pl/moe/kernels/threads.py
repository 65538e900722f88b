"""Threads that each go their own way through many operations.

torch shares out every single operation among its threads, which then wait for the last of them, and
one computes with what another has left in a cache that may be far away. A thread that merges
weights and uses them itself does neither.
"""

import ctypes
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier
from typing import TypeVar

import torch

Work = TypeVar("Work")
MOST = 4  # threads, of which each needs memory; cores beyond that share in the operations of each
SOFT = 1  # `omp_pause_soft` of OpenMP: what is let go of is taken anew when it is needed


def available() -> int:
    """How many threads there are for a CPU's work."""
    return min(torch.get_num_threads(), MOST)


def run_apart(run: Callable[[Work], object], works: Sequence[Work]) -> None:
    """Run a function without gradients on several works at once, each in a thread of its own.

    Raises:
        Exception: what a work raises.
    """
    if len(works) == 1:
        run(works[0])
        return
    each = torch.get_num_threads() // len(works)
    if each == 1:  # else there are more threads than cores, and OpenMP lets none of them spin
        end_idle_threads()
    inference = torch.is_inference_mode_enabled()

    def begin(work: Work) -> None:
        with torch.inference_mode(inference), torch.no_grad():
            run(work)

    for _ in pool(len(works), each).map(begin, works):
        pass


def end_idle_threads() -> None:
    """End the threads that OpenMP holds ready for the caller's operations; the next has new ones.

    For some milliseconds after an operation they spin, in wait for another, each on a core that a
    thread of our own then lacks. New ones take a twentieth of a millisecond.
    """
    pause = openmp_pause()
    if pause is not None:
        pause(SOFT)


@cache
def openmp_pause() -> Callable[[int], int] | None:
    """`omp_pause_resource_all` (OpenMP 5.0) of the library that torch computes with, if it has it.

    Looked for in torch's own, since a process may hold several of the kind.
    """
    pause: Callable[[int], int] | None = getattr(
        ctypes.CDLL(torch._C.__file__), "omp_pause_resource_all", None
    )
    return pause


@cache
def pool(threads: int, each: int) -> ThreadPoolExecutor:
    """Threads that live on, whose operations run on `each` cores.

    Args:
        threads: how many.
        each: of torch's own threads for each of these.
    """
    started = Barrier(threads + 1)

    def begin() -> None:
        torch.get_num_threads()  # or its first use would set the usual number once more
        torch.set_num_threads(each)
        started.wait()

    usual = torch.get_num_threads()
    executor = ThreadPoolExecutor(threads, "tiles", initializer=begin)
    for _ in range(threads):
        executor.submit(int)
    started.wait()
    # Their own number is also the one that later threads would begin with.
    torch.set_num_threads(usual)
    return executor


# Threads do not go along into a forked process.
os.register_at_fork(after_in_child=pool.cache_clear)
