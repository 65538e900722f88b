"""Limit the number of processes that load images to that of cores, since more only take turns."""

from lightning.pytorch.utilities import rank_zero_info

from wemoe_pl.system.cores import at_most_cores


def as_many_as_cores(workers: int) -> int:
    """Return `workers`, but at most the number of cores; print a note if that is fewer."""
    return at_most_cores(workers, "data.num_workers", rank_zero_info)
