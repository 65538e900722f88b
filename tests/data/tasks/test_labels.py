"""What a column of labels says, number by number and name by name."""

import pytest

from wemoe_pl.data.tasks import UNLABELLED
from wemoe_pl.data.tasks.labels import labels_of_names, labels_of_numbers, orders_of_names
from wemoe_pl.errors import DataError


def test_without_a_count_of_classes_any_number_from_nought_is_a_label() -> None:
    assert labels_of_numbers([0, 7, -1], None, "t") == [0, 7, UNLABELLED]
    with pytest.raises(DataError, match=r"^Row 1 of t has the label 'x': expected a whole number"):
        labels_of_numbers([0, "x"], None, "t")
    with pytest.raises(DataError, match=r"^Row 0 of t has the label -2: expected a whole number"):
        labels_of_numbers([-2], None, "t")


def test_the_first_vocabulary_that_has_all_names_is_taken() -> None:
    words = (("a", "b"), ("b", "c"))
    assert labels_of_names(["b", None, "a"], words, "t") == [1, UNLABELLED, 0]
    assert labels_of_names(["b", "c"], words, "t") == [0, 1]
    with pytest.raises(DataError, match=r"^Row 0 of t has the label 'a', .* Valid names: b, c\.$"):
        labels_of_names(["a", "c"], words, "t")


@pytest.mark.parametrize("twin", ["café", "cafe\u0301"])
def test_names_do_not_tell_two_classes_of_one_name_apart(twin: str) -> None:
    with pytest.raises(DataError, match=r"^The labels of t are names, .*'café' is given twice"):
        labels_of_names(["tea", "café"], [("tea", "café", twin)], "t")
    assert labels_of_numbers([0, 1, 2], 3, "t") == [0, 1, 2]  # as numbers do


def test_a_column_of_numbers_has_no_names_to_order() -> None:
    assert orders_of_names([0, 1, None]) == {}
