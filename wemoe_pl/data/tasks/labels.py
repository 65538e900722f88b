"""Read a table's column of labels, which has the numbers of classes or their names."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wemoe_pl.data.tasks.base import UNLABELLED
from wemoe_pl.data.tasks.class_names import canonical, match_names, repeated
from wemoe_pl.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset  # which takes seconds to import, and only tables need it


def stored_labels(table: "Dataset", column: str) -> list[Any]:
    """Return the values of a column as they are stored.

    `datasets` itself would open the paths in a column that is declared as one of images.
    """
    return table.data.column(column).to_pylist()


def are_names(values: Sequence[Any]) -> bool:
    """Return whether any value of a column is text."""
    return any(isinstance(value, str) for value in values)


def declared_names(table: "Dataset", column: str) -> tuple[str, ...] | None:
    """Return the class names that a table gives a column of numbers, in label order, if any."""
    from datasets import ClassLabel

    feature = table.features[column]
    return tuple(feature.names) if isinstance(feature, ClassLabel) else None


def orders_of_names(values: Sequence[Any]) -> dict[str, tuple[str, ...]]:
    """Return the orders that programs give the names in a column, by program; {} for numbers.

    >>> orders_of_names(["dog", None, "cat", "dog"])
    {'datasets': ('cat', 'dog'), 'pandas': ('dog', 'cat')}
    """
    names = tuple(dict.fromkeys(canonical(value) for value in values if isinstance(value, str)))
    return {"datasets": tuple(sorted(names)), "pandas": names} if names else {}


def labels_of_numbers(values: Sequence[Any], count: int | None, where: str) -> list[int]:
    """Return the labels of stored numbers.

    A null, a NaN and -1 stand for no label. Floats are accepted if they are whole, since pandas
    turns a column of integers with gaps into floats. False and true are 0 and 1.

    Args:
        values: the values as they are stored.
        count: the number of classes; None if it is not known.
        where: the name of the table in errors.

    Raises:
        DataError: a value is no label; the error names its row.
    """
    labels = list(map(whole_number, values))
    for row, label in enumerate(labels):
        if label is None or label < UNLABELLED or (count is not None and label >= count):
            allowed = f"a number from 0 to {count - 1}" if count else "a whole number"
            raise DataError(
                f"Row {row} of {where} has the label {values[row]!r}: expected {allowed}."
            )
    return [label for label in labels if label is not None]


def whole_number(value: Any) -> int | None:
    """Return the label that a stored value stands for; None if the value is invalid."""
    if value is None or value != value:  # only a NaN differs from itself
        return UNLABELLED
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, int) else None


def labels_of_names(
    values: Sequence[Any], vocabularies: Sequence[Sequence[str]], where: str
) -> list[int]:
    """Return the labels of stored names; a null stands for no label.

    Args:
        values: the values as they are stored.
        vocabularies: the lists of class names in label order; one list must have all stored names.
        where: the name of the table in errors.

    Raises:
        DataError: no list has all stored names (the error names the first row that is not in the
            last list), or the list that has them gives two classes one name.
    """
    names = [value for value in dict.fromkeys(values) if value is not None]
    matched: dict[str, int] = {}
    for classes in vocabularies:
        matched = match_names(names, classes)
        if len(matched) == len(names):
            check_distinct(classes, where)
            return [UNLABELLED if value is None else matched[value] for value in values]
    row, name = next((r, v) for r, v in enumerate(values) if v is not None and v not in matched)
    raise DataError(
        f"Row {row} of {where} has the label '{name}', which is not a class of the task: give all "
        f"classes as `class_names`. {did_you_mean(name, vocabularies[-1])}"
    )


def check_distinct(classes: Sequence[str], where: str) -> None:
    """Raise `DataError` if two classes have one name: labels that are names need unique ones."""
    if (twice := repeated(classes)) is not None:
        raise DataError(
            f"The labels of {where} are names, and the class name '{twice}' is given twice: give "
            "each class a name of its own, or labels that are numbers."
        )
