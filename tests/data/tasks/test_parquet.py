"""Parquet files as `datasets` writes them: labels, names and images as they are in the rows."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.hub_datasets import encode, schema, write_dataset
from huggingface_hub import constants
from PIL import Image

from wemoe_pl.data.tasks import UNLABELLED, ParquetTask
from wemoe_pl.errors import DataError, UnreachableError
from wemoe_pl.system.hub_repo import HubRepo

PETS = ["cat", "dog", "cow"]
GREYS = [0, 40, 80, 120, 160]
LABELS = [0, 2, 1, 1, 0]

Write = Callable[..., str]


@pytest.fixture(autouse=True)
def arrow_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` keeps a copy of what it reads: not among those of whoever runs the tests."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "arrow")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(split=…, shards=…)`: a dataset of grey images; gives its folder."""

    def create(split: str = "test", greys: list[int] = GREYS, **options: Any) -> str:
        labels = options.pop("labels", LABELS[: len(greys)])
        names = options.pop("names", PETS)
        mode = options.pop("mode", "RGB")
        images = [Image.new("L", (8, 8), grey).convert(mode) for grey in greys]
        write_dataset(tmp_path / "pets", "data", split, images, labels, names, **options)
        return str(tmp_path / "pets")

    return create


def write_rows(folder: Path, contents: list[bytes | None], labels: list[int | None]) -> str:
    """A dataset with whatever in it."""
    (folder / "data").mkdir(parents=True)
    images = [{"bytes": content, "path": None} for content in contents]
    table = pa.table({"image": images, "label": labels}, schema=schema(PETS))
    pq.write_table(table, folder / "data" / "test-00000-of-00001.parquet")
    return str(folder)


def grey(value: int) -> bytes:
    return encode(Image.new("RGB", (8, 8), (value,) * 3), "PNG")


def greys_of(task: ParquetTask) -> list[int]:
    """The first pixel's value of every test image, each of which is grey."""
    images = task.images("test")
    pixels = [images[i][0].getpixel((0, 0)) for i in range(len(images))]
    values = [pixel[0] for pixel in pixels if isinstance(pixel, tuple)]
    assert pixels == [(value,) * 3 for value in values]
    return values


# --- what is there ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_images_are_rgb_in_the_order_of_their_rows_with_their_labels(
    mode: str, write: Write
) -> None:
    task = ParquetTask(write(mode=mode))
    images = task.images("test")
    assert {images[i][0].mode for i in range(5)} == {"RGB"}
    assert greys_of(task) == GREYS
    assert [images[i][1] for i in range(5)] == list(images.labels) == LABELS


@pytest.mark.parametrize("shards", [2, 5, 12])
def test_rows_go_on_from_shard_to_shard_in_the_order_of_their_numbers(
    shards: int, write: Write
) -> None:
    values = list(range(0, 240, 10))
    task = ParquetTask(write(greys=values, labels=[0] * len(values), shards=shards))
    assert greys_of(task) == values


@pytest.mark.parametrize("encoding", ["PNG", "JPEG"])
def test_pixels_are_those_that_were_encoded(encoding: str, tmp_path: Path) -> None:
    image = Image.effect_noise((30, 20), 60).convert("RGB")
    write_dataset(tmp_path, "data", "test", [image], [1], PETS, encoding=encoding)
    read = ParquetTask(str(tmp_path)).images("test")[0][0]
    with Image.open(io.BytesIO(encode(image, encoding))) as expected:
        assert read.tobytes() == expected.convert("RGB").tobytes()


def test_each_split_has_its_own_files_and_the_other_is_not_touched(
    write: Write, tmp_path: Path
) -> None:
    write("train", greys=[1, 2], labels=[0, 1])
    task = ParquetTask(write())
    assert (len(task.images("train")), len(task.images("test"))) == (2, 5)
    (tmp_path / "pets" / "data" / "train-00000-of-00001.parquet").write_bytes(b"damaged")
    assert len(ParquetTask(write()).images("test")) == 5
    with pytest.raises(DataError):
        ParquetTask(write()).images("train")


