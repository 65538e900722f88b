"""Find docstrings that begin as a riddle: `python tests/helpers/first_sentences.py`.

`make lint` runs it. A first sentence makes sense to someone who has not read the code. The part
that a machine can see is checked: no fragment that begins with "Of" or "What", and functions that
say what they do.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


PACKAGE = Path(__file__).parents[2] / "wemoe_pl"
# Words that begin a fragment, which makes sense only together with something else.
FRAGMENTS = words_of("""
    as at behind beside between by for from how if in its of on since so that their them then these
    they this those to what when where whereas which whose why with within without
""")
# Words that begin the description of a thing, or a question: a function should say what it does.
THINGS = words_of("""
    a all an another any are both can could does each either every few has have is it many may more
    most must neither no none one other several should some such the there two was were whatever
    whether will
""")
ARGUMENT = re.compile(r"^(?P<name>\*{0,2}\w+)(?: \(.*?\))?: (?P<text>.*)$")
SECTIONS = ("Args:", "Attributes:")


class Fault(NamedTuple):
    """A docstring, or a description of an argument, that begins badly."""

    path: Path
    line: int
    name: str
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.name}: {self.reason}: {self.text}"


def faults_in(path: Path) -> Iterator[Fault]:
    """Yield the faults of a module, in the order of its lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        text = ast.get_docstring(node)
        if text is None:
            continue
        name, line = getattr(node, "name", path.stem), getattr(node, "lineno", 1)
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        first = text.split("\n", 1)[0]
        if reason := reason_against(first, is_function):
            yield Fault(path, line, name, first, reason)
        for argument, description in described(text):
            if begins_with(description) in FRAGMENTS:
                reason = f"'{argument}' is described by a fragment"
                yield Fault(path, line, name, description, reason)


def reason_against(first: str, is_function: bool) -> str:
    """Return what is wrong with the first line of a docstring, or nothing.

    >>> reason_against("Of each timing, of which the median counts.", False)
    'a fragment'
    >>> reason_against("The median of all timings.", True)
    'a function says what it does, such as "Return …"'
    >>> reason_against("Return the median of all timings.", True)
    ''
    """
    word = begins_with(first)
    if word in FRAGMENTS:
        return "a fragment"
    if is_function and (word in THINGS or not word):
        return 'a function says what it does, such as "Return …"'
    return ""


def begins_with(text: str) -> str:
    """Return the first word of a text in small letters, or nothing if it begins with a symbol."""
    found = re.match(r"[A-Za-z]+(?=[\s.,:;—-]|$)", text)
    return found.group().lower() if found else ""


def described(text: str) -> Iterator[tuple[str, str]]:
    """Yield the names and descriptions of the arguments and attributes in a docstring."""
    indent = None
    for line in text.splitlines():
        stripped = line.strip()
        if stripped in SECTIONS:
            indent = len(line) - len(line.lstrip()) + 4
        elif stripped and indent is not None:
            depth = len(line) - len(line.lstrip())
            if depth < indent:
                indent = None
            elif depth == indent and (found := ARGUMENT.match(stripped)):
                yield found["name"], found["text"]


def main(paths: list[str]) -> int:
    """Print the faults below some folders, by default the package; return how many there are."""
    folders = [Path(path) for path in paths] or [PACKAGE]
    files = [f for place in folders for f in ([place] if place.is_file() else place.rglob("*.py"))]
    faults = [fault for file in sorted(files) for fault in faults_in(file)]
    print(*faults, sep="\n")
    return len(faults)


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
