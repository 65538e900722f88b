"""Reports of jsonargparse's, turned into one sentence each, and the names that are suggested."""

from abc import abstractmethod

import pytest

from wemoe_pl.cli import job  # noqa: F401 (imports all that can be chosen)
from wemoe_pl.cli.parser import concrete, explain, nearest
from wemoe_pl.data.datamodule import VisionData
from wemoe_pl.data.tasks import VisionTask
from wemoe_pl.merging import MergeMethod
from wemoe_pl.training.module import MultiTaskModule

KEYS = ["trainer.max_steps", "trainer.min_steps", "data.batch_size"]
UNION = """\
Parser key "{key}":
  Does not validate against any of the Union subtypes
  Subtypes: [{subtypes}, <class 'NoneType'>]
  Errors:
    - {first}
    - {second}
    - Expected a <class 'NoneType'>
  Given value type: <class 'str'>
  Given value: {value}"""


@pytest.mark.parametrize(
    "report",
    [
        "unrecognized arguments: --trainer.max_step 3",
        "Subcommand 'fit' does not accept option 'trainer.max_step'",
        "Group 'trainer' does not accept option 'trainer.max_step'",
        "Option 'trainer.max_step' is not accepted",
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(report: str) -> None:
    assert explain(report, KEYS) == (
        "There is no key 'trainer.max_step'. Did you mean 'trainer.max_steps'? "
        "Valid names: data.batch_size, trainer.max_steps, trainer.min_steps."
    )


def test_a_key_that_is_near_to_none_of_many_says_how_to_see_them() -> None:
    keys = [f"key.number.{i}" for i in range(100)]
    assert explain("unrecognized arguments: --zzz", keys) == (
        "There is no key 'zzz'. Add --print_config to see all keys."
    )


@pytest.mark.parametrize(
    ("key", "name", "answer"),
    [
        ("model", "TestTimeAdaption", "Did you mean 'TestTimeAdaptation'?"),
        ("data", "MultTaskData", "Did you mean 'MultiTaskData'?"),
        ("merge", "WEMOE", "Did you mean 'WEMoE'?"),
        ("suite.tasks", "MinatureTask", "Did you mean 'MiniatureTask'?"),
        ("trainer.logger", "WandbLoger", "Did you mean 'WandbLogger'?"),
    ],
)
def test_an_unknown_class_is_answered_with_the_nearest_that_fits_the_key(
    key: str, name: str, answer: str
) -> None:
    report = f'Parser key "{key}":\n  Expected a dot import path string: {name}'
    assert explain(report).startswith(f"There is no class '{name}'. {answer}")


def test_a_class_for_another_key_is_not_suggested() -> None:
    report = 'Parser key "merge":\n  Expected a dot import path string: MultiTaskDat'
    assert "MultiTaskData" not in explain(report)


def test_a_wrong_value_is_answered_with_the_type() -> None:
    report = "Parser key \"out\":\n  Expected a <class 'int'>. Got value: two"
    assert explain(report) == "out: expected int, got 'two'."


@pytest.mark.parametrize(
    ("value", "hint"),
    [("[1, 'a']", True), ("[True]", True), ("None", True), ("['a']", False), ("{'a': 'b'}", True)],
)
def test_what_yaml_took_for_no_text_is_to_be_quoted(value: str, hint: bool) -> None:
    report = f"Parser key \"tasks\":\n  Expected a <class 'str'>. Got value: {value}"
    expected = f"tasks: expected str, got '{value}'."
    quotes = " Put quotes around a name that YAML takes for something else, as in '1' or 'yes'."
    assert explain(report) == expected + quotes * hint


def test_all_types_of_a_union_are_named() -> None:
    report = UNION.format(
        key="seed_everything",
        subtypes="<class 'bool'>, <class 'int'>",
        first="Expected a <class 'bool'>",
        second="Expected a <class 'int'>",
        value="x",
    )
    assert explain(report) == "seed_everything: expected bool or int, got 'x'."


def test_what_the_parser_of_a_class_has_said_is_repeated_word_for_word() -> None:
    sentence = "There is no key 'lamda'. Did you mean 'lambda'? Valid names: depth, lambda."
    report = UNION.format(key="model", subtypes="Module", first=sentence, second="", value="…")
    assert explain(report) == sentence


def test_what_a_class_has_refused_is_repeated_word_for_word() -> None:
    sentence = "router_depth is 3: choose 0, 1 or 2."
    report = UNION.format(key="", subtypes="Module", first=sentence, second="", value="…")
    assert explain(report) == sentence


def test_few_names_are_all_listed_and_of_many_only_the_nearest() -> None:
    assert nearest("b", ["ab", "cd"]) == "Did you mean 'ab'? Valid names: ab, cd."
    many = [f"name {i}" for i in range(100)]
    assert nearest("name 77", many) == "Did you mean 'name 77'?"
    assert nearest("zzz", many, otherwise="Look.") == "Look."


@pytest.mark.parametrize(
    ("base", "names"),
    [
        (MultiTaskModule, {"ExpertFineTuning", "MultiTaskTraining", "TestTimeAdaptation"}),
        (VisionData, {"MultiTaskData", "TaskData"}),
        (MergeMethod, {"Individual", "Pretrained", "TaskArithmetic", "WEMoE"}),
        (VisionTask, {"ImageFolderTask", "MiniatureTask"}),
    ],
)
def test_every_class_that_can_be_chosen_is_listed(base: type, names: set[str]) -> None:
    assert names <= set(concrete(base))


def test_a_class_that_is_not_finished_cannot_be_chosen() -> None:
    class Unfinished:
        @abstractmethod
        def finish(self) -> None: ...

    class Finished(Unfinished):
        def finish(self) -> None: ...

    assert concrete(Unfinished) == [Finished.__name__]
    assert "SupervisedTraining" not in concrete(MultiTaskModule)