def test_patterns_and_columns_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    table = pa.table({"img": [{"bytes": grey(7), "path": "x.png"}], "fine": [2], "coarse": [0]})
    pq.write_table(table, tmp_path / "deep" / "holdout.parquet")
    task = ParquetTask(
        str(tmp_path), test="deep/hold*", image="img", label="fine", class_names=tuple(PETS)
    )
    images = task.images("test")
    assert (greys_of(task), list(images.labels)) == ([7], [2])


def test_a_row_goes_by_its_number_its_files_and_its_own_name(tmp_path: Path) -> None:
    table = pa.table({"image": [{"bytes": grey(7), "path": "x.png"}], "label": [0]})
    (tmp_path / "data").mkdir()
    pq.write_table(table, tmp_path / "data" / "test-0.parquet")
    name = ParquetTask(str(tmp_path)).images("test").name(0)
    assert name == f"row 0 of {tmp_path} (data/test-*), x.png"


def test_files_that_were_rewritten_are_read_again(write: Write) -> None:
    before = ParquetTask(write()).images("test")
    again = ParquetTask(write(greys=[200, 210, 220], labels=[0, 0, 0]))
    assert greys_of(again) == [200, 210, 220]
    assert again.images("test").fingerprint != before.fingerprint


def test_two_columns_of_images_in_one_file_are_told_apart(tmp_path: Path) -> None:
    """By their fingerprints, or the pixels of one would be taken for those of the other."""
    (tmp_path / "data").mkdir()
    columns = {
        name: [{"bytes": grey(value), "path": None}]
        for name, value in {"left": 10, "right": 20}.items()
    }
    pq.write_table(pa.table({**columns, "label": [0]}), tmp_path / "data" / "test-0.parquet")
    left, right = (ParquetTask(str(tmp_path), image=name) for name in ("left", "right"))
    assert (greys_of(left), greys_of(right)) == ([10], [20])
    assert left.images("test").fingerprint != right.images("test").fingerprint
    assert left.images("test").identity != right.images("test").identity


def test_a_copy_of_the_files_has_the_same_identity_and_other_labels_another(
    write: Write, tmp_path: Path
) -> None:
    before = ParquetTask(write()).images("test")
    shutil.copytree(tmp_path / "pets", tmp_path / "elsewhere" / "copy")
    copy = ParquetTask(str(tmp_path / "elsewhere" / "copy")).images("test")
    assert copy.identity == before.identity
    assert copy.fingerprint != before.fingerprint
    assert ParquetTask(write(labels=[1, 2, 1, 1, 0])).images("test").identity != before.identity


# --- names of classes ------------------------------------------------------------------------


def test_classes_are_those_of_the_column_unless_listed(write: Write) -> None:
    assert ParquetTask(write()).classes == tuple(PETS)
    assert ParquetTask("nowhere", class_names=("a", "b")).classes == ("a", "b")


def test_classes_are_those_of_the_training_images_where_there_are_no_others(write: Write) -> None:
    assert ParquetTask(write("train"), test=None).classes == tuple(PETS)


def test_a_column_of_mere_numbers_names_no_classes(write: Write) -> None:
    folder = write(names=None)
    with pytest.raises(DataError, match=r"'label' of .* does not name its classes: .*class_names"):
        _ = ParquetTask(folder).classes
    images = ParquetTask(folder, class_names=("a", "b", "c")).images("test")
    assert list(images.labels) == LABELS
    assert list(ParquetTask(folder).images("test").labels) == LABELS


def test_names_may_be_spelled_with_other_capitals_spaces_and_signs(write: Write) -> None:
    task = ParquetTask(write(names=["Polka_Dotted", "BANDED", "a/b"]))
    named = ParquetTask(task.dataset, class_names=("polka-dotted", "banded", "ab"))
    assert list(named.images("test").labels) == LABELS


def test_names_in_another_order_are_refused_with_the_first_that_differs(write: Write) -> None:
    folder = write()
    with pytest.raises(DataError) as error:
        ParquetTask(folder, class_names=("cat", "cow", "dog")).images("test")
    assert str(error.value) == (
        f"Class 1 of {folder} is 'dog', but the task names it 'cow': put `class_names` in the "
        "order of the labels, or set `check_names: off` if only the spelling differs."
    )


