"""Run work in threads, each of which runs many operations of its own.

torch divides every single operation among its threads. They then wait for the slowest, and one
computes with what another has left in a cache that may be far away. A thread that merges weights
and uses them itself avoids both.
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
FEW_SAMPLES = 12  # torch divides a product by samples: fewer leave threads without work
MOST_THREADS = 4  # each needs memory; further cores share the operations of each thread
SOFT = 1  # `omp_pause_soft` of OpenMP: released resources are created anew when they are needed


def cpu_threads() -> int:
    """Return the number of threads that share the work on a CPU."""
    return min(torch.get_num_threads(), MOST_THREADS)


def threads_for(x: Tensor, multiply_adds: int, threaded: int) -> int:
    """Return the number of threads that have tiles of their own for a batch.

    Args:
        x: the batch.
        multiply_adds: the number of multiply-adds with merged weights.
        threaded: the multiply-adds from which threads of our own pay; see `Budget`. If samples are
            few, so that each is much work, fewer multiply-adds are enough.
    """
    lacking = max(1.0, FEW_SAMPLES / max(1, len(x)))
    is_worth_it = lacking * multiply_adds >= threaded
    return cpu_threads() if x.device.type == "cpu" and is_worth_it else 1


def run_in_threads(run: Callable[[Work], object], work: Sequence[Work]) -> None:
    """Run a function without gradients on several pieces of work, each in its own thread.

    Raises:
        Exception: any exception of the function.
    """
    if len(work) == 1:
        run(work[0])
        return
    cores = torch.get_num_threads() // len(work)
    if cores == 1:  # otherwise threads outnumber cores, and OpenMP lets none of them spin
        end_idle_threads()
    inference = torch.is_inference_mode_enabled()

    def begin(piece: Work) -> None:
        with torch.inference_mode(inference), torch.no_grad():
            run(piece)

    for _ in pool(len(work), cores).map(begin, work):
        pass


def end_idle_threads() -> None:
    """End the threads that OpenMP keeps ready for the caller; its next operation starts new ones.

    For some milliseconds after an operation they spin while they wait for another, each on a core
    that a thread of our own then lacks. Starting new ones takes a twentieth of a millisecond.
    """
    if pause := openmp_pause():
        pause(SOFT)


@cache
def openmp_pause() -> Callable[[int], int] | None:
    """Return `omp_pause_resource_all` (OpenMP 5.0) of torch's OpenMP, or None if it lacks it.

    It is looked up from torch's own library, since a process may hold several OpenMP libraries.
    """
    return getattr(ctypes.CDLL(torch._C.__file__), "omp_pause_resource_all", None)


@cache
def pool(threads: int, cores: int) -> ThreadPoolExecutor:
    """Return an executor whose threads live on.

    Args:
        threads: the number of threads.
        cores: the number of cores that the operations of each thread run on.
    """
    started = Barrier(threads + 1)

    def begin() -> None:
        torch.get_num_threads()  # otherwise its first use would set the usual number again
        torch.set_num_threads(cores)
        started.wait()

    usual = torch.get_num_threads()
    executor = ThreadPoolExecutor(threads, "tiles", initializer=begin)
    for _ in range(threads):
        executor.submit(int)
    started.wait()
    # The number that these threads have set would also be the one of later threads.
    torch.set_num_threads(usual)
    return executor


# A forked process does not have the threads of its parent.
os.register_at_fork(after_in_child=pool.cache_clear)
