"""Check that a head has the classes of the images, in their order, and the backbone's width."""

from collections.abc import Mapping, Sequence

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.checkpoints.heads import ClassificationHead
from wemoe_pl.data.tasks import VisionTask, name_some
from wemoe_pl.data.tasks.class_names import first_mismatch, match_names
from wemoe_pl.errors import FEW, CheckpointError


def classes_of_head(name: str, task: VisionTask) -> tuple[str, ...]:
    """Return the classes of a task, for a head that does not name its own.

    Args:
        name: the name of the task.
        task: the task, which knows its classes and the orders in which programs number them.

    Raises:
        CheckpointError: programs number the classes differently, and nothing tells which order the
            head has.
    """
    orders = task.orders
    if len(set(orders.values())) > 1:
        raise CheckpointError(
            f"The head of '{name}' does not name its classes, and nothing tells in which of "
            f"these orders it has them: {orders_in_words(orders)}. Give the right one as the "
            "task's `class_names`."
        )
    return task.classes


def check_classes_of_head(task: str, ours: Sequence[str], theirs: Sequence[str]) -> None:
    """Raise `CheckpointError` unless a head has the classes of the images, in the same order.

    Args:
        task: the name of the task.
        ours: the classes of the head, in label order.
        theirs: the classes of the images, in label order; empty if only the head knows them.
    """
    if not theirs:
        return
    advice = "use a head that was made for them."
    if len(match_names(theirs, ours)) == len(theirs):
        advice = (
            "put the classes in one order; if folders or labels name the classes of the images, "
            "do so by giving the head's class names as the task's `class_names`."
        )
    if len(ours) != len(theirs):
        raise CheckpointError(
            f"The head of '{task}' has {len(ours)} classes, but its images have "
            f"{len(theirs)}: {advice}"
        )
    label = first_mismatch(ours, theirs)
    if label is not None:
        raise CheckpointError(
            f"The head of '{task}' names class {label} '{ours[label]}', but its images name it "
            f"'{theirs[label]}': {advice}"
        )


def check_width(task: str, head: ClassificationHead, backbone: Backbone) -> None:
    """Raise `CheckpointError` unless a head takes as many features as the backbone gives."""
    if (width := head.weight.shape[1]) != backbone.feature_dim:
        raise CheckpointError(
            f"The head of '{task}' is for {width} features, but '{backbone.model}' has "
            f"{backbone.feature_dim}: use a head that was made for this backbone."
        )


def orders_in_words(orders: Mapping[str, Sequence[str]]) -> str:
    """Return orders of the same names as text, by program; for many, from the first difference.

    >>> orders_in_words({"torchvision": ["1", "10", "2"], "timm": ["1", "2", "10"]})
    "torchvision's is 1, 10, 2; timm's is 1, 2, 10"
    """
    labels = list(zip(*orders.values(), strict=True))
    many = len(labels) > FEW
    start = next(i for i, names in enumerate(labels) if len(set(names)) > 1) if many else 0
    since = f"from class {start} on, " if start else ""
    shown = {by: name_some(o[start:]) if many else ", ".join(o) for by, o in orders.items()}
    return since + "; ".join(f"{by}'s is {names}" for by, names in shown.items())
