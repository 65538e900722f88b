"""Images to classify are found by folder, file and pattern, in folders and in parquet files."""

import io
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from PIL import Image

from wemoe_pl.data.tasks import find_images
from wemoe_pl.errors import DataError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images at two levels, beside what is none."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.PNG", "a.jpg", "2024/c.jpg", "2024/.hidden.jpg", "[x]/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def encoded() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(buffer, "png")
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:1 of 5 files are passed over")
@pytest.mark.parametrize(
    ("source", "found"),
    [
        (".", ["2024/c.jpg", "[x]/d.jpg", "a.jpg", "b.PNG"]),
        ("2024", ["2024/c.jpg"]),
        ("a.jpg", ["a.jpg"]),
        ("[x]", ["[x]/d.jpg"]),
        ("*.jpg", ["a.jpg"]),
        ("*", ["2024/c.jpg", "[x]/d.jpg", "a.jpg", "b.PNG"]),
        ("**", ["2024/c.jpg", "[x]/d.jpg", "a.jpg", "b.PNG"]),
        ("**/*.jpg", ["2024/c.jpg", "[x]/d.jpg", "a.jpg"]),
        ("notes.txt", ["notes.txt"]),
    ],
)
def test_a_path_or_pattern_stands_for_all_its_images_in_order(
    source: str, found: list[str], folder: Path
) -> None:
    images = find_images(source)
    assert [images.name(i) for i in range(len(images))] == found


def test_several_sources_come_one_behind_the_other(folder: Path) -> None:
    images = find_images("b.PNG", "2024", "a.jpg")
    names = [images.name(i) for i in range(len(images))]
    assert names == ["b.PNG", "2024/c.jpg", "a.jpg"]


def test_a_name_that_is_no_utf_8_can_be_given_as_it_is_printed(folder: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    (folder / name).mkdir()
    Image.new("RGB", (4, 4)).save(folder / name / "1.png")
    for source in (name, r"caf\xe9", r"caf\xe9/*.png", r"caf\xe9/1.png"):
        images = find_images(source)
        assert [images.name(i) for i in range(len(images))] == [r"caf\xe9/1.png"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("caf\udce9", r"There is no folder or file caf\xe9: check its path."),
        ("missing", "There is no folder or file missing: check its path."),
        ("*.tiff", "No file matches '*.tiff': check the pattern."),
        ("*.txt", "*.txt has no images: check its path. Images end in .apng, "),
        ("empty", "empty has no images: check its path. Images end in .apng, "),
    ],
)
def test_a_source_without_images_is_refused(source: str, message: str, folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(DataError) as error:
        find_images(source)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("form", ["declared", "bytes and path", "bytes"])
def test_images_in_parquet_files_are_found_by_their_column(form: str, tmp_path: Path) -> None:
    for name in ("1", "2"):
        path = tmp_path / f"{name}.parquet"
        row = {"bytes": encoded(), "path": f"{name}.png"}
        if form == "declared":
            picture = Image.open(io.BytesIO(encoded()))
            Dataset.from_dict({"img": [picture], "label": [3]}).to_parquet(path)
        else:
            column = [row if form == "bytes and path" else encoded()]
            pq.write_table(pa.table({"img": column, "label": [3]}), path)
    images = find_images(str(tmp_path / "*.parquet"))
    assert len(images) == 2
    assert images[1][0].getpixel((0, 0)) == (255, 0, 0)
    assert images.name(1).startswith(f"row 1 of {tmp_path}/*.parquet")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"label": [1], "name": ["a"]},
            r"has no column of images \(the bytes .*\), only label, name\.$",
        ),
        ({"a": [b"x"], "b": [b"y"]}, r"has 2 columns of images \(a, b\): keep only one of them\.$"),
    ],
)
def test_just_one_column_has_images(
    columns: dict[str, list[object]], message: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=message):
        find_images(str(tmp_path / "t.parquet"))


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"t\.parquet cannot be read \("):
        find_images(str(tmp_path / "t.parquet"))


def test_images_and_parquet_files_are_not_mixed(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "t.parquet").touch()
    with pytest.raises(DataError, match=r"has images and parquet files: classify one kind"):
        find_images(str(tmp_path))
