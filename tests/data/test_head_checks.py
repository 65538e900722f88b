"""A head is refused whose classes, their order or its width are not those of the images."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.checkpoints.heads import CosineHead
from wemoe_pl.data.head_checks import (
    check_classes_of_head,
    check_width,
    classes_of_head,
    orders_in_words,
)
from wemoe_pl.errors import CheckpointError

CAT, DOG, FOX = "cat", "dog", "fox"


def task_of(**orders: tuple[str, ...]) -> Any:
    """A task whose classes several programs would number in these orders."""
    return SimpleNamespace(orders=orders, classes=next(iter(orders.values())))


def test_a_head_without_names_has_the_classes_of_the_only_order() -> None:
    task = task_of(torchvision=(CAT, DOG), timm=(CAT, DOG))
    assert classes_of_head("pets", task) == (CAT, DOG)


def test_no_order_is_guessed_for_a_head_without_names() -> None:
    complaint = (
        r"^The head of 'pets' does not name its classes, .* torchvision's is cat, dog; timm's is "
        r"dog, cat\. Give the right one as the task's `class_names`\.$"
    )
    with pytest.raises(CheckpointError, match=complaint):
        classes_of_head("pets", task_of(torchvision=(CAT, DOG), timm=(DOG, CAT)))


@pytest.mark.parametrize("theirs", [(), (CAT, DOG)])
def test_the_same_classes_fit_and_unknown_ones_too(theirs: tuple[str, ...]) -> None:
    check_classes_of_head("pets", (CAT, DOG), theirs)


@pytest.mark.parametrize(
    ("ours", "theirs", "complaint"),
    [
        ((CAT, DOG), (DOG, CAT), "names class 0 'cat', but its images name it 'dog': put the"),
        ((CAT, DOG), (CAT, FOX), "names class 1 'dog', but its images name it 'fox': use a head"),
        ((CAT,), (CAT, DOG), "has 1 classes, but its images have 2: use a head that was made"),
        ((CAT, DOG, FOX), (DOG, FOX), "has 3 classes, but its images have 2: put the classes in"),
    ],
)
def test_other_classes_are_refused_with_the_first_that_differs(
    ours: tuple[str, ...], theirs: tuple[str, ...], complaint: str
) -> None:
    with pytest.raises(CheckpointError, match=f"^The head of 'pets' {complaint}"):
        check_classes_of_head("pets", ours, theirs)


def test_a_head_of_another_width_is_refused() -> None:
    backbone = Backbone("vit_tiny_patch16_224", {"img_size": 32, "num_classes": 0})
    check_width("pets", CosineHead(torch.rand(2, 192), (CAT, DOG), 1.0), backbone)
    with pytest.raises(CheckpointError, match=r"is for 191 features, but 'vit_tiny_.*' has 192"):
        check_width("pets", CosineHead(torch.rand(2, 191), (CAT, DOG), 1.0), backbone)


def test_many_classes_are_shown_from_where_the_orders_part() -> None:
    names = [f"{number:02}" for number in range(40)]
    turned = [*names[:30], *reversed(names[30:])]
    words = orders_in_words({"torchvision": names, "timm": turned})
    assert words.startswith("from class 30 on, torchvision's is 30, ")
    assert "; timm's is 39, " in words
