"""Encoded images: what of them is read, and what is refused."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from wemoe_pl.errors import DataError
from wemoe_pl.tasks import read_image

Damage = Callable[[bytes], bytes]


def encoded(form: str, mode: str = "RGB") -> bytes:
    """An image large enough for its pixels to be in both halves of it."""
    file = BytesIO()
    Image.effect_noise((64, 64), sigma=50).convert(mode).save(file, form)
    return file.getvalue()


GOOD, BAD = encoded("PNG"), b"<html>404</html>"


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
