"""Count the cores of this machine, and bound numbers of processes by it."""

import os
from collections.abc import Callable


def cores_of_process() -> int:
    """Return the number of cores on which this process may run."""
    if hasattr(os, "sched_getaffinity"):  # macOS and Windows lack it
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def at_most_cores(workers: int, option: str, tell: Callable[[str], object]) -> int:
    """Return a number of processes that load images, at most that of cores.

    Args:
        workers: the number that was asked for.
        option: the option that asked for it.
        tell: the function that is told if the number is smaller than was asked for.
    """
    cores = cores_of_process()
    if workers > cores:
        tell(f"Only {cores} of {workers} processes ({option}) load images: one per core.")
    return min(workers, cores)
