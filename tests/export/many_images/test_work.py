"""Any number of images is answered as `predict` answers them, each once, whoever does it."""

import io
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.dataset as ds
import pytest
from filelock import BaseFileLock
from helpers.shards import noise
from PIL import Image

from wemoe_pl.errors import ConfigError, WeMoEError
from wemoe_pl.export.many_images.answers_folder import AnswersFolder
from wemoe_pl.export.many_images.question import RecordedModel
from wemoe_pl.export.many_images.work import WorkOptions, answer_images
from wemoe_pl.model.prediction_table import COLUMNS, row_of
from wemoe_pl.runs.lock import let_go, try_to_take
from wemoe_pl.system.files import sha256
from wemoe_pl.system.signals import REQUEST, Stopped

pytestmark = pytest.mark.filterwarnings("ignore:The model cannot say that an image belongs to none")


@pytest.fixture
def asked(sources: list[str]) -> WorkOptions:
    return WorkOptions(sources, batch_size=3, workers=0, command="wemoe-pl predict …")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def rows(out: Path) -> list[dict[str, object]]:
    """What a reader finds who knows nothing of this program."""
    return ds.dataset(out).to_table().to_pylist()


@pytest.mark.parametrize("task", [None, "dtd"])
@pytest.mark.parametrize("workers", [0, 2])
def test_the_answers_are_those_of_the_model(
    task: str | None, workers: int, recorded: RecordedModel, asked: WorkOptions, out: Path
) -> None:
    record = answer_images(recorded, replace(asked, task=task, workers=workers), out)
    photos, _, table = asked.sources
    in_tar = [Image.open(io.BytesIO(noise(10 + place))) for place in range(3)]
    answers = recorded.classifier.predict([photos, *in_tar, table], task)
    assert (record.images, record.answered) == (10, 10)
    for place, (ours, answer) in enumerate(zip(rows(out), answers, strict=True)):
        theirs = {COLUMNS[name].name: value for name, value in row_of(answer).items()}
        if 5 <= place < 8:
            theirs["image"] = f"{asked.sources[1]}/{place - 5}.png"
        for name in ("image", "task", "class", "error"):
            assert ours[name] == theirs[name]
        for name in ("probability", "task_confidence"):
            expected = theirs[name] and pytest.approx(theirs[name], rel=1e-5)
            assert ours[name] == expected


def test_nothing_is_left_but_parts_and_a_manifest_of_them(
    recorded: RecordedModel, asked: WorkOptions, out: Path
) -> None:
    record = answer_images(recorded, asked, out)
    names = [f"part-0000{unit}.parquet" for unit in range(3)]
    assert sorted(path.name for path in out.iterdir()) == ["_manifest.json", *names]
    assert [(p.file, p.rows, p.sha256) for p in record.parts] == [
        (name, rows_of, sha256(out / name)) for name, rows_of in zip(names, (4, 4, 2), strict=True)
    ]
    kept = json.loads((out / "_manifest.json").read_text())
    assert kept["model"] == {"source": "runs/tiny", "sources": {"pretrained": {"source": "p"}}}
    assert kept["question"]["images"] == asked.sources
    assert kept["command"] == asked.command


