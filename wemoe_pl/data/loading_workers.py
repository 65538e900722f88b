"""Limit the number of processes that load images to that of cores, since more only take turns."""

import os

from lightning.pytorch.utilities import rank_zero_info


def as_many_as_cores(workers: int) -> int:
    """Return `workers`, but at most the number of cores; print a note if that is fewer."""
    cores = cores_of_process()
    if workers > cores:
        rank_zero_info(
            f"Only {cores} of {workers} processes (data.num_workers) load images: one per core."
        )
    return min(workers, cores)


def cores_of_process() -> int:
    """Return the number of cores on which this process may run."""
    if hasattr(os, "sched_getaffinity"):  # macOS and Windows lack it
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