def test_names_that_are_only_like_the_columns_pass_a_loose_check(write: Write) -> None:
    folder, worded = write(), ("a domestic cat", "some dog", "cows")
    assert len(ParquetTask(folder, class_names=worded, check_names="nearest").images("test")) == 5
    with pytest.raises(DataError, match=r"Class 0 .* is 'cat'"):
        ParquetTask(folder, class_names=worded).images("test")


def test_a_loose_check_still_finds_another_order(write: Write) -> None:
    worded = ("a domestic cat", "cows", "some dog")
    with pytest.raises(DataError, match=r"Class 1 .* is 'dog', but the task names it 'cows'"):
        ParquetTask(write(), class_names=worded, check_names="nearest").images("test")


def test_the_check_can_be_switched_off(write: Write) -> None:
    task = ParquetTask(write(), class_names=("x", "y", "z"), check_names="off")
    assert list(task.images("test").labels) == LABELS


def test_what_the_column_is_known_to_say_is_compared_instead(write: Write) -> None:
    folder, ours = write(), ("tabby", "hound", "heifer")
    known = ParquetTask(folder, class_names=ours, label_names=tuple(PETS))
    assert known.classes == ours
    assert list(known.images("test").labels) == LABELS
    mistaken = ParquetTask(folder, class_names=ours, label_names=("cat", "cow", "dog"))
    with pytest.raises(DataError, match=r"Class 0 .* is 'cat', but the task names it 'tabby'"):
        mistaken.images("test")


@pytest.mark.parametrize("check", ["exact", "nearest"])
def test_another_number_of_classes_is_refused_with_both(check: Any, write: Write) -> None:
    task = ParquetTask(write(), class_names=("cat", "dog"), check_names=check)
    with pytest.raises(DataError, match=r"has 3 classes, but the task names 2\."):
        task.images("test")


def test_training_images_have_the_names_of_the_test_images_in_one_order(write: Write) -> None:
    write()
    folder = write("train", names=["cow", "cat", "dog"])
    assert ParquetTask(folder).classes == tuple(PETS)
    with pytest.raises(DataError, match=r"Class 0 of .* is 'cow', but the task names it 'cat'"):
        ParquetTask(folder).images("train")


# --- labels ----------------------------------------------------------------------------------


def test_without_a_column_of_labels_images_have_none(write: Write) -> None:
    task = ParquetTask(write(), label=None)
    images = task.images("test")
    assert list(images.labels) == [UNLABELLED] * 5
    assert images[0][1] == UNLABELLED
    assert (task.classes, greys_of(task)) == ((), GREYS)


