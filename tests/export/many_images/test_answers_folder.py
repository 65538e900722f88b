"""The folder of answers holds one question, and nobody else's files are touched."""

from pathlib import Path
from typing import Any

import pytest

from wemoe_pl.errors import ConfigError, DataError, WeMoEError
from wemoe_pl.export.many_images.answers_folder import AnswersFolder
from wemoe_pl.export.many_images.question import RecordedModel, asked_question
from wemoe_pl.runs.lock import let_go, try_to_take


@pytest.fixture
def question(recorded: RecordedModel, sources: list[str]) -> dict[str, Any]:
    return asked_question(recorded.classifier, sources, None, 64)


@pytest.fixture
def folder(tmp_path: Path) -> AnswersFolder:
    return AnswersFolder(tmp_path / "out")


def test_the_first_lays_the_plan_down_and_others_read_it(
    folder: AnswersFolder, question: dict[str, Any], sources: list[str]
) -> None:
    plan = folder.begin(question, sources, is_fresh=False)
    assert plan is not None
    assert plan.images == [4, 4, 2]
    (Path(sources[0]) / "later.png").touch()
    assert folder.begin(question, sources, is_fresh=False) == plan
    assert sorted(path.name for path in folder.path.iterdir()) == [".wemoe-pl"]


def test_another_question_is_refused_and_may_begin_anew(
    folder: AnswersFolder, question: dict[str, Any], sources: list[str]
) -> None:
    folder.begin(question, sources, is_fresh=False)
    folder.part(0).touch()
    other = question | {"task": "dtd"}
    with pytest.raises(
        ConfigError, match=r"out has answers by inferred tasks and not --task dtd: cho"
    ):
        folder.begin(other, sources, is_fresh=False)
    assert folder.part(0).is_file()
    plan = folder.begin(other, sources, is_fresh=True)
    assert plan is not None
    assert plan.facts.question == other
    assert not folder.part(0).exists()


def test_a_folder_of_other_things_is_refused_whatever_is_asked(
    folder: AnswersFolder, question: dict[str, Any], sources: list[str]
) -> None:
    folder.path.mkdir()
    (folder.path / "thesis.tex").write_text("all of it")
    for is_fresh in (False, True):
        with pytest.raises(ConfigError, match="exists already, and is not a folder of answers"):
            folder.begin(question, sources, is_fresh)
    assert [path.name for path in folder.path.iterdir()] == ["thesis.tex"]


def test_a_file_in_its_place_is_refused(
    folder: AnswersFolder, question: dict[str, Any], sources: list[str]
) -> None:
    folder.path.write_text("a file")
    with pytest.raises(WeMoEError, match="Not a directory"):
        folder.begin(question, sources, is_fresh=False)


def test_answers_whose_plan_is_lost_are_not_mixed_with_others(
    folder: AnswersFolder, question: dict[str, Any], sources: list[str]
) -> None:
    folder.path.mkdir()
    folder.part(3).touch()
    with pytest.raises(ConfigError, match=r"such as part-00003\.parquet, but the plan by which"):
        folder.begin(question, sources, is_fresh=False)


def test_what_others_write_is_not_removed(
    folder: AnswersFolder, question: dict[str, Any], sources: list[str]
) -> None:
    folder.begin(question, sources, is_fresh=False)
    taken = try_to_take(folder.lock(1))
    with pytest.raises(WeMoEError, match=r"out is in use: process \d+ on .* writes there"):
        folder.begin(question, sources, is_fresh=True)
    let_go(taken, folder.lock(1))
    assert folder.begin(question, sources, is_fresh=True) is not None


def test_a_plan_that_fails_leaves_nothing_that_hinders_the_next(
    folder: AnswersFolder, question: dict[str, Any], sources: list[str]
) -> None:
    with pytest.raises(DataError, match="There is no folder or file"):
        folder.begin(question, [*sources, "gone"], is_fresh=False)
    assert not folder.path.exists()
    assert folder.begin(question, sources, is_fresh=False) is not None
