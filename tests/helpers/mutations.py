"""Files as strangers send them: valid ones, of which hypothesis changes a few bytes or values."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Edit = Callable[[bytes], bytes]
# What numbers, names and paths are not expected to be.
ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, -(2**63), 2**63 - 1, 1e308, float("nan"), float("-inf"), "", " ",
    "\x00", "a\x1b[2J", "../../x", "/dev/null", "/", "~", "C:\\x", "shipped:../x", "no.such.Thing",
    "os.system", "torch.hub.load", "http://127.0.0.1:9/x", "hf-hub:a/b", "{}", "[", "null",
    [], {}, [[]], {"a": {}}, {"class_path": "os.system"}, {"class_path": 3}, {"class_path": "Adam"},
    {"class_path": "torch.hub.load", "init_args": {"model": "x"}}, {"init_args": {}}, {"": 1},
    "x" * 5000, [1] * 50, {1: 2}, "*", "-", "--allow", "$x$", "[/red]", "ｍnist",
)  # fmt: skip


def places(size: int) -> st.SearchStrategy[int]:
    """Places in a file, half of them in its header."""
    return st.integers(0, min(size, 300)) | st.integers(0, size)


@st.composite
def edits(draw: st.DrawFn, size: int) -> Edit:
    """One change of a file of some size."""
    at, count = draw(places(size)), draw(st.sampled_from((1, 2, 4, 8, 64, size // 2)))
    byte = draw(st.sampled_from((0, 1, 0x7F, 0x80, 0xFF)) | st.integers(0, 255))
    other = draw(places(size))
    changes: dict[str, Edit] = {
        "flip": lambda f: f[:at] + bytes(b ^ (1 << byte % 8) for b in f[at : at + 1]) + f[at + 1 :],
        "overwrite": lambda f: f[:at] + bytes([byte]) * min(count, len(f) - at) + f[at + count :],
        "truncate": lambda f: f[:at],
        "remove": lambda f: f[:at] + f[at + count :],
        "insert": lambda f: f[:at] + bytes([byte]) * min(count, 64) + f[at:],
        "splice": lambda f: f[:at] + f[other : other + count] + f[at:],
        "append": lambda f: f + f[at : at + count],
    }
    return changes[draw(st.sampled_from(sorted(changes)))]


@st.composite
def damaged(draw: st.DrawFn, files: list[bytes]) -> bytes:
    """One of these files after one to four changes."""
    content = draw(st.sampled_from(files))
    for edit in draw(st.lists(edits(len(content)), min_size=1, max_size=4)):
        content = edit(content)
    return content


@st.composite
def altered(draw: st.DrawFn, settings: Any) -> Any:
    """Nested settings in which one to three values have become odd, or their keys have."""
    for _ in range(draw(st.integers(1, 3))):
        settings = replaced(settings, draw(st.randoms(use_true_random=False)))
    return settings


def replaced(value: Any, random: Any) -> Any:
    """A copy of a value in which something below it, or it itself, is odd."""
    odd = random.choice(ODD_VALUES)
    if isinstance(value, dict) and value and random.random() < 0.85:
        key = random.choice(sorted(value, key=str))
        if random.random() < 0.1:
            return {k: v for k, v in value.items() if k != key} | {str(odd): value[key]}
        return {**value, key: replaced(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.7:
        index = random.randrange(len(value))
        return [*value[:index], replaced(value[index], random), *value[index + 1 :]]
    return odd
