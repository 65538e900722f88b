"""Every image has its piece, whatever it lies in, and what is passed over is said."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.shards import noise, write_images, write_table, write_tar

from wemoe_pl.data.shards import pieces
from wemoe_pl.data.shards.pieces import PassedOver, Piece, find_pieces, numbered
from wemoe_pl.errors import DataError


def found(*sources: Path | str) -> list[Piece]:
    passed = PassedOver()
    kept = list(find_pieces([str(source) for source in sources], passed))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        passed.tell()
    return kept


def images(*sources: Path | str) -> list[Piece]:
    return [piece for piece in found(*sources) if piece.images]


def test_files_come_folder_by_folder_behind_their_folder(tmp_path: Path) -> None:
    write_images(tmp_path / "b", 1)
    write_images(tmp_path, 2)
    kinds = [(p.kind, p.path.relative_to(tmp_path).as_posix()) for p in found(tmp_path)]
    assert kinds == [
        ("folder", "."), ("file", "000.png"), ("file", "001.png"), ("folder", "b"),
        ("file", "b/000.png"),
    ]  # fmt: skip


def test_sources_come_in_the_order_in_which_they_are_given(tmp_path: Path) -> None:
    paths = write_images(tmp_path / "b", 3)
    table = write_table(tmp_path / "t.parquet", [noise(0)] * 5, 3)
    shard = write_tar(tmp_path / "s.tar", {"x.png": noise(0)})
    kinds = [piece.kind for piece in images(shard, paths[1], table, tmp_path / "b" / "*2.png")]
    assert kinds == ["member", "file", "rows", "rows", "file"]


def test_rows_are_cut_into_runs_of_a_row_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "MOST_ROWS_OF_A_PIECE", 3)
    path = write_table(tmp_path / "t.parquet", [noise(0)] * 11, 7)
    runs = [(piece.group, piece.start, piece.length) for piece in images(path)]
    assert runs == [(0, 0, 2), (0, 2, 2), (0, 4, 3), (1, 7, 2), (1, 9, 2)]
    monkeypatch.setattr(pieces, "MOST_BYTES_OF_A_GROUP", 10)  # each run would read all before it
    assert [(piece.start, piece.length) for piece in images(path)] == [(0, 7), (7, 4)]


def test_members_have_the_names_of_their_tars_before_them(tmp_path: Path) -> None:
    contents = {"./a.png": b"1", "/etc/b.png": b"2", "../../c.PNG": b"3", "d/e.jpg": b"4"}
    path = write_tar(tmp_path / "s.tar", contents)
    names = [piece.name.removeprefix(f"{path}/") for piece in images(path)]
    assert names == ["a.png", "etc/b.png", "../../c.PNG", "d/e.jpg"]


def test_members_that_are_no_images_are_counted_by_suffix(tmp_path: Path) -> None:
    contents = dict.fromkeys(("a.png", "a.cls", "b.cls", "c.json", "._a.png", "LICENSE"), b"x")
    write_tar(tmp_path / "s.tar", contents)
    passed = PassedOver()
    list(find_pieces([str(tmp_path)], passed))
    with pytest.warns(UserWarning, match="passed over") as said:
        passed.tell()
    assert str(said[0].message) == (
        "5 of 6 files in tar shards are passed over, since they are hidden or lack the suffix of "
        "an image: .cls (2), .json (1), .png (1), no suffix (1)."
    )


def test_files_that_are_no_images_are_counted_and_named(tmp_path: Path) -> None:
    write_images(tmp_path, 1)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    for place in range(6):
        (tmp_path / f"{place}.txt").touch()
    passed = PassedOver()
    list(find_pieces([str(tmp_path)], passed))
    with pytest.warns(UserWarning, match=r"^7 of 8 files .*: .*/0\.txt, .*/4\.txt and 2 more\.$"):
        passed.tell()


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("a/{8..10}-{0..1}.tar", ["a/8-0.tar", "a/8-1.tar", "a/9-0.tar", "a/9-1.tar",
                                  "a/10-0.tar", "a/10-1.tar"]),
        ("{a,b}.tar", ["{a,b}.tar"]),
        ("plain", ["plain"]),
    ],
)  # fmt: skip
def test_numbers_in_braces_stand_for_as_many_shards(text: str, paths: list[str]) -> None:
    assert numbered(text) == paths


def mixed(folder: Path) -> Path:
    write_images(folder, 1)
    write_tar(folder / "s.tar", {"a.png": b""})
    return folder


def gzipped(folder: Path) -> Path:
    (folder / "s.tar.gz").write_bytes(b"")
    return folder / "*.gz"


def only_text(folder: Path) -> Path:
    (folder / "a.txt").touch()
    return folder


def two_columns(folder: Path) -> Path:
    column = pa.array([noise(0)])
    pq.write_table(pa.table({"image": column, "mask": column}), folder / "t.parquet")
    return folder / "t.parquet"


def torn_table(folder: Path) -> Path:
    (folder / "t.parquet").write_bytes(b"PAR1 torn")
    return folder / "t.parquet"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (mixed, "has images and tar shards: give them as sources of their own, by patterns"),
        (gzipped, r"s\.tar\.gz is a compressed tar, in which an image can be found only by"),
        (only_text, "has no images: check its path. Images end in .*, shards in .tar"),
        (two_columns, r"has 2 columns of images \(image, mask\): keep only one of them"),
        (torn_table, r"t\.parquet cannot be read \(Parquet"),
        (lambda folder: folder / "gone", "There is no folder or file .*gone: check its path"),
        (lambda folder: folder / "*.png", r"No file matches '.*\*\.png': check the pattern"),
        (lambda folder: folder / "s-{0..1}.tar", r"There is no folder or file .*s-0\.tar"),
    ],
)
def test_what_cannot_be_divided_is_refused(
    make: Callable[[Path], Path], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=sentence):
        found(make(tmp_path))
