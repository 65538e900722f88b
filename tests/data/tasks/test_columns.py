"""Columns of images in every form that people store them in, against `datasets` and numpy."""

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from wemoe_pl.data.tasks import Images, ParquetTask, find_images
from wemoe_pl.errors import DataError

SHAPE = (12, 10, 3)


@pytest.fixture(autouse=True)
def arrow_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "arrow")


def pixels(shape: tuple[int, ...] = SHAPE) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def png(array: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def images_of(folder: Path, column: Any, **options: Any) -> Images:
    """The images of a table of one column."""
    (folder / "data").mkdir(parents=True)
    pq.write_table(pa.table({"image": column}), folder / "data" / "test-0.parquet")
    return ParquetTask(str(folder), label=None, **options).images("test")


STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})
FORMS: dict[str, Callable[[bytes], pa.Array]] = {
    "binary": lambda content: pa.array([content], pa.binary()),
    "large binary": lambda content: pa.array([content], pa.large_binary()),
    "binary view": lambda content: pa.array([content], pa.binary_view()),  # of Polars
    "struct": lambda content: pa.array([{"bytes": content, "path": "a.png"}], STRUCT),
    "struct without a path": lambda content: pa.array([{"bytes": content}]),
    "struct of a list": lambda content: pa.array([{"bytes": [*content], "path": "a.png"}]),
    "list of uint8": lambda content: pa.array([[*content]], pa.list_(pa.uint8())),
    "large list of uint8": lambda content: pa.array([[*content]], pa.large_list(pa.uint8())),
    "list of int64": lambda content: pa.array([[*content]], pa.list_(pa.int64())),
    "list of int8": lambda content: pa.array(
        [np.frombuffer(content, np.int8).tolist()], pa.list_(pa.int8())
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_encoded_bytes_are_read_in_whatever_form_they_are_stored(form: str, tmp_path: Path) -> None:
    images = images_of(tmp_path, FORMS[form](png(pixels())))
    np.testing.assert_array_equal(images[0][0], pixels())


@pytest.mark.parametrize(
    "form", [form for form in FORMS if form[-2:] not in ("64", "t8") or "u" in form]
)
def test_they_are_found_without_the_name_of_the_column(form: str, tmp_path: Path) -> None:
    table = {"photo": FORMS[form](png(pixels())), "box": [[1, 2, 3, 4]], "label": [0]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    np.testing.assert_array_equal(find_images(str(tmp_path))[0][0], pixels())


@pytest.mark.parametrize("shape", [(12, 10), (12, 10, 1), (12, 10, 3), (12, 10, 4)])
def test_pixels_of_uint8_are_those_of_the_image(shape: tuple[int, ...], tmp_path: Path) -> None:
    array = pixels(shape)
    kind = pa.uint8()
    for _ in shape:
        kind = pa.list_(kind)
    shown = array.astype(float)
    if shape[2:] == (4,):  # on white
        opacity = shown[:, :, 3:] / 255
        shown = shown[:, :, :3] * opacity + 255 * (1 - opacity)
    read = np.asarray(images_of(tmp_path, pa.array([array.tolist()], kind))[0][0], float)
    assert np.abs(read - shown.reshape(*shape[:2], -1)).max() <= 1


def test_pixels_of_uint16_are_scaled(tmp_path: Path) -> None:
    array = np.array([[0, 257, 65535], [32768, 1000, 25700]], np.uint16)
    column = pa.array([array.tolist()], pa.list_(pa.list_(pa.uint16())))
    read = np.asarray(images_of(tmp_path, column)[0][0])
    np.testing.assert_array_equal(read[:, :, 0], np.round(array / 257))


def test_pixels_that_datasets_has_written_as_an_array_are_read(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Array3D(SHAPE, "uint8")})
    (tmp_path / "data").mkdir()
    table = datasets.Dataset.from_dict({"image": [pixels()]}, features=features)
    table.to_parquet(tmp_path / "data" / "test-0.parquet")
    read = ParquetTask(str(tmp_path), label=None).images("test")[0][0]
    np.testing.assert_array_equal(read, pixels())


TEXT = "has text, such as paths or base64, and no images: store the bytes of the files"
RANGE = "and nothing states the range of such pixels: store them as uint8, or as the bytes of files"


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (["a.png", "b.png"], TEXT),
        ([base64.b64encode(png(pixels())).decode()], TEXT),
        (pa.array([{"path": "a.png"}]), TEXT),
        (
            pa.array([{"bytes": None, "path": "a.png"}] * 2, STRUCT),
            "has only the paths of images: store the bytes of the files",
        ),
        ([[png(pixels())]], "has lists of images: give every row one image"),
        (pa.array([[{"bytes": png(pixels())}]]), "has lists of images: give every row one image"),
        ([[[0.5, 0.1]]], f"has lists of double, {RANGE}"),
        ([[[5, 1]]], f"has lists of int64, {RANGE}"),
        ([0.5], "has no images: name the column that has images as `image`"),
        ([{"x": 1, "y": 2}], "has no images: name the column that has images as `image`"),
        ([None], "has no images: name the column that has images as `image`"),
    ],
)
def test_what_a_column_has_instead_of_images_is_said_in_one_sentence(
    column: Any, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as error:
        images_of(tmp_path / "pets", column)
    assert str(error.value) == f"The column 'image' of {tmp_path / 'pets'} {reason}."


HOLES = pa.array(
    [
        {"bytes": png(pixels()), "path": None},
        None,
        {"bytes": None, "path": None},
        {"bytes": None, "path": "c.png"},
    ],
    STRUCT,
)


def test_rows_without_an_image_are_dealt_with_as_damaged_ones_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^3 of 4 images cannot be decoded: row 1 .*c\.png\. Rep"):
        images_of(tmp_path / "error", HOLES)
    with pytest.warns(UserWarning, match=r"^3 of 4 images .*They are skipped"):
        images = images_of(tmp_path / "skip", HOLES, corrupt="skip")
    assert len(images) == 1
    np.testing.assert_array_equal(images[0][0], pixels())


def test_rows_without_an_image_say_so(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": HOLES}), tmp_path / "a.parquet")
    images = find_images(str(tmp_path / "a.parquet"))
    assert [images.name(i).rpartition("parquet")[2] for i in range(4)] == ["", "", "", ", c.png"]
    for row, lack in ((1, "no image"), (2, "no image"), (3, "only the path of an image, c.png")):
        with pytest.raises(DataError, match=f"^row {row} of .* has {lack}\\.$"):
            images[row]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([[[1, 2], [3]]], pa.list_(pa.list_(pa.uint8()))), "differ in length"),
        (pa.array([[[1, 2], [3, None]]], pa.list_(pa.list_(pa.uint8()))), "or lack numbers"),
        (pa.array([[[]]], pa.list_(pa.list_(pa.uint8()))), "it has 0 × 1 pixels"),
        (pa.array([[]], pa.list_(pa.uint8())), "it is none of PNG"),
        (pa.array([[1000, 2]], pa.list_(pa.int64())), "its numbers are not bytes"),
        (
            pa.array([pixels((3, 8, 8)).tolist()], pa.list_(pa.list_(pa.list_(pa.uint8())))),
            r"uint8 pixels of shape \(3, 8, 8\): expected \(H, W\), or \(H, W, 3\)",
        ),
    ],
)
def test_pixels_that_are_no_image_are_named(column: pa.Array, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        images_of(tmp_path / "pets", column)
    [note] = error.value.__notes__
    assert re.search(f"^row 0 of .*{said}", note)
