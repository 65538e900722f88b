"""Check the free space on the disk of the hub's cache, and write sizes in words."""

import shutil
from pathlib import Path

from huggingface_hub import constants

from wemoe_pl.errors import HubError


def check_room(what: str, needed: int) -> None:
    """Raise `HubError` if the disk of the cache has less than `needed` bytes left."""
    cache = Path(constants.HF_HUB_CACHE)
    place = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise HubError(
            f"There is no space for {what}: it needs {size_in_words(needed)} and the disk of "
            f"{place} has {size_in_words(free)} left. Free some, or set HF_HOME to another disk."
        )


def size_in_words(size: int) -> str:
    """Return a number of bytes as text, in the unit that suits it.

    >>> size_in_words(350_000_000)
    '350 MB'
    """
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} B"
