"""Find the path that is probably meant by one that does not exist."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path

from wemoe_pl.errors import HubError


def did_you_mean_path(path: Path) -> str:
    """Return the end of a message that names the nearest existing path; empty if none is near.

    >>> did_you_mean_path(Path("/no/such/place"))
    ''
    """
    with suppress(OSError):  # some folders cannot be listed
        if (near := nearest_path(path)) is not None:
            return f" Did you mean {near}?"
    return ""


@contextmanager
def perhaps_a_path(path: Path) -> Iterator[None]:
    """Add the path that may be meant instead to an error about what the hub lacks.

    Args:
        path: the name that was asked for, as a path.
    """
    try:
        yield
    except HubError as error:
        raise type(error)(f"{error}{did_you_mean_path(path)}") from None


def nearest_path(path: Path) -> Path | None:
    """Find the existing path that has the same parts, or similar ones; None if there is none."""
    here = Path(path.anchor)
    for part in path.parts[1:] if path.anchor else path.parts:
        if (here / part).exists():
            here = here / part
            continue
        names = [other.name for other in here.iterdir() if other.name[:1] != "."]
        nearest = get_close_matches(part, names, n=1)
        if not nearest:
            return None
        here = here / nearest[0]
    return here
