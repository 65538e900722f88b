"""Define tasks whose images are in parquet files, of a dataset on the hub or of a local folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from PIL import Image

from wemoe_pl.data.tasks.base import (
    DEFAULT_TEMPLATES,
    UNLABELLED,
    Corrupt,
    Images,
    Split,
    VisionTask,
    hashed,
)
from wemoe_pl.data.tasks.class_names import first_mismatch
from wemoe_pl.data.tasks.columns import check_images, content_and_path, read_cell
from wemoe_pl.data.tasks.damaged import keep_readable
from wemoe_pl.data.tasks.file_names import printable
from wemoe_pl.data.tasks.image_files import names_and_sizes
from wemoe_pl.data.tasks.labels import (
    are_names,
    declared_names,
    labels_of_names,
    labels_of_numbers,
    orders_of_names,
    stored_labels,
)
from wemoe_pl.data.tasks.missing_images import tell_gaps
from wemoe_pl.data.tasks.tables import matching, read_table, table_facts, tables_in
from wemoe_pl.errors import DataError, check_class_names, did_you_mean
from wemoe_pl.system.files import locate
from wemoe_pl.system.hub import HubFiles, commit_and_names
from wemoe_pl.system.hub_repo import HubRepo

if TYPE_CHECKING:
    from datasets import Dataset  # which takes seconds to import, and only tables need it

NameCheck = Literal["exact", "nearest", "off"]


@dataclass(frozen=True)
class ParquetTask(VisionTask):
    """A `ParquetTask` has its images in parquet files, as `datasets` writes them.

    Args:
        dataset: the dataset, `owner/name[@revision]` on the hub or a folder with the same layout.
        train: the pattern of the files of the training split; not needed for adaptation.
        test: the pattern of the files to adapt to and to score on; only these are fetched from the
            hub.
        image: the column of images.
        label: the column of labels, which are numbers from 0 or class names. A row with -1 or
            without a value has no label; without a column, no row has one. Such images can be
            adapted to but not scored.
        class_names: the classes in label order; by default those of the label column: the names
            that the table gives its numbers, or all names among the test images, sorted.
        label_names: the names that the label column gives the classes, if they are known to differ.
        templates: the prompts for a zero-shot head, with `{}` in the place of the class name.
        check_names: the comparison of the names that the table gives its numbers with `class_names`
            (or with `label_names`): "exact" ignores capitals, spaces and punctuation if that is
            unique; "nearest" accepts any spelling, as long as no name is more like that of another
            class and no number in it differs; "off" compares nothing. A column of names is always
            looked up as with "exact".
        corrupt: the treatment of images that cannot be decoded: "error" stops, "skip" leaves them
            out. Either way they are counted and named.
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
        """Refuse empty class names, and another number of `label_names` than of `class_names`."""
        ours, theirs = self.class_names, self.label_names
        check_class_names(ours or (), "`class_names`", DataError)
        if ours and theirs and len(ours) != len(theirs):
            raise DataError(
                f"{self.dataset} has {len(ours)} `class_names` and {len(theirs)} `label_names`: "
                "give one for each class."
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names in label order; names of the label column need the test split."""
        names = self._known_classes()
        if not names and self.label is not None:
            raise DataError(
                f"The column '{self.label}' of {self.dataset} does not name its classes: give "
                "them as `class_names`."
            )
        return names

    @property
    def orders(self) -> dict[str, tuple[str, ...]]:
        """Return the orders of a column of names; {} if `class_names` or the table give one."""
        if self.class_names or self.label is None:
            return {}
        table = self._naming_table()
        if declared_names(table, self.label):
            return {}
        return orders_of_names(stored_labels(table, self.label))

    @property
    def prompts(self) -> tuple[str, ...]:
        """Return the `templates`."""
        return self.templates

    def images(self, split: Split) -> Images:
        """Return the images of a split, in the order of the rows."""
        files = self._files(split)
        table = self._table(split, files)
        check_images(table, self.image, self.dataset)
        labels = self._labels(table)
        where = f"{self.dataset} ({self._pattern(split)})"
        facts = table_facts(files, self.image)
        identity = hashed("parquet", self._source(split, files), self.image, self.label, labels)
        of_rows = ParquetImages(table, self.image, labels, where, facts, identity)
        images = keep_readable(of_rows, self.corrupt)
        if self.label is not None:
            tell_gaps(images.labels, self._known_classes(), where)
        return images

    def hub_files(self, split: Split) -> HubFiles | None:
        """Return the request for a split's files on the hub; None if the dataset is a folder."""
        repo = None if locate(self.dataset).exists() else HubRepo.parse(self.dataset, "dataset")
        if repo is None:
            return None
        pattern = self._pattern(split)
        return HubFiles(repo, partial(matching, pattern), f"parquet files '{pattern}'")

    def _source(self, split: Split, files: Sequence[Path]) -> object:
        """Return a value that is the same on every machine for the same files."""
        if request := self.hub_files(split):
            return request.repo.name, *commit_and_names(request.repo, files)
        return names_and_sizes(files)

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
        return tables_in(locate(self.dataset), self._pattern(split))

    def _table(self, split: Split, files: Sequence[Path]) -> "Dataset":
        pattern = self._pattern(split)
        table = read_table(files, f"The parquet files '{pattern}' of {self.dataset}")
        for column in filter(None, (self.image, self.label)):
            if column not in table.column_names:
                raise DataError(
                    f"{self.dataset} has no column '{column}'. "
                    f"{did_you_mean(column, table.column_names)}"
                )
        return table

    def _naming_table(self) -> "Dataset":
        split: Split = "test" if self.test else "train"
        return self._table(split, self._files(split))

    def _known_classes(self) -> tuple[str, ...]:
        if self.class_names or self.label is None:
            return tuple(self.class_names or ())
        names = declared_names(self._naming_table(), self.label) or self.orders.get("datasets", ())
        column = f"The column '{self.label}' of {self.dataset}, where a null stands for no label,"
        check_class_names(names, column, DataError)
        return names

    def _labels(self, table: "Dataset") -> list[int]:
        if self.label is None:
            return [UNLABELLED] * len(table)
        values, ours = stored_labels(table, self.label), self._known_classes()
        if are_names(values):
            return labels_of_names(values, (self.label_names or ours, ours), self.dataset)
        theirs = declared_names(table, self.label)
        if ours and theirs and self.check_names != "off":
            loosely = self.check_names == "nearest"
            check_declared_names(theirs, ours, self.label_names, loosely, self.dataset)
        return labels_of_numbers(values, len(ours) or None, self.dataset)


def check_declared_names(
    theirs: Sequence[str],
    ours: Sequence[str],
    known: Sequence[str] | None,
    loosely: bool,
    dataset: str,
) -> None:
    """Raise `DataError` unless a table names its classes as the task does.

    Args:
        theirs: the names that the table gives its numbers.
        ours: the names that the task gives its classes.
        known: the names that the table is known to have instead; None if there are none.
        loosely: True if any spelling is accepted that is nearest to the name of the class.
        dataset: the name of the table in errors.
    """
    if len(ours) != len(theirs):
        raise DataError(f"{dataset} has {len(theirs)} classes, but the task names {len(ours)}.")
    label = first_mismatch(ours, theirs, loosely)
    if label is not None and not (known and first_mismatch(known, theirs) is None):
        raise DataError(
            f"Class {label} of {dataset} is '{theirs[label]}', but the task names it "
            f"'{ours[label]}': put `class_names` in the order of the labels, or set "
            "`check_names: off` if only the spelling differs."
        )


@dataclass(frozen=True, eq=False)
class ParquetImages:
    """`ParquetImages` are images in the rows of a table, each decoded when it is asked for.

    Args:
        rows: the table.
        column: the column of images.
        labels: the label of every row.
        where: the name of the table in errors.
        fingerprint: the fingerprint of the table's files.
        identity: the identity of the table's files and labels.
    """

    rows: "Dataset"
    column: str
    labels: Sequence[int]
    where: str
    fingerprint: str
    identity: str

    def name(self, index: int) -> str:
        """Return the row of an image, and the path of its original file if the table has it."""
        _, path = content_and_path(self._cell(index))
        return self._row(index) + (f", {path}" if path else "")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return read_cell(self._cell(index), self._row(index)), self.labels[index]

    def _row(self, index: int) -> str:
        return f"row {index} of {printable(self.where)}"

    def _cell(self, index: int) -> pa.Scalar:
        # The stored value is read: `datasets` would open the paths in a column of images.
        return self.rows.data.column(self.column)[index]
