"""Draw tables, lines and progress bars on the console, as far as there is a terminal."""

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
    """A `Console` prints text by rich, but without markup, emoji and control characters.

    Args:
        options: the options of rich's own console.
    """

    def __init__(self, **options: Any):
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, **options})

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a harmless `Text` of rich, whose width is that of the characters that are shown."""
        return super().render_str(harmless(text), **options)

    def render(
        self,
        renderable: rich_console.RenderableType,
        options: rich_console.ConsoleOptions | None = None,
    ) -> Iterable[Segment]:
        """Lay out what is printed, with text that cannot control the terminal."""
        for segment in super().render(renderable, options):
            is_ours = segment.control is not None  # such as the codes that redraw a bar
            yield segment if is_ours else segment._replace(text=harmless(segment.text))

    def on_broken_pipe(self) -> None:
        """End the program without a message if nobody reads its output any more."""
        end_quietly()


def has_terminal(**options: Any) -> bool:
    """Return whether output goes to a terminal, instead of a file or another program.

    Args:
        options: the options with which a `Console` is made.
    """
    return Console(**options).is_terminal


def progress(items: Iterable[T], title: str, total: int | None = None) -> Iterator[T]:
    """Yield items, and draw a progress bar if there is a terminal.

    Args:
        items: the items.
        title: the text before the bar.
        total: the number of items, if they have no length.
    """
    console = Console()
    for item in track(items, title, total, console=console, disable=not has_terminal()):
        REQUEST.obey_if_due()
        yield item
