"""Warn of classes without images and of images without a class: scores do not cover them."""

from collections.abc import Iterator, Sequence

from wemoe_pl.data.tasks.base import UNLABELLED
from wemoe_pl.data.tasks.file_names import name_some
from wemoe_pl.system.warn import warn


def tell_gaps(labels: Sequence[int], classes: Sequence[str], where: str) -> None:
    """Warn of classes and images that are not scored, and of a score that says nothing.

    Classes without images and images without a label are not scored. The score of a task with one
    class says nothing, since every answer is right. Tasks call this only if they look for labels.

    Args:
        labels: the labels of all images.
        classes: the class names in label order.
        where: the name of the images in the warning.
    """
    for gap in gaps(labels, classes):
        warn(f"{where} has {gap}")


def gaps(labels: Sequence[int], classes: Sequence[str]) -> Iterator[str]:
    """Yield what a set of images lacks, each as the end of a sentence."""
    present, unlabelled = set(labels), "a model can adapt to them, but they are not scored."
    if not present:
        return
    if present == {UNLABELLED}:
        yield f"no label for any of its {len(labels)} images: {unlabelled}"
        return
    absent = [name for label, name in enumerate(classes) if label not in present]
    if absent:
        missing = f"{len(absent)} of its {len(classes)} classes: {name_some(absent)}"
        yield f"no images of {missing}. Its scores cover only the other classes."
    if len(classes) == 1:
        yield f"only one class, '{classes[0]}', so every prediction is right: its accuracy is 1."
    if UNLABELLED in present:
        missing = f"{labels.count(UNLABELLED)} images without a label among its {len(labels)}"
        yield f"{missing}: {unlabelled}"
