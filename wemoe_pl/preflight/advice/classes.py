"""Compare the classes of tasks with one another, and their heads with classes and backbone."""

from collections.abc import Collection, Mapping, Sequence
from itertools import permutations
from typing import NamedTuple

from wemoe_pl.checkpoints.heads import ClassificationHead
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks.class_names import plain
from wemoe_pl.errors import WeMoEError, sentence_of


class Containment(NamedTuple):
    """A `Containment` names two tasks, the second of which has all classes of the first.

    Attributes:
        inner: the task whose classes the other has too.
        outer: the task that has them all.
        shared: the number of classes that both have.
        equal: True if neither has any other class.
    """

    inner: str
    outer: str
    shared: int
    equal: bool


def look_at_heads(
    suite: Suite, tasks: Collection[str]
) -> tuple[dict[str, ClassificationHead], dict[str, str]]:
    """Load the heads of tasks, and return those that fit and what is wrong with each other one."""
    heads: dict[str, ClassificationHead] = {}
    wrong: dict[str, str] = {}
    for task in tasks:
        try:
            heads[task] = suite.load_head(task)
        except (WeMoEError, OSError) as error:
            wrong[task] = sentence_of(error)
    return heads, wrong


def contained_classes(classes: Mapping[str, Sequence[str]]) -> list[Containment]:
    """Return the pairs of tasks of which one has all classes of the other; equal pairs once.

    Names are compared without capitals, spaces and punctuation. Tasks without known classes are
    left out.

    >>> contained_classes({"a": ["Cat", "dog"], "b": ["dog", "cat", "cow"], "c": ["cow"]})[0]
    Containment(inner='a', outer='b', shared=2, equal=False)
    """
    sets = {task: frozenset(map(plain, names)) for task, names in classes.items() if names}
    order = list(sets)
    return [
        Containment(inner, outer, len(sets[inner]), sets[inner] == sets[outer])
        for inner, outer in permutations(sets, 2)
        if sets[inner] < sets[outer]
        or (sets[inner] == sets[outer] and order.index(inner) < order.index(outer))
    ]
