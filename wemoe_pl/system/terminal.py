"""What is drawn on a terminal while a user waits, and on nothing else."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track

from wemoe_pl.system.signals import REQUEST

T = TypeVar("T")


def has_terminal(**options: Any) -> bool:
    """Say whether output goes to a terminal, and not to a file or to another program.

    Args:
        options: what rich's `Console` is made with.
    """
    return Console(**options).is_terminal


def progress(items: Iterable[T], title: str, total: int | None = None) -> Iterator[T]:
    """Go through items, and draw how far that is where there is a terminal.

    Args:
        items: what to go through.
        title: what stands before the bar.
        total: the number of items, if they do not know it.
    """
    for item in track(items, title, total, disable=not has_terminal()):
        REQUEST.obey_if_due()
        yield item
