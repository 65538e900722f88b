"""What `predict` is about: images in their order, also those that cannot be read."""

from pathlib import Path

import pytest
from PIL import Image

from wemoe_pl.data.datamodule import MultiTaskData, TaskData
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError, DataError


def test_prediction_reads_a_folder_in_the_order_of_its_paths(
    tiny_suite: Suite, tmp_path: Path
) -> None:
    (tmp_path / "more").mkdir()
    for name in ("b.png", "a.png", "more/c.png"):
        Image.new("RGB", (40, 30)).save(tmp_path / name)
    data = MultiTaskData(tiny_suite, images=str(tmp_path), test_batch_size=2)
    parts = list(data.predict_dataloader())
    assert [part.images.shape for part in parts] == [(2, 3, 28, 28), (1, 3, 28, 28)]
    assert [part.first for part in parts] == list(data.to_classify.batches) == [0, 2]
    paths = [Path(name).relative_to(tmp_path).as_posix() for part in parts for name in part.names]
    assert paths == ["a.png", "b.png", "more/c.png"]


def test_prediction_leaves_out_batches_that_are_answered(tiny_suite: Suite, tmp_path: Path) -> None:
    for place in range(7):
        Image.new("RGB", (28, 28)).save(tmp_path / f"{place}.png")
    data = MultiTaskData(tiny_suite, images=str(tmp_path), test_batch_size=2)
    data.to_classify.leave_out({0, 4})
    assert [part.first for part in data.predict_dataloader()] == [2, 6]


def test_prediction_goes_on_at_images_that_cannot_be_read(
    tiny_suite: Suite, tmp_path: Path
) -> None:
    for name in ("a.png", "c.png"):
        Image.new("RGB", (40, 30)).save(tmp_path / name)
    (tmp_path / "b.png").touch()
    (tmp_path / "d.png").write_text("no picture")
    data = TaskData(tiny_suite, "cars", images=str(tmp_path), test_batch_size=3)
    several, alone = data.predict_dataloader()
    assert len(several.images) == 2
    assert [Path(name).name for name in several.names] == ["a.png", "b.png", "c.png"]
    good, bad, also_good = several.errors
    assert good is also_good is None
    assert str(bad).startswith(f"{tmp_path}/b.png is not a readable image: ")
    assert len(alone.images) == 0
    assert "d.png is not a readable image" in str(alone.errors[0])


def test_prediction_stops_where_the_disk_fails(tiny_suite: Suite, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    loader = MultiTaskData(tiny_suite, images=str(tmp_path)).predict_dataloader()
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png .* No such file"):
        next(iter(loader))


def test_prediction_needs_images(tiny_suite: Suite, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing to predict.*--data\.images\."):
        MultiTaskData(tiny_suite).predict_dataloader()
    with pytest.raises(DataError, match=r"no folder or file .*missing"):
        MultiTaskData(tiny_suite, images=str(tmp_path / "missing")).predict_dataloader()
    with pytest.raises(DataError, match=r"has no images"):
        MultiTaskData(tiny_suite, images=str(tmp_path)).predict_dataloader()
