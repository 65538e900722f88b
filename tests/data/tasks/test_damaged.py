"""Images that cannot be decoded: found out once, named, counted, left out or complained of."""

import warnings
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from wemoe_pl.data.tasks import keep_readable, name_some, read_image
from wemoe_pl.data.tasks.damaged import SelectedImages
from wemoe_pl.errors import DataError


def encoded(form: str) -> bytes:
    file = BytesIO()
    Image.effect_noise((64, 64), sigma=50).convert("RGB").save(file, form)
    return file.getvalue()


class Listed:
    """Images in memory that count how often they are decoded."""

    def __init__(self, contents: list[bytes], fingerprint: str = "one"):
        self.contents = contents
        self.labels = list(range(len(contents)))
        self.fingerprint = self.identity = fingerprint
        self.decoded: list[int] = []

    def name(self, index: int) -> str:
        return f"image {index}"

    def __len__(self) -> int:
        return len(self.contents)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        self.decoded.append(index)
        return read_image(self.contents[index], self.name(index)), self.labels[index]


GOOD, BAD = encoded("PNG"), b"<html>404</html>"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without the verdicts of other tests."""
    monkeypatch.setenv("WEMOE_PL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# --- all images of a split -------------------------------------------------------------------


def test_images_that_can_all_be_decoded_are_returned_as_they_are() -> None:
    images = Listed([GOOD, GOOD])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert keep_readable(images, "skip") is images
    assert keep_readable(images, "error") is images


def test_corrupt_images_are_named_and_counted() -> None:
    with pytest.raises(DataError) as error:
        keep_readable(Listed([GOOD, BAD, GOOD, BAD]), "error")
    assert str(error.value) == (
        "2 of 4 images cannot be decoded: image 1, image 3. "
        "Repair or remove them, or set `corrupt: skip`."
    )
    [note] = error.value.__notes__
    assert note.startswith("image 1 is not a readable image: it is none of PNG, JPEG, ")


def test_corrupt_images_are_skipped_when_asked_and_never_replaced() -> None:
    images = Listed([BAD, GOOD, BAD, encoded("JPEG")])
    complaint = r"^2 of 4 images cannot be decoded: image 0, image 2\. They are skipped\.$"
    with pytest.warns(UserWarning, match=complaint):
        kept = keep_readable(images, "skip")
    assert (len(kept), kept.labels) == (2, [1, 3])
    assert [kept.name(i) for i in range(2)] == ["image 1", "image 3"]
    for position, original in enumerate([1, 3]):
        image, label = kept[position]
        assert label == original
        assert image.tobytes() == images[original][0].tobytes()


def test_what_was_chosen_is_a_part_of_the_fingerprint_and_of_the_identity() -> None:
    images = Listed([GOOD] * 3, "one")
    some = [SelectedImages(images, indices) for indices in ([0, 1], [1, 2], [1, 0], [0, 1, 2])]
    assert len({images.fingerprint, *(each.fingerprint for each in some)}) == 5
    assert len({images.identity, *(each.identity for each in some)}) == 5
    assert SelectedImages(Listed([GOOD] * 3, "one"), [0, 1]).identity == some[0].identity


def test_skipping_is_no_way_out_when_no_image_is_left() -> None:
    with pytest.raises(DataError, match="2 of 2 images cannot be decoded"):
        keep_readable(Listed([BAD, BAD]), "skip")


def test_many_corrupt_images_are_counted_and_the_first_five_named() -> None:
    with pytest.raises(DataError, match=r"^7 of 8 images .*: image 1, .*, image 5 and 2 more\."):
        keep_readable(Listed([GOOD] + [BAD] * 7), "error")
    assert name_some("abcde") == "a, b, c, d, e"


# --- remembered ------------------------------------------------------------------------------


def test_the_verdict_is_remembered(cache: Path) -> None:
    first, second = Listed([GOOD, BAD]), Listed([GOOD, BAD])
    for images in (first, second):
        with pytest.raises(DataError, match="1 of 2 images cannot be decoded: image 1"):
            keep_readable(images, "error")
    assert sorted(first.decoded) == [0, 1, 1]  # the last time to say why
    assert second.decoded == [1]
    assert [path.suffix for path in (cache / "readable").iterdir()] == [".json"]


def test_images_that_have_changed_are_looked_at_again() -> None:
    with pytest.raises(DataError, match="1 of 2"):
        keep_readable(Listed([GOOD, BAD], "before"), "error")
    repaired = Listed([GOOD, GOOD], "after")
    assert keep_readable(repaired, "error") is repaired
    assert sorted(repaired.decoded) == [0, 1]


def test_no_verdict_is_left_behind_when_the_look_is_interrupted(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(source: bytes, name: str) -> None:
        raise KeyboardInterrupt

    images = Listed([GOOD, GOOD])
    with monkeypatch.context() as patch:
        patch.setattr(f"{__name__}.read_image", interrupted)
        with pytest.raises(KeyboardInterrupt):
            keep_readable(images, "error")
    assert not [path for path in cache.rglob("*") if path.is_file()]
