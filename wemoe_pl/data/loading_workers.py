"""Limit the number of processes that load images to that of cores, since more only take turns."""

from lightning.pytorch.utilities import rank_zero_info

from wemoe_pl.system.cores import cores_of_process


def as_many_as_cores(workers: int) -> int:
    """Return `workers`, but at most the number of cores; print a note if that is fewer."""
    cores = cores_of_process()
    if workers > cores:
        rank_zero_info(
            f"Only {cores} of {workers} processes (data.num_workers) load images: one per core."
        )
    return min(workers, cores)
