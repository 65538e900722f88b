"""Raise the limit of open files, since processes that load images need many."""

import resource

import torch

from wemoe_pl.errors import ConfigError

OWN = 64  # files that a job opens itself
PER_WORKER = 8  # files that connect a job with one process that loads images
IN_FLIGHT = 64  # files that hold such a process's waiting tensors, unless it shares them by name


def allow_open_files(workers: int) -> None:
    """Raise this process's limit of open files to what it needs, as far as the system allows.

    A process that loads images and cannot open another file loses its batch without an error, and
    the main process waits for that batch for ever.

    Args:
        workers: the number of processes that load images.

    Raises:
        ConfigError: the system does not allow enough open files.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not workers or resource.RLIM_INFINITY in (soft, hard):
        return
    wanted, needed = (OWN + workers * each for each in (PER_WORKER + IN_FLIGHT, PER_WORKER))
    if soft < wanted:
        allowed = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if hard < needed:
        raise ConfigError(
            f"Only {hard} files may be open, and {workers} processes that load images need "
            f"{needed}: allow more, by `ulimit -n {wanted}`, or set data.num_workers to 0."
        )
    if hard < wanted:
        torch.multiprocessing.set_sharing_strategy("file_system")  # needs no file per tensor
