"""Class names agree when they mean the same, and two classes that changed places are found."""

import unicodedata
from itertools import permutations

import pytest

from wemoe_pl.data.tasks import TALL20_TASKS, PaperTask
from wemoe_pl.data.tasks.class_names import (
    first_mismatch,
    index_of_nearest,
    match_names,
    plain,
    repeated,
)

# As the land-cover data set was published, and what its prompts call the same classes.
EUROSAT = ["AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture",
           "PermanentCrop", "Residential", "River", "SeaLake"]  # fmt: skip
WORDED = ["annual crop land", "forest", "herbaceous vegetation", "highway or road",
          "industrial buildings", "pasture land", "permanent crop land",
          "residential buildings or homes", "river", "lake or sea"]  # fmt: skip


# Names that differ only in what a loose look could drop.
CLOSE = [
    ["+", "-", "="],
    ["C", "C++", "C#"],
    ["-1", "+1", "1"],
    ["1.0", "1.5", "10", "15"],
    ["0.5", ".5", "5"],
    ["A", "A+", "A-", "a"],
    ["का", "कि", "की", "क"],
    ["กา", "กี", "ก"],
    ["😀", "😢"],
    ["👨‍👩‍👧", "👨👩👧"],
    ["♀", "♂"],
    ["m", "m²"],
    ["é", "e"],
    ["<", ">", "<="],
    ["grade 1", "grade -1"],
    ["-inf", "inf"],
    ["50%", "50"],
    ["e-mail", "email"],
    ["1 0", "10"],
]


def swapped(names: list[str], i: int) -> list[str]:
    """The names, of which `i` and the next one have changed places."""
    return [*names[:i], names[i + 1], names[i], *names[i + 2 :]]


@pytest.mark.parametrize(
    "spelling", ["Baseball_Diamond", "baseballdiamond", "BASEBALL-DIAMOND", "baseball diamond."]
)
def test_capitals_spaces_and_signs_do_not_tell_names_apart(spelling: str) -> None:
    assert plain(spelling) == "baseballdiamond"
    assert first_mismatch(["baseball diamond"], [spelling]) is None


def test_letters_digits_and_signs_do() -> None:
    assert plain("BMW M3 Coupe 2012") != plain("BMW M3 Coupe 2010")
    assert plain("Straße") == "strasse"
    assert first_mismatch(["cat", "dog"], ["cat", "dogs"]) == 1


@pytest.mark.parametrize("names", CLOSE, ids=str)
def test_names_that_differ_in_a_sign_are_names_of_their_own(names: list[str]) -> None:
    assert match_names(names, names) == {name: label for label, name in enumerate(names)}
    for order in permutations(names):
        for loosely in (False, True):
            assert (first_mismatch(names, order, loosely) is None) == (list(order) == names)


@pytest.mark.parametrize(
    ("given", "classes"),
    [("-1", "+1"), ("1", "-1"), ("10", "1.0"), ("C", "C++"), ("5", ".5"), ("inf", "-inf"),
     ("कि", "का"), ("A", "A-"), ("😢", "😀"), ("-", "+"), ("_", "-"), ("m", "m²"), ("50", "50%"),
     ("10", "1 0")],
)  # fmt: skip
def test_a_sign_is_not_dropped_even_where_the_other_name_is_absent(
    given: str, classes: str
) -> None:
    assert match_names([given], [classes, "zebra"]) == {}
    assert first_mismatch([classes], [given]) == 0


def test_another_unicode_form_is_the_same_name() -> None:
    words = ["café", "Ångström", "한국", "가"]
    others = [unicodedata.normalize("NFD", word) for word in words]
    assert not set(words) & set(others)
    assert match_names(others, words) == {other: label for label, other in enumerate(others)}
    assert first_mismatch(words, others) is None
    assert repeated(["tea", words[0], others[0]]) == words[0]
    assert repeated(["tea", "Tea", "te a"]) is None


