"""Images of a unit are what the reader of files makes of the same bytes, under their names."""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.shards import noise, write_images, write_table, write_tar

from wemoe_pl.data.shards.pieces import PassedOver, find_pieces
from wemoe_pl.data.shards.plan import ShardError
from wemoe_pl.data.shards.reading import PlannedImages
from wemoe_pl.data.tasks import find_images
from wemoe_pl.data.tasks.decoding import read_image
from wemoe_pl.errors import DataError


def images_of(*sources: Path) -> PlannedImages:
    pieces = find_pieces([str(source) for source in sources], PassedOver())
    return PlannedImages([piece for piece in pieces if piece.images])


@pytest.mark.parametrize("order", [range(12), reversed(range(12)), [5, 11, 0, 5, 3, 8, 4]])
def test_they_are_the_same_wherever_they_lie_and_in_any_order(
    order: list[int], tmp_path: Path
) -> None:
    write_images(tmp_path / "photos", 4)
    shard = write_tar(tmp_path / "s.tar", {f"{i}.png": noise(i) for i in range(4)})
    table = write_table(tmp_path / "t.parquet", [noise(i) for i in range(4)], 3)
    images = images_of(tmp_path / "photos", shard, table)
    assert len(images) == 12
    for place in order:
        expected = np.asarray(read_image(noise(place % 4), "noise"))
        np.testing.assert_array_equal(np.asarray(images[place]), expected)


def test_names_are_those_of_the_command_that_prints(tmp_path: Path) -> None:
    write_images(tmp_path / "photos", 2)
    table = write_table(tmp_path / "t.parquet", [noise(i) for i in range(3)], 2)
    for source in (tmp_path / "photos", table):
        images, printed = images_of(source), find_images(str(source))
        assert [images.name(i) for i in range(len(images))] == [
            printed.name(i) for i in range(len(printed))
        ]


def test_an_image_that_cannot_be_read_has_its_own_error(tmp_path: Path) -> None:
    def link(info: object) -> None:
        info.type = b"2"  # type: ignore[attr-defined]

    shard = write_tar(tmp_path / "s.tar", {"a.png": b"torn"})
    links = write_tar(tmp_path / "l.tar", {"b.png": b""}, link)
    table = write_table(tmp_path / "t.parquet", [b"torn"], 1)
    images = images_of(shard, links, table)
    expected = [
        rf"^{shard}/a\.png is not a readable image", rf"^{links}/b\.png is a link to  in its tar",
        rf"^row 0 of {table} is not a readable image",
    ]  # fmt: skip
    for place, sentence in enumerate(expected):
        with pytest.raises(DataError, match=sentence) as error:
            images[place]
        assert not isinstance(error.value, ShardError)


def test_a_file_that_goes_away_ends_the_work(tmp_path: Path) -> None:
    [path] = write_images(tmp_path, 1)
    images = images_of(tmp_path)
    path.unlink()
    with pytest.raises(ShardError, match=r"000\.png is no longer there, though it was when the"):
        images[0]


def test_a_tar_that_changes_ends_the_work(tmp_path: Path) -> None:
    shard = write_tar(tmp_path / "s.tar", {"a.png": noise(0)})
    images = images_of(shard)
    os.utime(shard, ns=(1, 1))
    with pytest.raises(ShardError, match="has changed since its images were listed"):
        images[0]


def test_a_tar_that_is_cut_off_while_it_is_read_ends_the_work(tmp_path: Path) -> None:
    shard = write_tar(tmp_path / "s.tar", {"a.png": noise(0), "b.png": noise(1)})
    images = images_of(shard)
    assert images[0]
    os.truncate(shard, 2000)
    with pytest.raises(ShardError, match=r"s\.tar is cut off"):
        images[1]


def test_a_table_that_is_damaged_ends_the_work(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", [noise(i) for i in range(4)], 4)
    images, facts = images_of(table), table.stat()
    content = bytearray(table.read_bytes())
    content[4:200] = b"\xff" * 196
    table.write_bytes(content)
    os.utime(table, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    with pytest.raises(ShardError, match=rf"^{table} cannot be read"):
        images[0]
