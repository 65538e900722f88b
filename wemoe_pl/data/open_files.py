"""A process may open a number of files, of which those that load images need many."""

import resource

import torch

from wemoe_pl.errors import ConfigError

OWN = 64  # files that a job opens itself
PER_WORKER = 8  # files that connect it with a process that loads images
IN_FLIGHT = 64  # files in which such a process has tensors waiting, unless they are named


def allow_open_files(workers: int) -> None:
    """Let this process open the files that it needs, as far as the system lets it.

    A process that loads images and cannot open one more loses its batch without a word, and who
    waits for it waits for ever.

    Args:
        workers: how many processes load images.

    Raises:
        ConfigError: the system does not let it open enough.
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
        torch.multiprocessing.set_sharing_strategy("file_system")  # opens none for each tensor