def test_a_looser_form_counts_only_if_it_is_unique_on_both_sides() -> None:
    assert match_names(["CAT", "dog"], ["cat", "dog"]) == {"CAT": 0, "dog": 1}
    assert match_names(["CAT", "Cat"], ["cat", "dog"]) == {}
    assert match_names(["CAT", "cat"], ["cat", "dog"]) == {"cat": 0}
    assert match_names(["CAT"], ["cat", "Cat"]) == {}
    assert match_names(["cat"], ["cat", "Cat"]) == {"cat": 0}


def test_names_that_a_data_set_has_twice_agree_with_themselves() -> None:
    """ImageNet has two classes that are called crane."""
    assert first_mismatch(["crane", "crane", "cat"], ["crane", "crane", "cat"]) is None
    assert first_mismatch(["crane", "crane", "cat"], ["crane", "cat", "crane"]) == 1


def test_the_first_of_several_mismatches_is_given() -> None:
    assert first_mismatch(["a", "b", "c", "d"], ["a", "x", "y", "d"]) == 1


def test_names_that_are_spelled_quite_differently_agree_only_loosely() -> None:
    assert first_mismatch(WORDED, EUROSAT, loosely=True) is None
    assert first_mismatch(WORDED, EUROSAT) == 0


@pytest.mark.parametrize("i", range(len(EUROSAT) - 1))
def test_two_classes_that_changed_places_are_found_however_they_are_spelled(i: int) -> None:
    assert first_mismatch(WORDED, swapped(EUROSAT, i), loosely=True) == i
    assert first_mismatch(EUROSAT, swapped(EUROSAT, i)) == i


def test_the_prompts_for_eurosat_are_too_far_from_its_names_for_a_loose_look() -> None:
    """Brushland is what the prompts call herbaceous vegetation: hence its `label_names`."""
    facts = PaperTask("eurosat").facts
    assert facts["label_names"] == EUROSAT
    assert first_mismatch(facts["class_names"], EUROSAT, loosely=True) == 2


@pytest.mark.slow
@pytest.mark.parametrize("task", TALL20_TASKS)
@pytest.mark.parametrize("loosely", [False, True])
def test_no_two_classes_of_the_paper_can_change_places_unnoticed(task: str, loosely: bool) -> None:
    names = list(PaperTask(task).classes)
    assert first_mismatch(names, names, loosely) is None
    folders = [name.replace(" ", "_").title() for name in names]
    assert first_mismatch(names, folders, loosely) is None
    for i in range(len(names) - 1):
        assert first_mismatch(names, swapped(folders, i), loosely) == i


def test_names_that_are_only_numbers_say_nothing_unless_they_are_out_of_order() -> None:
    ours = ["speed limit 20", "stop", "yield"]
    assert first_mismatch(ours, ["0", "1", "2"], loosely=True) is None
    assert first_mismatch(ours, ["00", "01", "02"], loosely=True) is None
    assert first_mismatch(ours, ["1", "0", "2"], loosely=True) is not None
    assert first_mismatch(ours, ["0", "1", "2"]) == 0
    assert first_mismatch(["1", "0", "2"], ["0", "1", "2"], loosely=True) == 0
    assert first_mismatch(["1", "2", "3"], ["0", "1", "2"], loosely=True) == 0


@pytest.mark.parametrize(
    ("ours", "theirs", "agree"),
    [
        (["limit of 20", "limit of 30"], ["20 km/h", "30 km/h"], True),
        (["limit of 20", "limit of 30"], ["30 km/h", "20 km/h"], False),
        (["limit of 20", "no limit"], ["limit 30", "none"], False),
        (["Ford F-150 Cab", "Ford F-250 Cab"], ["F150 Cab Ford", "F250 Cab Ford"], True),
        (["a score of +1", "a score of -1"], ["-1", "+1"], False),
        (["left hand", "right hand"], ["something", "else"], False),
    ],
)
def test_a_loose_look_never_takes_one_number_for_another(
    ours: list[str], theirs: list[str], agree: bool
) -> None:
    assert (first_mismatch(ours, theirs, loosely=True) is None) == agree


def test_the_nearest_name_shares_the_most() -> None:
    assert index_of_nearest("sealake", ["river", "lakeorsea", "forest"]) == 1
    assert index_of_nearest("river", ["river", "river"]) is None
    assert index_of_nearest("xyz", ["lake", "moon"]) is None
