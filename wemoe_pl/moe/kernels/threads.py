"""Threads of which each runs many operations of its own.

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
from torch import Tensor

Work = TypeVar("Work")
FEW_SAMPLES = 12  # torch shares out a product by samples: fewer leave threads without work
MOST_THREADS = 4  # each needs memory; cores beyond that share in the operations of each
SOFT = 1  # `omp_pause_soft` of OpenMP: what is let go of is taken anew when it is needed


def cpu_threads() -> int:
    """Return the number of threads that share the work on a CPU."""
    return min(torch.get_num_threads(), MOST_THREADS)


def threads_for(x: Tensor, multiply_adds: int, threaded: int) -> int:
    """Return the number of threads that have tiles of their own for a batch.

    Args:
        x: the batch.
        multiply_adds: those with merged weights.
        threaded: as many of them are worth threads of our own; see `Budget`. Of few samples, each
            of which is much work, fewer are.
    """
    lacking = max(1.0, FEW_SAMPLES / max(1, len(x)))
    is_worth_it = lacking * multiply_adds >= threaded
    return cpu_threads() if x.device.type == "cpu" and is_worth_it else 1


def run_in_threads(run: Callable[[Work], object], work: Sequence[Work]) -> None:
    """Run a function without gradients on several pieces of work, each in a thread of its own.

    Raises:
        Exception: whatever the function raises.
    """
    if len(work) == 1:
        run(work[0])
        return
    cores = torch.get_num_threads() // len(work)
    if cores == 1:  # else there are more threads than cores, and OpenMP lets none of them spin
        end_idle_threads()
    inference = torch.is_inference_mode_enabled()

    def begin(piece: Work) -> None:
        with torch.inference_mode(inference), torch.no_grad():
            run(piece)

    for _ in pool(len(work), cores).map(begin, work):
        pass


def end_idle_threads() -> None:
    """End the threads that OpenMP holds ready for the caller's operations; the next has new ones.

    For some milliseconds after an operation they spin, in wait for another, each on a core that a
    thread of our own then lacks. New ones take a twentieth of a millisecond.
    """
    if pause := openmp_pause():
        pause(SOFT)


@cache
def openmp_pause() -> Callable[[int], int] | None:
    """`omp_pause_resource_all` (OpenMP 5.0) of the library that torch computes with, if it has it.

    Looked for in torch's own, since a process may hold several of the kind.
    """
    return getattr(ctypes.CDLL(torch._C.__file__), "omp_pause_resource_all", None)


@cache
def pool(threads: int, cores: int) -> ThreadPoolExecutor:
    """Threads that live on.

    Args:
        threads: how many threads there are.
        cores: how many cores the operations of each run on.
    """
    started = Barrier(threads + 1)

    def begin() -> None:
        torch.get_num_threads()  # or its first use would set the usual number once more
        torch.set_num_threads(cores)
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