def test_a_file_without_labels_needs_no_column_of_them(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    table = pa.table({"image": [{"bytes": grey(7), "path": None}]})
    pq.write_table(table, tmp_path / "data" / "test-0.parquet")
    task = ParquetTask(str(tmp_path), label=None, class_names=("a", "b"))
    assert list(task.images("test").labels) == [UNLABELLED]
    assert task.classes == ("a", "b")


@pytest.mark.parametrize(("label", "shown"), [(3, "3"), (-2, "-2"), (2**40, "1099511627776")])
def test_a_label_out_of_range_is_named_with_its_row(label: int, shown: str, tmp_path: Path) -> None:
    folder = write_rows(tmp_path / "pets", [grey(0), grey(1)], [2, label])
    names = tuple(PETS)
    complaint = rf"^Row 1 of .*pets has the label {shown}: expected a number from 0 to 2\.$"
    with pytest.raises(DataError, match=complaint):
        ParquetTask(folder, class_names=names, check_names="off").images("test")


def test_labels_of_classes_that_are_named_by_the_column_must_be_in_range_too(
    tmp_path: Path,
) -> None:
    folder = write_rows(tmp_path / "pets", [grey(0), grey(1)], [0, 3])
    with pytest.raises(DataError, match=r"Row 1 of .* has the label 3: expected a number from 0"):
        ParquetTask(folder).images("test")


@pytest.mark.parametrize("no_label", [UNLABELLED, None])
def test_rows_that_the_file_marks_as_unlabelled_stay_so_and_are_counted(
    no_label: int | None, tmp_path: Path
) -> None:
    folder = write_rows(tmp_path / "pets", [grey(0), grey(1)], [2, no_label])
    with pytest.warns(UserWarning, match="has 1 images without a label among its 2"):
        images = ParquetTask(folder).images("test")
    assert list(images.labels) == [2, UNLABELLED]


# --- a column of names -----------------------------------------------------------------------


def write_labels(folder: Path, labels: Any, split: str = "test") -> str:
    """A dataset of grey images whose labels are of any kind, and not described."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    images = [{"bytes": grey(place), "path": None} for place in range(len(labels))]
    table = pa.table({"image": images, "label": labels})
    pq.write_table(table, folder / "data" / f"{split}-0.parquet")
    return str(folder)


KINDS = [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_names_are_labels_of_the_classes_that_are_called_so(kind: Any, tmp_path: Path) -> None:
    folder = write_labels(tmp_path, pa.array(["Dog", "cat", "+1", "dog"[::-1]]).cast(kind))
    images = ParquetTask(folder, class_names=("god", "+1", "cat", "dog")).images("test")
    assert list(images.labels) == [3, 2, 1, 0]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_names_that_nobody_lists_are_sorted_as_datasets_sorts_them(
    kind: Any, tmp_path: Path
) -> None:
    names = ["cow", "10", "B", "a", "2", "cow"]
    folder = write_labels(tmp_path, pa.array(names).cast(kind))
    task = ParquetTask(folder)
    theirs = datasets.Dataset.from_dict({"label": names}).class_encode_column("label")
    assert task.classes == tuple(theirs.features["label"].names)
    assert list(task.images("test").labels) == theirs["label"][:]
    codes, first_seen = pandas.factorize(pandas.Series(names))
    assert task.orders == {"datasets": task.classes, "pandas": tuple(first_seen)}
    assert [task.orders["pandas"][code] for code in codes] == names


def test_an_order_of_names_that_is_given_is_the_only_one(write: Write, tmp_path: Path) -> None:
    folder = write_labels(tmp_path / "names", ["dog", "cat"])
    assert ParquetTask(folder, class_names=("cat", "dog")).orders == {}
    assert ParquetTask(folder, label=None).orders == {}
    assert ParquetTask(write()).orders == {}


def test_a_row_without_a_name_has_no_label(tmp_path: Path) -> None:
    folder = write_labels(tmp_path, ["cat", None, "dog"])
    with pytest.warns(UserWarning, match="has 1 images without a label among its 3"):
        assert list(ParquetTask(folder).images("test").labels) == [0, UNLABELLED, 1]


def test_an_empty_name_is_no_class(tmp_path: Path) -> None:
    folder = write_labels(tmp_path, ["cat", "", "dog"])
    with pytest.raises(DataError, match=r"column 'label' of .* null .* empty name for class 0: gi"):
        ParquetTask(folder).images("test")
    with pytest.raises(DataError, match=r"`class_names` has an empty name for class 1"):
        ParquetTask(folder, class_names=("cat", " ", "dog"))


def test_a_name_that_is_no_class_is_answered_with_its_row_and_the_nearest(tmp_path: Path) -> None:
    folder = write_labels(tmp_path, ["cat", "dgo"])
    with pytest.raises(DataError) as error:
        ParquetTask(folder, class_names=("cat", "dog")).images("test")
    assert str(error.value) == (
        f"Row 1 of {folder} has the label 'dgo', which is not a class of the task: give all "
        "classes as `class_names`. Did you mean 'dog'? Valid names: cat, dog."
    )


def test_numbers_in_a_column_of_text_are_names_and_not_labels(tmp_path: Path) -> None:
    folder = write_labels(tmp_path, ["1", "0"])
    assert list(ParquetTask(folder, class_names=("1", "0")).images("test").labels) == [0, 1]
    with pytest.raises(DataError, match="has the label '1', which is not a class of the task"):
        ParquetTask(folder, class_names=("cat", "dog")).images("test")


def test_a_name_of_the_training_images_alone_asks_for_all_classes(tmp_path: Path) -> None:
    write_labels(tmp_path, ["cat", "cow", "dog"], "train")
    folder = write_labels(tmp_path, ["cat", "dog"])
    with pytest.raises(DataError, match=r"'cow', which is not a class .*: give all cl"):
        ParquetTask(folder).images("train")
    task = ParquetTask(folder, class_names=("cat", "cow", "dog"))
    assert list(task.images("train").labels) == [0, 1, 2]
    with pytest.warns(UserWarning, match="no images of 1 of its 3 classes: cow"):
        assert list(task.images("test").labels) == [0, 2]


def test_training_names_without_any_test_name_ask_for_the_classes(tmp_path: Path) -> None:
    write_labels(tmp_path, ["cat", "dog"], "train")
    folder = write_labels(tmp_path, pa.array([None, None], pa.string()))
    with pytest.raises(DataError, match=r"'cat', which is not a class .*: give all cl"):
        ParquetTask(folder).images("train")


def test_what_a_column_of_names_is_known_to_say_is_looked_up(tmp_path: Path) -> None:
    folder = write_labels(tmp_path, ["AnnualCrop", "SeaLake"])
    names = {"class_names": ("lake", "crop"), "label_names": ("SeaLake", "AnnualCrop")}
    assert list(ParquetTask(folder, **names).images("test").labels) == [1, 0]  # type: ignore[arg-type]
    with pytest.raises(DataError, match="2 `class_names` and 1 `label_names`: give one for each"):
        ParquetTask(folder, class_names=("lake", "crop"), label_names=("SeaLake",))


# --- numbers of other kinds ------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*images without a label among")
@pytest.mark.parametrize(
    ("stored", "labels"),
    [
        (pa.array([1.0, 0.0, float("nan")]), [1, 0, UNLABELLED]),
        (pa.array([1.0, 0.0, None]), [1, 0, UNLABELLED]),
        (pa.array([True, False, None]), [1, 0, UNLABELLED]),
        (pa.array([1, 0, 0], pa.uint64()), [1, 0, 0]),
        (pa.array([1, 0, -1], pa.int8()), [1, 0, UNLABELLED]),
        (pa.nulls(3), [UNLABELLED] * 3),
    ],
    ids=["nan", "float", "bool", "uint64", "int8", "nulls"],
)
def test_numbers_of_any_kind_are_labels_if_they_are_whole(
    stored: Any, labels: list[int], tmp_path: Path
) -> None:
    folder = write_labels(tmp_path, stored)
    images = ParquetTask(folder, class_names=("cat", "dog")).images("test")
    assert list(images.labels) == labels
    assert {type(label) for label in images.labels} == {int}


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (pa.array([1.5]), "1.5"),
        (pa.array([float("inf")]), "inf"),
        (pa.array([[1]]), r"\[1\]"),
        (pa.array([b"cat"]), "b'cat'"),
        (pa.array([2**63 + 1], pa.uint64()), "9223372036854775809"),
    ],
    ids=["half", "infinite", "list", "bytes", "huge"],
)
def test_what_is_no_label_is_shown_with_its_row(stored: Any, shown: str, tmp_path: Path) -> None:
    folder = write_labels(tmp_path, stored)
    with pytest.raises(DataError, match=rf"^Row 0 of .* has the label {shown}: expected a number"):
        ParquetTask(folder, class_names=("cat", "dog")).images("test")


def test_names_that_differ_in_a_sign_may_not_change_places(write: Write) -> None:
    folder = write(names=["+1", "-1", "a"])
    for check in ("exact", "nearest"):
        with pytest.raises(DataError, match=r"Class 0 of .* is '\+1', but the task names it '-1'"):
            ParquetTask(folder, class_names=("-1", "+1", "a"), check_names=check).images("test")


# --- what is missing or damaged --------------------------------------------------------------


@pytest.mark.parametrize("column", ["image", "label"])
def test_a_column_that_is_not_there_is_answered_with_the_nearest(column: str, write: Write) -> None:
    options: dict[str, Any] = {column: f"{column}s"}
    complaint = rf"has no column '{column}s'\. Did you mean '{column}'\?.*image, label"
    with pytest.raises(DataError, match=complaint):
        ParquetTask(write(), **options).images("test")


def test_a_column_of_something_else_than_images_is_named(write: Write) -> None:
    with pytest.raises(DataError, match=r"column 'label' of .* no images"):
        ParquetTask(write(), image="label", label=None).images("test")


def test_a_folder_that_is_not_there_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*/nowhere: check `dataset`"):
        ParquetTask(str(tmp_path / "nowhere")).images("test")


def test_a_pattern_that_nothing_matches_is_named_with_what_is_there(write: Write) -> None:
    folder = write(shards=4)
    with pytest.raises(DataError) as error:
        ParquetTask(folder, test="data/val-*").images("test")
    assert str(error.value) == (
        f"{folder} has no parquet files 'data/val-*'. It has data/test-00000-of-00004.parquet, "
        "data/test-00001-of-00004.parquet, data/test-00002-of-00004.parquet …."
    )


def test_a_folder_without_parquet_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"It has no parquet files\.$"):
        ParquetTask(str(tmp_path)).images("test")


def test_a_split_that_was_not_given_is_named(write: Write) -> None:
    with pytest.raises(DataError, match=r"was given no train split: name its files as `train`"):
        ParquetTask(write(), train=None).images("train")


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", None])
def test_a_damaged_file_is_named(content: bytes | None, write: Write) -> None:
    folder = write()
    path = Path(folder) / "data" / "test-00000-of-00001.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(DataError, match=r"'data/test-\*' of .* cannot be read \(.+\): fetch or"):
        ParquetTask(folder).images("test")


def truncated_jpeg() -> bytes:
    content = encode(Image.effect_noise((64, 64), 50), "JPEG")
    return content[: len(content) // 2]


@pytest.mark.parametrize("bad", [None, truncated_jpeg(), b"", b"<html>"])
def test_an_image_that_cannot_be_decoded_is_named_by_its_row_and_counted(
    bad: bytes | None, tmp_path: Path
) -> None:
    folder = write_rows(tmp_path / "pets", [grey(0), bad, grey(2)], [0, 1, 2])
    with pytest.raises(DataError) as error:
        ParquetTask(folder).images("test")
    assert str(error.value) == (
        f"1 of 3 images cannot be decoded: row 1 of {folder} (data/test-*). "
        "Repair or remove them, or set `corrupt: skip`."
    )


@pytest.mark.parametrize("bad", [None, truncated_jpeg()])
def test_an_image_that_cannot_be_decoded_is_skipped_when_asked_and_not_replaced(
    bad: bytes | None, tmp_path: Path
) -> None:
    folder = write_rows(tmp_path / "pets", [grey(0), bad, grey(2)], [0, 1, 2])
    task = ParquetTask(folder, corrupt="skip")
    with pytest.warns(UserWarning, match=r"1 of 3 .* row 1 of .*\. They are skipped\."):
        images = task.images("test")
    assert list(images.labels) == [0, 2]
    assert images.name(1) == f"row 2 of {folder} (data/test-*)"
    assert images[1][0].getpixel((0, 0)) == (2, 2, 2)


# --- of strangers ----------------------------------------------------------------------------


def write_table(folder: Path, features: dict[str, Any], **columns: list[Any]) -> str:
    """A dataset that says of its columns what it likes."""
    (folder / "data").mkdir(parents=True)
    described = json.dumps({"info": {"features": features}})
    table = pa.table(columns).replace_schema_metadata({"huggingface": described})
    pq.write_table(table, folder / "data" / "test-00000-of-00001.parquet")
    return str(folder)


LABEL = {"_type": "ClassLabel", "names": ["cat", "dog"]}


@pytest.mark.parametrize("kind", ["struct", "text"])
def test_an_image_that_is_only_a_path_is_not_looked_for(kind: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(grey(7))
    rows: list[Any] = [str(secret), "../secret.png"]
    if kind == "struct":
        rows = [{"bytes": None, "path": path} for path in rows]
    features = {"image": {"_type": "Image"}, "label": LABEL}
    dataset = write_table(tmp_path / "pets", features, image=rows, label=[0, 1])
    with pytest.raises(DataError, match=r"^The column 'image' of .*pets has .*: store the bytes"):
        ParquetTask(dataset).images("test")


@pytest.mark.parametrize("kind", ["Image", "Audio", "Video", "Pdf"])
def test_no_column_has_its_paths_opened(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(grey(7))
    for name in ("Image", "Audio", "Video", "Pdf"):
        if feature := getattr(datasets, name, None):
            monkeypatch.setattr(feature, "decode_example", None)
    images = [{"bytes": grey(9), "path": "../../x"}] * 2
    labels = [{"bytes": None, "path": str(secret)}] * 2
    features = {"image": {"_type": "Image"}, "label": {"_type": kind}}
    dataset = write_table(tmp_path / "pets", features, image=images, label=labels)
    with pytest.raises(DataError, match=r"Row 0 of .* has the label|cannot be read"):
        ParquetTask(dataset, class_names=("cat", "dog")).images("test")


def test_the_path_beside_an_image_is_only_its_name(tmp_path: Path) -> None:
    images = [{"bytes": grey(9), "path": "../../\x1b[2J.png"}, {"bytes": b"", "path": "/etc/x\x1b"}]
    features = {"image": {"_type": "Image"}, "label": LABEL}
    dataset = write_table(tmp_path / "pets", features, image=images, label=[0, 1])
    before = sorted(tmp_path.rglob("*.png"))
    with pytest.raises(DataError) as error:
        ParquetTask(dataset).images("test")
    assert "row 1 of" in str(error.value)
    assert "/etc/x" in str(error.value)
    assert sorted(tmp_path.rglob("*.png")) == before == []


@pytest.mark.parametrize(
    "features",
    [
        {"image": {"_type": "os"}},
        {"image": {"_type": "Value", "dtype": "x"}},
        [],
        "x",
        {"image": 3},
    ],
)
def test_a_table_that_describes_itself_wrongly_is_refused(features: Any, tmp_path: Path) -> None:
    images = [{"bytes": grey(9), "path": None}]
    dataset = write_table(tmp_path / "pets", features, image=images, label=[0])
    with pytest.raises(DataError, match=r"parquet files 'data/test-\*' of .*pets cannot be read"):
        ParquetTask(dataset).images("test")


# --- of the hub ------------------------------------------------------------------------------


def test_of_the_hub_only_the_files_of_the_split_are_asked_for() -> None:
    there = [
        "README.md",
        "data/test-00000-of-00001.parquet",
        "data/test-x.json",
        "data/train-00000-of-00001.parquet",
        "old/data/test-00000-of-00001.parquet",
    ]
    task = ParquetTask("somebody/pets@v2")
    for split, chosen in (("test", there[1:2]), ("train", there[3:4])):
        request = task.hub_files(split)  # type: ignore[arg-type]
        assert request is not None
        assert request.repo == HubRepo("somebody/pets", "v2", "dataset")
        assert request.choose(there) == chosen
        assert request.wanted == f"parquet files 'data/{split}-*'"


def test_a_folder_asks_nothing_of_the_hub(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ParquetTask(write()).hub_files("test") is None
    (tmp_path / "owner").mkdir()
    Path(write()).rename(tmp_path / "owner" / "pets")
    monkeypatch.chdir(tmp_path)  # a folder wins over a repository of its name
    assert ParquetTask("owner/pets").hub_files("test") is None
    assert greys_of(ParquetTask("owner/pets")) == GREYS


def test_a_dataset_that_is_neither_here_nor_in_the_cache_needs_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(
        UnreachableError, match="folder somebody/pets here nor a dataset of that name"
    ):
        ParquetTask("somebody/pets").images("test")


def test_a_dataset_of_the_hub_is_identified_by_its_commit_wherever_the_cache_is(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def identity(cache: str, commit: str, source: str = "somebody/pets") -> str:
        repo = tmp_path / cache / "datasets--somebody--pets"
        (repo / "refs").mkdir(parents=True, exist_ok=True)
        (repo / "refs" / "main").write_text(commit)
        shutil.copytree(write(), repo / "snapshots" / commit, dirs_exist_ok=True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / cache))
        return ParquetTask(source).images("test").identity

    first, later = "a" * 40, "b" * 40
    before = identity("here", first)
    assert identity("there", first) == before
    assert identity("there", first, f"somebody/pets@{first}") == before
    assert identity("there", later) != before
    assert ParquetTask(write()).images("test").identity != before
