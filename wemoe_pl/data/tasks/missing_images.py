"""What is scored in part or in vain is said: classes without images, images without a class."""

import warnings
from collections.abc import Sequence

from wemoe_pl.data.tasks.base import UNLABELLED
from wemoe_pl.data.tasks.file_names import name_some


def tell_gaps(labels: Sequence[int], classes: Sequence[str], where: str) -> None:
    """Warn of what is not scored, or is scored in vain.

    That is: classes without images, images without a label where labels were looked for, and a task
    of one class, of which every answer is right.

    Args:
        labels: of all images.
        classes: class names in label order.
        where: what the warning calls the images.
    """
    present = set(labels)
    if not present:
        return
    if present == {UNLABELLED}:
        warnings.warn(
            f"{where} has no label for any of its {len(labels)} images: they can be adapted to, "
            "and are not scored.",
            stacklevel=3,
        )
        return
    absent = [name for label, name in enumerate(classes) if label not in present]
    if absent:
        warnings.warn(
            f"{where} has no images of {len(absent)} of its {len(classes)} classes: "
            f"{name_some(absent)}. Its figures are about the others.",
            stacklevel=3,
        )
    if len(classes) == 1:
        warnings.warn(
            f"{where} has one class, '{classes[0]}', which every answer is: its accuracy is 1.",
            stacklevel=3,
        )
    if UNLABELLED in present:
        warnings.warn(
            f"{where} has {labels.count(UNLABELLED)} images without a label among its "
            f"{len(labels)}: they can be adapted to, and are not scored.",
            stacklevel=3,
        )
