"""`examples/real_images` as its README says it, on a few images and for two steps."""

import json
import runpy
from pathlib import Path

import pytest
from PIL import Image

from wemoe_pl.cli.main import main
from wemoe_pl.data.tasks import ImageFolderTask

pytest.importorskip("skimage", reason="needs the extra 'examples'")
pytest.importorskip("sklearn", reason="needs the extra 'examples'")

EXAMPLE = Path(__file__).parents[2] / "examples" / "real_images"
TASKS = ("digits", "textures")
BRIEF = ["--trainer.max_steps", "2", "--trainer.val_check_interval", "2", "--data.batch_size", "4"]


def make_images(folder: Path, *options: str) -> Path:
    runpy.run_path(str(EXAMPLE / "make_images.py"))["main"]([str(folder), *options])
    return folder


def fit(config: str, *options: str) -> None:
    assert main(["fit", "--config", str(EXAMPLE / config), *options, *BRIEF]) == 0


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.png"))}


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three training and two test images per class; shared, so none may change them."""
    return make_images(tmp_path_factory.mktemp("images"), "--train", "3", "--test", "2")


@pytest.mark.parametrize("task", TASKS)
def test_both_tasks_have_ten_classes_with_as_many_images_as_asked_for(
    task: str, images: Path
) -> None:
    folders = ImageFolderTask(train=str(images / task / "train"), test=str(images / task / "test"))
    assert len(folders.classes) == 10
    assert sorted(folders.images("train").labels) == sorted([*range(10)] * 3)
    assert sorted(folders.images("test").labels) == sorted([*range(10)] * 2)


def test_no_digit_is_in_both_splits(images: Path) -> None:
    train, test = (contents(images / "digits" / split) for split in ("train", "test"))
    assert not set(train.values()) & set(test.values())


def test_images_are_rgb_of_the_size_that_is_promised(images: Path) -> None:
    for task, side in (("digits", 28), ("textures", 56)):
        for path in (images / task).rglob("*.png"):
            with Image.open(path) as image:
                assert (image.mode, image.size) == ("RGB", (side, side))


def test_one_seed_gives_one_set_of_images(images: Path, tmp_path: Path) -> None:
    again = make_images(tmp_path / "again", "--train", "3", "--test", "2")
    other = make_images(tmp_path / "other", "--train", "3", "--test", "2", "--seed", "1")
    assert contents(again) == contents(images)
    assert contents(other) != contents(images)


def test_a_smaller_set_leaves_nothing_of_a_larger_one(tmp_path: Path) -> None:
    for size in ("2", "1"):
        make_images(tmp_path, "--train", size, "--test", size)
    assert len(contents(tmp_path)) == 2 * 2 * 10  # tasks × splits × classes


def test_more_digits_than_there_are_end_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="There are 178 images of a 0, fewer than 200"):
        make_images(tmp_path, "--train", "199", "--test", "1")


@pytest.mark.slow
def test_the_example_runs_from_images_to_table(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("images").symlink_to(images)
    for task in TASKS:
        fit("finetune.yaml", "--task", task, "--out", f"runs/{task}")
    fit("adapt.yaml", "--out", "runs/adapted")
    assert "Accuracy on real_images" in capsys.readouterr().out
    results = json.loads(Path("runs/adapted/results.json").read_text())
    assert results["tasks"] == list(TASKS)
    assert set(results["reference"]) == {"pretrained", "task_arithmetic", "individual"}
    assert results["sources"]["experts/textures"]["source"] == "runs/textures"
