"""Tasks whose images are in parquet files, of a dataset of the hub or of a folder of one's own."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset, load_dataset
from datasets import Image as ImageColumn
from PIL import Image

from wemoe_pl.errors import DataError, did_you_mean
from wemoe_pl.files import locate
from wemoe_pl.hub import HubFiles, HubRepo
from wemoe_pl.tasks.base import DEFAULT_TEMPLATES, UNLABELLED, Corrupt, Images, Split, VisionTask
from wemoe_pl.tasks.gaps import tell_gaps
from wemoe_pl.tasks.labels import (
    are_names,
    declared_names,
    labels_of_names,
    labels_of_numbers,
    orders_of_names,
    stored_labels,
)
from wemoe_pl.tasks.names import first_mismatch
from wemoe_pl.tasks.readable import keep_readable, read_image

BINARY = ("binary", "large_binary")
NameCheck = Literal["exact", "nearest", "off"]


@dataclass(frozen=True)
class ParquetTask(VisionTask):
    """A task whose images are in parquet files, as `datasets` writes them.

    Args:
        dataset: `owner/name[@revision]` on the hub, or a folder with the same layout.
        train: pattern of the files of the training split; not needed for adaptation.
        test: pattern of the files to adapt to and to score on. Of the hub, only these are fetched.
        image: the column of images.
        label: the column of labels, which are numbers from 0 or class names; rows with -1 or
            without a value have none, and without a column no row has: such images can be adapted
            to but not scored.
        class_names: classes in label order; by default those of the label column: the names that
            the table gives its numbers, or, sorted, all names among the test images.
        label_names: what the label column calls the classes, where it is known to differ.
        templates: prompts for a zero-shot head, with `{}` in the place of the class name.
        check_names: how the names that the table gives its numbers must agree with `class_names`
            (or with `label_names`): "exact" overlooks capitals, spaces and punctuation where that
            is unique; "nearest" any spelling, as long as no name is more like that of another class
            and no number in it differs; "off" compares nothing. A column of names is always
            looked up as with "exact".
        corrupt: what to do about images that cannot be decoded: stop, or leave them out. Either
            way they are counted and named.
    """

    dataset: str
    train: str | None = "data/train-*"
    test: str | None = "data/test-*"
    image: str = "image"
    label: str | None = "label"
    class_names: tuple[str, ...] | None = None
    label_names: tuple[str, ...] | None = None
    templates: tuple[str, ...] = DEFAULT_TEMPLATES
    check_names: NameCheck = "exact"
    corrupt: Corrupt = "error"

    def __post_init__(self) -> None:
        """Refuse names of the label column that are not one for each class."""
        ours, theirs = self.class_names, self.label_names
        if ours and theirs and len(ours) != len(theirs):
            raise DataError(
                f"{self.dataset} has {len(ours)} `class_names` and {len(theirs)} `label_names`: "
                "give one for each class."
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order; those of the label column need the test split."""
        if self.class_names or self.label is None:
            return tuple(self.class_names or ())
        names = self._known_classes()
        if not names:
            raise DataError(
                f"The column '{self.label}' of {self.dataset} does not name its classes: give "
                "them as `class_names`."
            )
        return names

    @property
    def orders(self) -> dict[str, tuple[str, ...]]:
        """Those of a column of names, unless `class_names` or the table give another."""
        if self.class_names or self.label is None:
            return {}
        table = self._naming_table()
        if declared_names(table, self.label):
            return {}
        return orders_of_names(stored_labels(table, self.label))

    @property
    def prompts(self) -> tuple[str, ...]:
        """The templates."""
        return self.templates

    def images(self, split: Split) -> Images:
        """The images of a split, in the order of the rows."""
        files = self._files(split)
        table = self._table(split, files)
        rows = encoded_column(table, self.image, self.dataset)
        labels = self._labels(table)
        where = f"{self.dataset} ({self._pattern(split)})"
        facts = f"{file_facts(files)}, column {self.image}"
        of_rows = ParquetImages(rows, self.image, labels, where, facts)
        images = keep_readable(of_rows, self.corrupt)
        tell_gaps(images.labels, self._known_classes(), where)
        return images

    def hub_files(self, split: Split) -> HubFiles | None:
        """The files of the split, unless the dataset is a folder."""
        repo = None if locate(self.dataset).exists() else HubRepo.parse(self.dataset, "dataset")
        if repo is None:
            return None
        pattern = self._pattern(split)
        return HubFiles(repo, partial(matching, pattern), f"parquet files '{pattern}'")

    def _pattern(self, split: Split) -> str:
        pattern = self.train if split == "train" else self.test
        if pattern is None:
            raise DataError(
                f"{self.dataset} was given no {split} split: name its files as `{split}`."
            )
        return pattern

    def _files(self, split: Split) -> list[Path]:
        if request := self.hub_files(split):
            return request.fetch()
        folder, pattern = locate(self.dataset), self._pattern(split)
        if not folder.is_dir():
            raise DataError(f"There is no folder {folder}: check `dataset` in the config.")
        there = [str(p.relative_to(folder)) for p in sorted(folder.rglob("*.parquet"))]
        names = matching(pattern, there)
        if not names:
            found = f"It has {', '.join(there[:3])} …" if there else "It has no parquet files"
            raise DataError(f"{folder} has no parquet files '{pattern}'. {found}.")
        return [folder / name for name in names]

    def _table(self, split: Split, files: Sequence[Path]) -> Dataset:
        pattern = self._pattern(split)
        table = read_table(files, f"The parquet files '{pattern}' of {self.dataset}")
        for column in filter(None, (self.image, self.label)):
            if column not in table.column_names:
                raise DataError(
                    f"{self.dataset} has no column '{column}'. "
                    f"{did_you_mean(column, table.column_names)}"
                )
        return table

    def _naming_table(self) -> Dataset:
        split: Split = "test" if self.test else "train"
        return self._table(split, self._files(split))

    def _known_classes(self) -> tuple[str, ...]:
        if self.class_names or self.label is None:
            return tuple(self.class_names or ())
        return declared_names(self._naming_table(), self.label) or self.orders.get("datasets", ())

    def _labels(self, table: Dataset) -> list[int]:
        if self.label is None:
            return [UNLABELLED] * len(table)
        values, ours = stored_labels(table, self.label), self._known_classes()
        if are_names(values):
            return labels_of_names(values, (self.label_names or ours, ours), self.dataset)
        theirs = declared_names(table, self.label)
        if ours and theirs and self.check_names != "off":
            self._compare(ours, theirs)
        return labels_of_numbers(values, len(ours) or None, self.dataset)

    def _compare(self, ours: Sequence[str], theirs: Sequence[str]) -> None:
        if len(ours) != len(theirs):
            raise DataError(
                f"{self.dataset} has {len(theirs)} classes, but the task names {len(ours)}."
            )
        loosely = self.check_names == "nearest"
        label = first_mismatch(ours, theirs, loosely)
        known = self.label_names and first_mismatch(self.label_names, theirs) is None
        if label is not None and not known:
            raise DataError(
                f"Class {label} of {self.dataset} is '{theirs[label]}', but the task names it "
                f"'{ours[label]}': put `class_names` in the order of the labels, or set "
                "`check_names: off` if only the spelling differs."
            )


