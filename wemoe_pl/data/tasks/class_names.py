"""Match class names that mean the same but that folders, tables and prompts spell differently."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from timm.utils import natural_key

# Punctuation that file systems and habits put in the place of a space. `plain` keeps other signs,
# except points, commas and hyphens that `MEANT` leaves out.
SPACING = frozenset("_/\\:;'\"")
SPACING_CATEGORIES = frozenset({"Zs", "Zl", "Zp", "Ps", "Pe", "Pi", "Pf"})
# The characters with a meaning, in a name that went through `spaced`. A hyphen that touches a word
# on one side only is a sign (-1, A-); a point or a comma before a digit belongs to a number (1.0,
# .5); a space between digits separates two numbers.
MEANT = re.compile(
    r"[^ .,-]"
    r"|(?<=[^ .,-])-(?![^ .,-])|(?<![^ .,-])-(?=[^ .,-])"
    r"|[.,](?=\d)"
    r"|(?<=\d) (?=\d)"
)
BETWEEN_DIGITS = re.compile(r"(?<=\d)(?:-| +| *- +)(?=\d)")
NUMBER = re.compile(r"(?:(?<!\w)[-+])?\d+(?:\.\d+)?")  # the hyphen in F-150 is no minus


def canonical(name: str) -> str:
    """Return a name in Unicode's NFC, where an é is one character whatever system wrote it."""
    return unicodedata.normalize("NFC", name)


def plain(name: str) -> str:
    """Return a class name without capitals, spaces and punctuation, but with meaningful signs.

    >>> plain("Baseball_Diamond") == plain("baseball-diamond.")
    True
    >>> [plain(name) for name in ("+1", "-1", "1.0", "C++", "C#", "C/C++")]
    ['+1', '-1', '1.0', 'c++', 'c#', 'cc++']
    """
    folded = "".join(map(spaced, canonical(canonical(name).casefold())))
    return "".join(MEANT.findall(BETWEEN_DIGITS.sub(" ", folded)))


def spaced(character: str) -> str:
    """Return the space or the hyphen that a character is a form of, or the character itself."""
    category = unicodedata.category(character)
    if category == "Pd":
        return "-"
    return " " if character in SPACING or category in SPACING_CATEGORIES else character


def match_names(given: Iterable[str], classes: Sequence[str]) -> dict[str, int]:
    """Return the labels of the names that match a class; other names are left out.

    A name matches the class with exactly this name, in Unicode's NFC. If there is none, it matches
    the class whose name differs only in capitals, spaces and punctuation, provided that no other
    class and no other given name does so.

    Args:
        given: the names, such as those of folders.
        classes: the class names in label order.

    >>> match_names(["Cat", "hot-dog", "cow"], ["cat", "hot dog"])
    {'Cat': 0, 'hot-dog': 1}
    >>> match_names(["a", "A", "C"], ["A", "a", "C++"])
    {'a': 1, 'A': 0}
    """
    names = list(dict.fromkeys(given))
    exact = {canonical(name): label for label, name in enumerate(classes)}
    of_classes = Counter(map(plain, exact))
    of_names = Counter(map(plain, set(map(canonical, names))))
    loose = {
        form: label
        for name, label in exact.items()
        if (form := plain(name)) and of_classes[form] == 1 == of_names[form]
    }
    labels = {name: exact.get(canonical(name), loose.get(plain(name))) for name in names}
    return {name: label for name, label in labels.items() if label is not None}


def repeated(names: Iterable[str]) -> str | None:
    """Return the first name that occurs a second time, in Unicode's NFC; None if all differ.

    >>> repeated(["cat", "Cat", "cat"])
    'cat'
    """
    seen = set()
    for name in map(canonical, names):
        if name in seen:
            return name
        seen.add(name)
    return None


def timm_order(names: Iterable[str]) -> list[str]:
    """Return names in timm's order of folders: by the numbers in them, and without capitals.

    Names that timm does not tell apart, and whose order it leaves to chance, come in the reverse of
    their plain order. If timm cannot sort the names, such as m², all come in their plain order.

    >>> timm_order(["10", "B", "a", "9"])
    ['9', '10', 'a', 'B']
    """
    reverse = sorted(names, reverse=True)
    try:
        return sorted(reverse, key=natural_key)
    except ValueError:  # there are digits that are no numbers, such as ²
        return reverse[::-1]


def first_mismatch(ours: Sequence[str], theirs: Sequence[str], loosely: bool = False) -> int | None:
    """Return the first label for which two lists of class names differ; None if they agree.

    Args:
        ours: the names in label order.
        theirs: the same number of names in label order.
        loosely: True if names agree that are spelled quite differently, as long as each is more
            like the other than like the name of any other class, and no number in them differs:
            `SeaLake` and `lake or sea`. Names that are only the label's number say nothing and
            agree.

    >>> first_mismatch(["annual crop land", "lake or sea"], ["AnnualCrop", "SeaLake"], loosely=True)
    >>> first_mismatch(["cat", "dog", "cow"], ["Cat", "cow", "dog"])
    1
    """
    if loosely and are_numbers_of_labels(theirs, ours):
        return None
    matched = match_names(theirs, ours)
    for label, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        if canonical(our) == canonical(their) or matched.get(their) == label:
            continue
        if not loosely or their in matched or not are_alike(label, ours, theirs):
            return label
    return None


def are_numbers_of_labels(names: Sequence[str], others: Sequence[str]) -> bool:
    """Return whether names are just the numbers of their labels, and `others` has none of them."""
    numbers = [int(name) if name.isdecimal() else None for name in names]
    of_others = {int(name) for name in others if name.isdecimal()}
    return numbers == list(range(len(names))) and of_others.isdisjoint(range(len(names)))


def are_alike(label: int, ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Return whether a label's two names are most like each other, with the same numbers if any."""
    numbers = numbers_in(ours[label]), numbers_in(theirs[label])
    if all(numbers) and numbers[0] != numbers[1]:
        return False
    our_forms, their_forms = list(map(plain, ours)), list(map(plain, theirs))
    nearest_of_ours = index_of_nearest(their_forms[label], our_forms)
    nearest_of_theirs = index_of_nearest(our_forms[label], their_forms)
    return nearest_of_ours == label == nearest_of_theirs


def numbers_in(name: str) -> list[float]:
    """Return the numbers in a name, with their signs."""
    return [float(number) for number in NUMBER.findall(name)]


def index_of_nearest(name: str, candidates: Sequence[str]) -> int | None:
    """Return the index of the candidate that is most like a name; None unless there is just one."""
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(name)
    ratios = []
    for candidate in candidates:
        matcher.set_seq1(candidate)
        ratios.append(matcher.ratio())
    most = max(ratios)
    return ratios.index(most) if most and ratios.count(most) == 1 else None
