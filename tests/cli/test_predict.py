"""`predict RUN IMAGES` prints what the model answers in Python, and says what is wrong."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.launched import torchrun
from PIL import Image

from wemoe_pl.cli import main
from wemoe_pl.export.loading import load
from wemoe_pl.model.prediction_table import HEADER

Said = tuple[int, list[dict[str, str]], str]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of five images of noise."""
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for place in range(5):
        pixels = rng.integers(256, size=(30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{place}.png")
    return tmp_path / "photos"


def test_its_help_is_about_runs_and_not_about_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["predict", "runs/demo", "--help"]) == 0
    told = capsys.readouterr().out
    assert all(option in told for option in ("--workers", "--batch-size", "--device", "--fresh"))
    assert "--KEY" not in told


@pytest.fixture
def predict(capsys: pytest.CaptureFixture[str], checkpoint: Path) -> Callable[..., Said]:
    """`predict("photos", …)`: status, printed rows and errors, of the run of one step."""

    def run(*arguments: str | Path, source: Path = checkpoint) -> Said:
        capsys.readouterr()
        status = main.main(["predict", str(source), *map(str, arguments)])
        out, err = capsys.readouterr()
        return status, list(csv.DictReader(io.StringIO(out))), err

    return run


@pytest.mark.filterwarnings("ignore:The model cannot say that an image belongs to none")
@pytest.mark.parametrize("task", [None, "mnist"])
def test_the_rows_are_the_answers_in_python(
    task: str | None, predict: Callable[..., Said], photos: Path, checkpoint: Path
) -> None:
    paths = sorted(photos.iterdir())
    status, rows, _ = predict(photos, *(["--task", task] if task else []))
    answers = load(checkpoint).predict(paths, task)
    assert status == 0
    assert [list(row) for row in rows] == [list(HEADER)] * 5
    for row, path, answer in zip(rows, paths, answers, strict=True):
        sure = "" if answer.task_confidence is None else f"{answer.task_confidence:.6f}"
        assert row == {
            "image": str(path), "task": answer.task, "class": answer.class_name,
            "probability": f"{answer.probability:.6f}", "task_confidence": sure, "error": "",
        }  # fmt: skip


@pytest.mark.filterwarnings("ignore:The model cannot say that an image belongs to none")
def test_files_folders_and_patterns_come_in_the_order_in_which_they_are_given(
    predict: Callable[..., Said], photos: Path
) -> None:
    sources = (photos / "3.png", photos / "[01].png", photos / "4.png")
    status, rows, _ = predict(*sources)
    assert status == 0
    assert [Path(row["image"]).name for row in rows] == ["3.png", "0.png", "1.png", "4.png"]


@pytest.mark.filterwarnings("ignore:The model cannot say that an image belongs to none")
def test_what_cannot_be_read_has_a_row_and_is_an_error_only_if_there_is_nothing_else(
    predict: Callable[..., Said], photos: Path
) -> None:
    (photos / "2.png").write_text("torn")
    status, rows, err = predict(photos)
    assert (status, err) == (0, "")
    assert [bool(row["error"]) for row in rows] == [False, False, True, False, False]
    assert f"{photos / '2.png'} is not a readable image" in rows[2]["error"]
    status, rows, err = predict(photos / "2.png")
    assert status == 1
    assert len(rows) == 1
    assert err.startswith(f"wemoe-pl: None of the images can be read: {photos / '2.png'}. ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--task", "minst"], "Did you mean 'mnist'?"),
        (
            ["--top", "5"],
            "--top is not an option that goes with a run and images. A job has more options:",
        ),
        (["--workers", "2"], "--workers goes with --out FOLDER, which keeps the answers."),
        (["--batch-size", "2"], "--batch-size goes with --out FOLDER"),
        (["--device", "cpu"], "--device goes with --out FOLDER"),
        (["--fresh"], "--fresh goes with --out FOLDER"),
        (["a.tar"], "a.tar is a tar shard: give --out FOLDER to answer its images."),
        (["nowhere.png"], "There is no folder or file nowhere.png: check its path."),
    ],
)
def test_what_is_wrong_is_said_before_any_row(
    arguments: list[str], sentence: str, predict: Callable[..., Said], photos: Path
) -> None:
    status, rows, err = predict(photos, *arguments)
    assert (status, rows) == (1, [])
    assert sentence in err


def test_a_run_that_is_not_there_and_images_that_are_not_given_are_named(
    predict: Callable[..., Said], photos: Path, tmp_path: Path
) -> None:
    assert predict(photos, source=tmp_path / "nothing")[0] == 1
    status, rows, err = predict()
    assert (status, rows) == (1, [])
    assert "the following arguments are required: IMAGES" in err


def test_it_is_for_one_process(
    predict: Callable[..., Said], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in torchrun(2)[0].items():
        monkeypatch.setenv(name, value)
    status, rows, err = predict(photos)
    assert (status, rows) == (1, [])
    assert "`wemoe-pl predict` is for one process" in err