class ParquetImages:
    """Encoded images in the rows of a table, decoded to RGB when asked for.

    Args:
        rows: the table.
        column: of the images.
        labels: of every row.
        where: what errors call the table.
        fingerprint: of its files.
    """

    def __init__(
        self, rows: Dataset, column: str, labels: Sequence[int], where: str, fingerprint: str
    ):
        self.rows = rows
        self.column = column
        self.labels = labels
        self.where = where
        self.fingerprint = fingerprint

    def name(self, index: int) -> str:
        """The row, and the file that it was made of where the table says so."""
        path = self.rows[index][self.column].get("path")
        return f"row {index} of {self.where}" + (f", {path}" if path else "")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        encoded = self.rows[index][self.column]["bytes"]
        name = f"row {index} of {self.where}"
        if encoded is None:
            raise DataError(f"{name} has no image.")
        return read_image(encoded, name), self.labels[index]


def read_table(files: Sequence[Path], called: str) -> Dataset:
    """The rows of parquet files, mapped to memory.

    Args:
        files: of one table.
        called: what errors call them.

    Raises:
        DataError: they cannot be read, or there is no space.
    """
    names = [str(path) for path in files]
    try:
        return load_dataset("parquet", data_files={"rows": names}, split="rows")
    except Exception as error:  # `datasets` and pyarrow raise many kinds
        cause = error.__cause__ or error
        if isinstance(cause, OSError) and cause.errno is not None:
            raise DataError(
                f"{called} cannot be unpacked: {cause.strerror}. Free some space, or set HF_HOME "
                "to a folder on another disk."
            ) from error
        raise DataError(
            f"{called} cannot be read ({str(cause).partition('.')[0]}): fetch or copy them again."
        ) from error


def encoded_column(table: Dataset, column: str, where: str) -> Dataset:
    """The images of a table, not yet decoded; `DataError` if the column has none."""
    try:
        return table.select_columns(column).cast_column(column, ImageColumn(decode=False))
    except (NotImplementedError, TypeError, ValueError) as error:  # of pyarrow
        raise DataError(
            f"The column '{column}' of {where} has no images: name the one that has as `image`."
        ) from error


def image_column(table: Dataset, where: str) -> str:
    """The only column of a table that can hold images; `DataError` unless there is just one."""
    found = [name for name, feature in table.features.items() if holds_images(feature)]
    if len(found) == 1:
        return found[0]
    columns = ", ".join(found or table.column_names)
    raise DataError(
        f"{where} has {len(found)} columns of images ({columns}): leave one."
        if found
        else f"{where} has no column of images, only {columns}."
    )


def holds_images(feature: Any) -> bool:
    """Is a column declared to have images, or encoded ones, with or without their paths?"""
    encoded = feature.get("bytes") if isinstance(feature, dict) else feature
    return isinstance(encoded, ImageColumn) or getattr(encoded, "dtype", None) in BINARY


def matching(pattern: str, names: Sequence[str]) -> list[str]:
    """The parquet files among these names that a pattern means."""
    return [name for name in names if fnmatch(name, pattern) and name.endswith(".parquet")]


def file_facts(files: Sequence[Path]) -> str:
    """Changes whenever a file does: by their paths, sizes and times."""
    facts = [(str(p.resolve()), (s := p.stat()).st_size, s.st_mtime_ns) for p in files]
    return "parquet " + hashlib.sha256(repr(facts).encode()).hexdigest()
