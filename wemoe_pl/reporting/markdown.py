"""Write Markdown in which names and notes that strangers chose are plain text."""

import re
from collections.abc import Iterable, Sequence

from wemoe_pl.system.terminal import harmless

# Characters with a meaning in a line: emphasis, code, links, pictures, HTML, tables and entities.
INLINE_SIGN = re.compile(r"[\\`*\[\]<>|~]|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")
BLOCK_START = re.compile(r"^\s*([#+=-]+|\d+[.)])(?=\s|$)")  # the start of a heading or a list
BACKTICKS = re.compile("`+")


class Markdown(str):
    """A `Markdown` is a text that is Markdown already; `as_markdown` escapes any other text."""

    __slots__ = ()


def as_markdown(text: object) -> Markdown:
    r"""Return a text as Markdown that shows it as it is, in one line.

    >>> print(as_markdown("[a](http://b) <img> adapt_on _x_ 5 | 6"))
    \[a\](http://b) \<img\> adapt_on \_x\_ 5 \| 6
    """
    if isinstance(text, Markdown):
        return text
    line = harmless(" ".join(str(text).splitlines()))
    escaped = INLINE_SIGN.sub(r"\\\g<0>", line)
    return Markdown(BLOCK_START.sub(lambda found: f"\\{found[0].lstrip()}", escaped))


def inline_code(text: str) -> Markdown:
    """Return a text as code within a line.

    >>> print(inline_code("a`b"))
    `` a`b ``
    """
    line = harmless(" ".join(text.splitlines()))
    fence = "`" * (longest_run(line) + 1)
    blank = " " if "`" in line else ""
    return Markdown(f"{fence}{blank}{line}{blank}{fence}")


def fenced(text: str, language: str = "") -> Markdown:
    """Return a block of code, which no line of the text can end."""
    fence = "`" * max(3, longest_run(text) + 1)
    return Markdown(f"{fence}{language}\n{harmless(text).rstrip()}\n{fence}")


def longest_run(text: str) -> int:
    """Return the number of backticks in the longest sequence of them."""
    return max(map(len, BACKTICKS.findall(text)), default=0)


def grid(titles: Sequence[str], rows: Iterable[Sequence[str]], align: str = "---:") -> str:
    r"""Return a table whose columns, except the first, all have one alignment.

    >>> print(grid(["task", "mean"], [["a|b", "50.0"]]))
    | task | mean |
    | --- | ---: |
    | a\|b | 50.0 |
    """
    ruler = map(Markdown, ["---", *[align] * (len(titles) - 1)])
    lines = [titles, list(ruler), *rows]
    return "\n".join(f"| {' | '.join(map(as_markdown, line))} |" for line in lines)
