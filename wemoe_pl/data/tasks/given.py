"""Find the images and labels in a collection that a program has: of images, pairs or rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import Subset

from wemoe_pl.data.tasks.columns import image_column
from wemoe_pl.errors import DataError, did_you_mean

HERE = "The data set in memory"  # at the beginning of a sentence


@dataclass(frozen=True, eq=False)
class Given:
    """A `Given` is a collection of images, with or without labels.

    Args:
        items: the collection, which has a length and gives item i for `items[i]`: an image, a pair
            of an image and its label, or a row, which is a mapping.
        image: the key of the image in a row.
        label: the key of the label in a row; None if rows have none.
        class_names: the classes in label order, if the collection names them.
    """

    items: Any
    image: str | None = None
    label: str | None = None
    class_names: tuple[str, ...] = ()

    @classmethod
    def of(cls, items: Any, image: str | None = None, label: str | None = None) -> "Given":
        """Find the keys and the class names of a collection.

        Args:
            items: the collection.
            image: the key of the images in rows; by default found by its type.
            label: the key of the labels in rows; by default the only column that names classes.

        Raises:
            DataError: the items are no collection, or nothing tells which columns are meant.
        """
        check_is_collection(items)
        if not hasattr(items, "column_names"):
            return cls(items, image, label, names_of_torchvision(items))
        for key in filter(None, (image, label)):
            if key not in items.column_names:
                raise DataError(
                    f"{HERE} has no column '{key}'. {did_you_mean(key, items.column_names)}"
                )
        image = image or image_column(items.data.schema, HERE)
        label = label or label_column(items, image)
        names = getattr(items.features[label], "names", None) if label else None
        return cls(items, image, label, tuple(names or ()))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Return image `index` in whatever form, and its label; None if it has none."""
        item = self.items[index]
        if isinstance(item, Mapping):
            return self._of_row(item)
        if isinstance(item, tuple) and len(item) == 2:
            return item
        if isinstance(item, tuple):
            raise DataError(f"{HERE} gives tuples of {len(item)}: give pairs (image, label).")
        return item, None

    def _of_row(self, row: Mapping[str, Any]) -> tuple[Any, Any]:
        for key in (self.image, self.label):
            if key is not None and key not in row:
                raise DataError(f"{HERE} has rows without '{key}'. {did_you_mean(key, row)}")
        if self.image is None:
            raise DataError(
                f"{HERE} has rows of {', '.join(map(repr, row))}: say which is the image, by "
                "`image`, and which its label, by `label`."
            )
        return row[self.image], None if self.label is None else row[self.label]


def check_is_collection(items: Any) -> None:
    """Raise `DataError` unless something is a collection of images rather than a single one."""
    if isinstance(items, Mapping):
        raise DataError(
            f"The images of a task are a collection of images, and not a mapping of "
            f"{', '.join(map(repr, items))}: choose one of these."
        )
    if isinstance(items, Tensor | np.ndarray) and items.ndim != 4:
        form = "(n, C, H, W)" if isinstance(items, Tensor) else "(n, H, W, C)"
        raise DataError(
            f"The images are in one {type(items).__name__}, of shape {tuple(items.shape)}: give "
            f"{form}, where C is 1, 3 or 4, or a list of images."
        )
    if isinstance(items, Image.Image):
        raise DataError("The images of a task are a list of images, and not a single one.")
    if isinstance(items, str | Path):
        raise DataError(
            f"The images of a task are a list of images, and not the path '{items}': give "
            f"`ImageFolderTask(test='{items}')` if it is a folder of images."
        )
    if not (hasattr(items, "__len__") and hasattr(items, "__getitem__")):
        raise DataError(
            "The images of a task are a list of images, or another collection that has a length "
            f"and gives items[i], and not {items!r}."
        )


def label_column(rows: Any, image: str) -> str | None:
    """Return the only column that names the classes of its numbers; None if there is none.

    Raises:
        DataError: there are several such columns.
    """
    naming = [name for name, feature in rows.features.items() if hasattr(feature, "names")]
    if len(naming) > 1:
        raise DataError(
            f"{HERE} has {len(naming)} columns of classes ({', '.join(naming)}): say which is "
            "meant, by `label`."
        )
    return naming[0] if naming else None


def names_of_torchvision(items: Any) -> tuple[str, ...]:
    """Return the class names of a torchvision data set, or of a part of one, if it has any."""
    while isinstance(items, Subset):
        items = items.dataset
    names = getattr(items, "classes", None)
    is_list = isinstance(names, Sequence) and not isinstance(names, str)
    return tuple(map(str, names)) if is_list and names is not None else ()
