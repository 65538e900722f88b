"""Class names agree when they mean the same, and two classes that changed places are found."""

import pytest

from wemoe_pl.tasks import PAPER_TASKS, PaperTask
from wemoe_pl.tasks.names import first_mismatch, nearest, plain

# As the land-cover data set was published, and what its prompts call the same classes.
EUROSAT = ["AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture",
           "PermanentCrop", "Residential", "River", "SeaLake"]  # fmt: skip
WORDED = ["annual crop land", "forest", "herbaceous vegetation", "highway or road",
          "industrial buildings", "pasture land", "permanent crop land",
          "residential buildings or homes", "river", "lake or sea"]  # fmt: skip


def swapped(names: list[str], i: int) -> list[str]:
    """The names, of which `i` and the next one have changed places."""
    return [*names[:i], names[i + 1], names[i], *names[i + 2 :]]


@pytest.mark.parametrize(
    "spelling", ["Baseball_Diamond", "baseballdiamond", "BASEBALL-DIAMOND", "baseball diamond."]
)
def test_capitals_spaces_and_signs_do_not_tell_names_apart(spelling: str) -> None:
    assert plain(spelling) == "baseballdiamond"
    assert first_mismatch(["baseball diamond"], [spelling]) is None


def test_letters_and_digits_do() -> None:
    assert plain("BMW M3 Coupe 2012") != plain("BMW M3 Coupe 2010")
    assert plain("Straße") == "strasse"
    assert first_mismatch(["cat", "dog"], ["cat", "dogs"]) == 1


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


@pytest.mark.parametrize("task", PAPER_TASKS)
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


def test_the_nearest_name_shares_the_most() -> None:
    assert nearest("sealake", ["river", "lakeorsea", "forest"]) == 1
    assert nearest("river", ["river", "river"]) == 0