def test_given_again_it_says_the_same_and_answers_nothing(
    recorded: RecordedModel, asked: WorkOptions, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = answer_images(recorded, asked, out)
    monkeypatch.setattr(recorded.classifier, "answer", None)
    assert answer_images(recorded, asked, out) == record
    assert not (out / ".wemoe-pl").exists()
    with pytest.raises(ConfigError, match=r"--batch-size 3 and not 4"):
        answer_images(recorded, replace(asked, batch_size=4), out)


def test_parts_that_are_there_are_kept_and_the_others_are_answered(
    recorded: RecordedModel, asked: WorkOptions, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter((None, None, None, 15))

    def ask_to_end() -> None:
        REQUEST.signum = next(calls, None)

    original = type(recorded.classifier).answer

    def answer(*args: object) -> object:
        ask_to_end()
        return original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(type(recorded.classifier), "answer", answer)
    with pytest.raises(Stopped):
        answer_images(recorded, asked, out)
    REQUEST.reset()
    monkeypatch.undo()
    [first] = out.glob("part-*.parquet")
    before = first.stat().st_mtime_ns
    assert answer_images(recorded, asked, out).images == 10
    assert first.stat().st_mtime_ns == before


def test_a_unit_of_another_process_is_waited_for_and_taken_over_if_it_ends(
    recorded: RecordedModel,
    asked: WorkOptions,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = AnswersFolder(out)
    (out / ".wemoe-pl").mkdir(parents=True)
    others: list[BaseFileLock] = [try_to_take(folder.lock(1))]

    def end_of_the_other(seconds: float) -> None:
        if others:  # git, which is asked for the revision, is waited for too
            assert [path.name[9] for path in folder.parts()] == ["0", "2"]
            let_go(others.pop(), folder.lock(1))

    monkeypatch.setattr(time, "sleep", end_of_the_other)
    assert answer_images(recorded, asked, out).images == 10
    assert not others
    assert "Waiting for 1 parts that other processes write." in capsys.readouterr().err


def test_what_another_process_finishes_meanwhile_is_taken_as_it_is(
    recorded: RecordedModel,
    asked: WorkOptions,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    whole = answer_images(recorded, asked, tmp_path / "whole")
    folder = AnswersFolder(out)
    (out / ".wemoe-pl").mkdir(parents=True)
    held = try_to_take(folder.lock(0))

    def end_of_the_other(seconds: float) -> None:
        for path in (tmp_path / "whole").iterdir():
            path.replace(out / path.name)
        folder.tidy()

    monkeypatch.setattr(time, "sleep", end_of_the_other)
    assert answer_images(recorded, asked, out) == whole
    held.release()


def test_unreadable_images_have_rows_and_reasons(
    recorded: RecordedModel, asked: WorkOptions, out: Path
) -> None:
    (Path(asked.sources[0]) / "001.png").write_text("torn")
    record = answer_images(recorded, asked, out)
    assert (record.answered, record.unreadable) == (9, 1)
    assert record.unreadable_names == [f"{asked.sources[0]}/001.png"]
    [(reason, count)] = record.reasons.items()
    assert (reason[:23], count) == ("is not a readable image", 1)
    assert [bool(row["error"]) for row in rows(out)].index(True) == 1


def test_folders_that_change_are_told_when_the_work_goes_on(
    recorded: RecordedModel, asked: WorkOptions, out: Path
) -> None:
    answer_images(recorded, asked, out)
    folder = AnswersFolder(out)
    folder.record.unlink()
    for part in folder.parts():
        part.unlink()
    plan = folder.begin(json.loads(json.dumps(question(recorded, asked))), asked.sources, False)
    assert plan is not None
    os.utime(asked.sources[0], ns=(1, 1))
    with pytest.warns(UserWarning, match="^1 folders, such as .*photos, have changed since their"):
        assert answer_images(recorded, asked, out).images == 10


def question(recorded: RecordedModel, asked: WorkOptions) -> dict[str, object]:
    from wemoe_pl.export.many_images.question import asked_question

    return asked_question(recorded.classifier, asked.sources, asked.task, asked.batch_size)


def test_a_part_that_was_damaged_is_named(
    recorded: RecordedModel, asked: WorkOptions, out: Path
) -> None:
    answer_images(recorded, asked, out)
    folder = AnswersFolder(out)
    for path in (folder.record, *folder.parts()):
        path.unlink()
    assert folder.begin(question(recorded, asked), asked.sources, False)
    folder.part(1).write_bytes(b"torn")
    with pytest.raises(WeMoEError, match=r"part-00001\.parquet is damaged: remove it, and give"):
        answer_images(recorded, asked, out)
    folder.part(1).unlink()
    assert answer_images(recorded, asked, out).images == 10


def test_a_task_without_a_head_is_refused_before_anything_is_written(
    recorded: RecordedModel, asked: WorkOptions, out: Path
) -> None:
    with pytest.raises(WeMoEError, match="Did you mean 'mnist'"):
        answer_images(recorded, replace(asked, task="minst"), out)
    assert not out.exists()
