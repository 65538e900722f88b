"""Collections of images are told apart: lists, tensors, and data sets of two libraries."""

from collections.abc import Iterator
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from helpers.plain_images import random_image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from wemoe_pl.data.tasks.given import Given
from wemoe_pl.errors import DataError

IMAGES = [random_image(6, 5, seed) for seed in range(3)]


class Pairs(Dataset[Any]):
    """Like a data set of torchvision's."""

    classes = ["cat", "dog"]  # noqa: RUF012

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return IMAGES[index], index % 2


def table(**columns: Any) -> datasets.Dataset:
    features = {"picture": datasets.Image(), "kind": datasets.ClassLabel(names=["cat", "dog"])}
    known = {"picture": IMAGES, "kind": [0, 1, 0]}
    extra = {name: column[1] for name, column in columns.items()}
    typed = {name: column[0] for name, column in columns.items()}
    return datasets.Dataset.from_dict(known | extra, datasets.Features(features | typed))


def test_a_list_of_images_has_no_labels() -> None:
    given = Given.of(IMAGES)
    assert len(given) == 3
    assert given[1] == (IMAGES[1], None)
    assert given.class_names == ()


def test_pairs_have_labels_and_perhaps_names_of_classes() -> None:
    given = Given.of(Pairs())
    assert given[1] == (IMAGES[1], 1)
    assert given.class_names == ("cat", "dog")
    part = Given.of(Subset(Subset(Pairs(), [2, 1]), [1]))
    assert (len(part), part[0], part.class_names) == (1, (IMAGES[1], 1), ("cat", "dog"))


def test_tensors_come_with_or_without_labels() -> None:
    images = torch.rand(3, 3, 4, 4)
    assert torch.equal(Given.of(images)[2][0], images[2])
    assert Given.of(TensorDataset(images, torch.tensor([4, 5, 6])))[2][1] == 6
    assert np.array_equal(Given.of(images.numpy())[2][0], images[2].numpy())


def test_the_columns_of_rows_are_found_by_their_types() -> None:
    given = Given.of(table(title=(datasets.Value("string"), ["a", "b", "c"])))
    image, label = given[1]
    assert np.array_equal(np.asarray(image), np.asarray(IMAGES[1]))
    assert (label, given.class_names) == (1, ("cat", "dog"))


def test_rows_that_were_shuffled_keep_their_order() -> None:
    """Which the table below them does not have."""
    image, label = Given.of(table().select([2, 1]))[1]
    assert np.array_equal(np.asarray(image), np.asarray(IMAGES[1]))
    assert label == 1


def test_a_column_may_be_named_where_several_would_do() -> None:
    fine = table(fine=(datasets.ClassLabel(names=["x", "y", "z"]), [2, 1, 0]))
    with pytest.raises(DataError, match=r"2 columns of classes \(kind, fine\)"):
        Given.of(fine)
    given = Given.of(fine, label="fine")
    assert (given[0][1], given.class_names) == (2, ("x", "y", "z"))
    with pytest.raises(DataError, match=r"no column 'fne'\. Did you mean 'fine'"):
        Given.of(fine, label="fne")


def test_rows_of_any_data_set_have_their_keys_named() -> None:
    rows = [{"x": image, "y": 1} for image in IMAGES]
    assert Given.of(rows, "x", "y")[2] == (IMAGES[2], 1)
    with pytest.raises(DataError, match="has rows of 'x', 'y': say which is the image"):
        Given.of(rows)[0]
    with pytest.raises(DataError, match=r"has rows without 'z'\. Valid names: x, y"):
        Given.of(rows, "x", "z")[0]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield IMAGES[0]


@pytest.mark.parametrize(
    ("items", "sentence"),
    [
        (Stream(), r"has a length and gives items\[i\], and not <"),
        (iter(IMAGES), r"has a length and gives items\[i\], and not <list_iterator"),
        (IMAGES[0], r"are a list of images, and not a single one\.$"),
        ("photos", r"not the path 'photos': give `ImageFolderTask\(test='photos'\)` if"),
        ({"train": IMAGES}, "not a mapping of 'train': choose one"),
        (torch.rand(3, 8, 8), r"shape \(3, 8, 8\): give \(n, C, H, W\)"),
        (np.zeros((8, 8, 3)), r"shape \(8, 8, 3\): give \(n, H, W, C\)"),
    ],
)
def test_what_is_no_collection_is_refused(items: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        Given.of(items)


def test_a_tuple_of_more_than_two_is_refused() -> None:
    with pytest.raises(DataError, match="gives tuples of 3: give pairs"):
        Given.of([(IMAGES[0], 1, "a")])[0]
