"""The console on which tables, lines and bars are drawn, as far as there is a terminal."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from rich import console as rich_console
from rich.progress import track
from rich.segment import Segment
from rich.text import Text

from wemoe_pl.system.signals import REQUEST
from wemoe_pl.system.terminal import end_quietly, harmless

T = TypeVar("T")


class Console(rich_console.Console):
    """A console of rich's on which text is only text: no markup, no emoji, no control characters.

    Args:
        options: what rich's own takes.
    """

    def __init__(self, **options: Any):
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, **options})

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a text of rich's, which is as wide as what is shown of it."""
        return super().render_str(harmless(text), **options)

    def render(
        self,
        renderable: rich_console.RenderableType,
        options: rich_console.ConsoleOptions | None = None,
    ) -> Iterable[Segment]:
        """Lay out what is printed, the text of which cannot steer a terminal."""
        for segment in super().render(renderable, options):
            is_ours = segment.control is not None  # as of a bar that is drawn again
            yield segment if is_ours else segment._replace(text=harmless(segment.text))

    def on_broken_pipe(self) -> None:
        """End without a word where nobody reads any more."""
        end_quietly()


def has_terminal(**options: Any) -> bool:
    """Say whether output goes to a terminal, and not to a file or to another program.

    Args:
        options: what a `Console` is made with.
    """
    return Console(**options).is_terminal


def progress(items: Iterable[T], title: str, total: int | None = None) -> Iterator[T]:
    """Go through items, and draw how far that is where there is a terminal.

    Args:
        items: what to go through.
        title: what stands before the bar.
        total: the number of items, if they do not know it.
    """
    console = Console()
    for item in track(items, title, total, console=console, disable=not has_terminal()):
        REQUEST.obey_if_due()
        yield item
