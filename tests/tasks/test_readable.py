"""Images that cannot be decoded: found out once, named, counted, left out or complained of."""

import struct
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from wemoe_pl.errors import DataError
from wemoe_pl.tasks import keep_readable, read_image
from wemoe_pl.tasks.readable import name_some

Damage = Callable[[bytes], bytes]


def encoded(form: str, mode: str = "RGB") -> bytes:
    """An image large enough for its pixels to be in both halves of it."""
    file = BytesIO()
    Image.effect_noise((64, 64), sigma=50).convert(mode).save(file, form)
    return file.getvalue()


class Listed:
    """Images in memory that count how often they are decoded."""

    def __init__(self, contents: list[bytes], fingerprint: str = "one"):
        self.contents = contents
        self.labels = list(range(len(contents)))
        self.fingerprint = fingerprint
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


# --- one image -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK"])
def test_images_of_every_mode_become_rgb(mode: str, tmp_path: Path) -> None:
    Image.new("L", (8, 8), 255).convert(mode).save(tmp_path / "image.tif")
    image = read_image(tmp_path / "image.tif")
    assert (image.mode, image.getpixel((0, 0))) == ("RGB", (255, 255, 255))


def test_an_image_can_be_read_from_a_file_or_from_its_content(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(GOOD)
    assert read_image(tmp_path / "image.png").tobytes() == read_image(GOOD).tobytes()


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def replaced(content: bytes) -> bytes:
    return BAD


def emptied(content: bytes) -> bytes:
    return b""


CORRUPT = pytest.mark.parametrize(
    ("form", "damage"),
    [
        *((form, truncated) for form in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")),
        ("PNG", replaced),
        ("JPEG", emptied),
    ],
)


@CORRUPT
def test_reading_a_corrupt_image_names_it(form: str, damage: Damage, tmp_path: Path) -> None:
    content = damage(encoded(form))
    with pytest.raises(DataError, match=r"^row 7 is not a readable image: "):
        read_image(content, "row 7")
    (tmp_path / "x.img").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.img is not a readable image: "):
        read_image(tmp_path / "x.img")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_however_an_image_is_cut_off_or_overwritten_it_is_read_or_refused(form: str) -> None:
    content = encoded(form, "P" if form == "GIF" else "RGB")
    cut = [content[:size] for size in range(0, len(content), len(content) // 40)]
    for start in range(0, 400, 10):
        cut.append(content[:start] + b"\xff\x00\x7f" + content[start + 3 :])
    refused = 0
    for damaged in cut:
        try:
            read_image(damaged, "it")
        except DataError:
            refused += 1
    assert refused >= 10


def test_an_image_with_more_pixels_than_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match=r"it is not a readable image: .*decompression bomb"):
        read_image(GOOD, "it")


def png_that_says(width: int, height: int) -> bytes:
    """A small file whose header speaks of many pixels."""
    header = struct.pack(">II", width, height) + GOOD[24:29]
    checksum = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return GOOD[:16] + header + checksum + GOOD[33:]


@pytest.mark.parametrize("size", [(9460, 9460), (13_000, 13_000), (2**31 - 1, 1), (10**5, 10**5)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_by_its_header(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image.Image, "convert", None)  # nothing is decoded
    with pytest.raises(DataError, match=r"^row 3 of pets is not a readable image: .*pixels"):
        read_image(png_that_says(*size), "row 3 of pets")


def test_of_what_moves_the_first_picture_is_taken() -> None:
    frames = [Image.new("L", (8, 8), grey) for grey in (10, 200, 90)]
    file = BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert read_image(file.getvalue()).getpixel((0, 0)) == (10, 10, 10)


def test_what_a_picture_says_beside_its_pixels_is_bounded() -> None:
    """A text of a gigabyte of zeros takes a megabyte in a PNG."""
    bomb = b"x\0\0" + zlib.compress(bytes(64_000_000))
    chunk = struct.pack(">I", len(bomb)) + b"zTXt" + bomb
    chunk += struct.pack(">I", zlib.crc32(b"zTXt" + bomb))
    with pytest.raises(DataError, match=r"^it is not a readable image: .*too large"):
        read_image(GOOD[:33] + chunk + GOOD[33:], "it")


@pytest.mark.parametrize(
    "content",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n",
        b"%PDF-1.4\n",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>',
        encoded("ICO"),
        encoded("SGI"),
        encoded("JPEG2000"),
    ],
    ids=["eps", "pdf", "svg", "ico", "sgi", "jpeg2000"],
)
def test_formats_that_no_vision_data_come_in_are_refused(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^it is not a readable image: it is none of PNG"):
        read_image(content, "it")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png is not a readable image: .*No such file"):
        read_image(tmp_path / "gone.png")


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


def test_what_was_chosen_is_a_part_of_the_fingerprint() -> None:
    with pytest.warns(UserWarning, match="skipped"):
        one = keep_readable(Listed([GOOD, BAD, GOOD], "one"), "skip").fingerprint
    with pytest.warns(UserWarning, match="skipped"):
        moved = keep_readable(Listed([BAD, GOOD, GOOD], "moved"), "skip").fingerprint
    assert one.replace("one", "") != moved.replace("moved", "")
    assert one != Listed([GOOD, BAD, GOOD], "one").fingerprint


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
    assert sorted(first.decoded) == [0, 1]
    assert second.decoded == []
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
