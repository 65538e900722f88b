"""The number of processes that load images is at most that of cores: more only take turns."""

import os

from lightning.pytorch.utilities import rank_zero_info


def as_many_as_cores(workers: int) -> int:
    """Return a number of processes, but no more than the cores of this process; say so if fewer."""
    cores = cores_of_process()
    if workers > cores:
        rank_zero_info(
            f"{cores} of {workers} processes (data.num_workers) load images: one for every core."
        )
    return min(workers, cores)


def cores_of_process() -> int:
    """Count the cores on which this process may run."""
    if hasattr(os, "sched_getaffinity"):  # not everywhere
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
