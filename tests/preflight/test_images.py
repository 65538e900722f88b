"""The table of classes: their order, their counts, the first image of each."""

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.data.datamodule import MultiTaskData, TaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import UNLABELLED, ImageFolderTask, VisionTask
from wemoe_pl.preflight.findings import Findings
from wemoe_pl.preflight.images import Counted, CountedTask, class_table, look_at_images, shortened
from wemoe_pl.system.console import Console

NAMES = tuple(f"class {i:03d}" for i in range(397))


def save(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    """Two tasks; of one, the test images have no labels."""
    for name in ("train/cat/a.png", "train/cat/b.png", "train/dog/c.png", "test/cat/d.png",
                 "test/dog/e.png", "test/dog/f.png", "loose/g.png"):  # fmt: skip
        save(tmp_path / name)
    pets = ImageFolderTask(train=str(tmp_path / "train"), test=str(tmp_path / "test"))
    loose = ImageFolderTask(test=str(tmp_path / "loose"), labelled=False)
    tasks: dict[str, VisionTask] = {"pets": pets, "loose": loose}
    return Suite("two", Backbone("vit_tiny_patch16_224"), "none.safetensors", tasks=tasks)


def printed(found: CountedTask, classes: tuple[str, ...], full: bool = False) -> list[list[str]]:
    """The cells of the rows, as they are printed at 80 columns."""
    console = Console(width=80)
    with console.capture() as capture:
        console.print(class_table(found, classes, full))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= 80
    return [line.split() for line in lines]


def test_classes_are_counted_per_split_as_their_folders_are(suite: Suite, tmp_path: Path) -> None:
    findings = Findings()
    found = look_at_images(TaskData(suite, "pets"), True, findings)["pets"]
    assert (findings.problems, findings.warnings) == ([], [])
    assert found.classes == ("cat", "dog")
    assert {split: dict(c.counts) for split, c in found.splits.items()} == {
        "train": {0: 2, 1: 1},
        "test": {0: 1, 1: 2},
    }
    train = tmp_path / "train"
    assert found.splits["train"].first == {0: f"{train}/cat/a.png", 1: f"{train}/dog/c.png"}
    assert [str(counted) for counted in found.splits.values()] == ["3", "3"]


def test_images_without_labels_are_told_and_refused_where_labels_are_needed(suite: Suite) -> None:
    findings = Findings()
    found = look_at_images(MultiTaskData(suite, stream="test"), False, findings)
    assert str(found["loose"].splits["test"]) == "1, all without a label"
    assert findings.problems == []
    look_at_images(MultiTaskData(suite, stream="test"), True, findings)
    assert findings.problems == [
        "loose: Training images of 'loose' have no labels: give labelled ones."
    ]


def test_problems_of_all_tasks_are_listed(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "loose/g.png").write_text("no image")
    (tmp_path / "test/cat/d.png").write_text("no image")
    findings = Findings()
    found = look_at_images(MultiTaskData(suite), False, findings)
    assert [problem.partition(":")[0] for problem in findings.problems] == ["pets", "loose"]
    assert found["pets"].classes == ("cat", "dog")  # which are known all the same


def test_397_classes_are_abbreviated_and_all_are_told_on_request() -> None:
    first = {i: f"/a/folder/of/mine/that/has/a/long/name/{i}.jpg" for i in range(397)}
    found = CountedTask(NAMES, {"test": Counted(Counter(dict.fromkeys(range(397), 5)), first)})
    rows = printed(found, NAMES)
    assert [row[0] for row in rows] == ["label", *map(str, range(8)), "…", "395", "396"]
    assert rows[9] == ["…", "387", "more", "…", "…"]
    assert rows[1] == ["0", "class", "000", "5", shortened(first[0])]
    whole = printed(found, NAMES, full=True)
    assert [row[0] for row in whole] == ["label", *map(str, range(397))]
    assert whole[397][-1] == first[396]


def test_what_is_not_seen_in_a_name_is_shown_and_brackets_are_no_markup() -> None:
    names = (" cat", "[red]dog[/red]", "")
    found = CountedTask(names, {"test": Counted(Counter([0, 1, UNLABELLED]), {0: "[b]a.png"})})
    rows = printed(found, names)
    assert rows[1] == ["0", "'", "cat'", "1", "[b]a.png"]
    assert rows[2] == ["1", "[red]dog[/red]", "1", "–"]
    assert rows[3] == ["2", "''", "0", "–"]
    assert rows[4] == ["(no", "label)", "1", "–"]
