"""Class names that mean the same though folders, tables and prompts spell them otherwise."""

from collections.abc import Sequence
from difflib import SequenceMatcher


def plain(name: str) -> str:
    """A class name reduced to its letters and digits.

    >>> plain("Baseball_Diamond") == plain("baseball diamond")
    True
    """
    return "".join(c for c in name.casefold() if c.isalnum())


def first_mismatch(ours: Sequence[str], theirs: Sequence[str], loosely: bool = False) -> int | None:
    """The first label that two lists of class names mean differently; None if they agree.

    Args:
        ours: names in label order.
        theirs: as many.
        loosely: take names as agreeing that are spelled quite differently, as long as none is more
            like the name of another class: `SeaLake` and `lake or sea`. Names that are only the
            label's number say nothing and agree.

    >>> first_mismatch(["annual crop land", "lake or sea"], ["AnnualCrop", "SeaLake"], loosely=True)
    >>> first_mismatch(["cat", "dog", "cow"], ["Cat", "cow", "dog"])
    1
    """
    if loosely and all(n.isdecimal() and int(n) == label for label, n in enumerate(theirs)):
        return None
    candidates = [plain(name) for name in ours]
    for label, name in enumerate(map(plain, theirs)):
        if name == candidates[label]:
            continue
        if not loosely or name in candidates or nearest(name, candidates) != label:
            return label
    return None


def nearest(name: str, candidates: Sequence[str]) -> int:
    """The position of the candidate that is most like a name."""
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(name)
    ratios = []
    for candidate in candidates:
        matcher.set_seq1(candidate)
        ratios.append(matcher.ratio())
    return ratios.index(max(ratios))
