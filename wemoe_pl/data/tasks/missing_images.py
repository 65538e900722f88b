"""Scores that cover a part are announced: classes without images, images without a class."""

from collections.abc import Iterator, Sequence

from wemoe_pl.data.tasks.base import UNLABELLED
from wemoe_pl.data.tasks.file_names import name_some
from wemoe_pl.system.warn import warn


def tell_gaps(labels: Sequence[int], classes: Sequence[str], where: str) -> None:
    """Warn of what is not scored, or is scored in vain.

    That is: classes without images, images without a label where labels were looked for, and a task
    of one class, of which every answer is right.

    Args:
        labels: of all images.
        classes: class names in label order.
        where: what the warning calls the images.
    """
    for gap in gaps(labels, classes):
        warn(f"{where} has {gap}")


def gaps(labels: Sequence[int], classes: Sequence[str]) -> Iterator[str]:
    """Yield what a set of images has too little of, each as the end of a sentence."""
    present, unlabelled = set(labels), "they can be adapted to, and are not scored."
    if not present:
        return
    if present == {UNLABELLED}:
        yield f"no label for any of its {len(labels)} images: {unlabelled}"
        return
    absent = [name for label, name in enumerate(classes) if label not in present]
    if absent:
        missing = f"{len(absent)} of its {len(classes)} classes: {name_some(absent)}"
        yield f"no images of {missing}. Its figures are about the others."
    if len(classes) == 1:
        yield f"one class, '{classes[0]}', which every answer is: its accuracy is 1."
    if UNLABELLED in present:
        missing = f"{labels.count(UNLABELLED)} images without a label among its {len(labels)}"
        yield f"{missing}: {unlabelled}"
