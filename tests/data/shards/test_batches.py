"""Batches of a unit are prepared as the classifier prepares them, by any number of processes."""

from pathlib import Path

import pytest
import torch
from helpers.shards import noise, write_images, write_tar
from PIL import Image

from wemoe_pl.data.preprocessing import Preprocessing
from wemoe_pl.data.shards.batches import UnitBatches, unit_loader
from wemoe_pl.data.shards.pieces import PassedOver, find_pieces
from wemoe_pl.data.shards.plan import ShardError
from wemoe_pl.data.shards.reading import PlannedImages
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import DataError


@pytest.fixture
def preprocessing(tiny_suite: Suite) -> Preprocessing:
    return Preprocessing(tiny_suite.backbone)


def batches_of(source: Path, preprocessing: Preprocessing) -> UnitBatches:
    pieces = [piece for piece in find_pieces([str(source)], PassedOver()) if piece.images]
    return UnitBatches(PlannedImages(pieces), preprocessing, 3)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 2, 9])
def test_they_are_complete_and_in_order(
    workers: int, preprocessing: Preprocessing, tmp_path: Path
) -> None:
    paths = write_images(tmp_path, 7)
    batches = batches_of(tmp_path, preprocessing)
    loaded = list(unit_loader(batches, workers, pinned=False))
    assert [timed.named.first for timed in loaded] == [0, 3, 6]
    assert [name for timed in loaded for name in timed.named.names] == list(map(str, paths))
    expected = torch.stack([preprocessing(Image.open(path)) for path in paths])
    found = torch.cat([timed.named.images for timed in loaded])
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert all(timed.seconds > 0 for timed in loaded)


def test_what_cannot_be_read_has_its_reason_in_its_place(
    preprocessing: Preprocessing, tmp_path: Path
) -> None:
    contents = {"a.png": noise(0), "b.png": b"torn", "c.png": noise(2), "d.png": b""}
    shard = write_tar(tmp_path / "s.tar", contents)
    batches = batches_of(shard, preprocessing)
    first, second = batches[0], batches[1]
    assert [bool(error) for error in first.named.errors] == [False, True, False]
    assert len(first.named.images) == 2
    assert second.named.errors[0] is not None
    assert second.named.errors[0].startswith(f"{shard}/d.png is not a readable image")
    assert len(second.named.images) == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_no_fault_of_an_image_ends_the_work(
    workers: int, preprocessing: Preprocessing, tmp_path: Path
) -> None:
    paths = write_images(tmp_path, 2)
    batches = batches_of(tmp_path, preprocessing)
    paths[1].unlink()
    with pytest.raises(ShardError, match=r"001\.png is no longer there"):
        list(unit_loader(batches, workers, pinned=False))


def test_a_fault_of_the_disk_ends_the_work(
    preprocessing: Preprocessing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    write_images(tmp_path, 2)
    batches = batches_of(tmp_path, preprocessing)
    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(DataError, match="Input/output error"):
        batches[0]
