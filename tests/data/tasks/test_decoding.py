"""Encoded images: what of them is read, and what is refused."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import datasets
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wemoe_pl.data.tasks import as_models_see, read_image
from wemoe_pl.data.tasks.decoding import IMAGE_FORMATS
from wemoe_pl.errors import DataError

Damage = Callable[[bytes], bytes]


def encoded(form: str, mode: str = "RGB") -> bytes:
    """An image large enough for its pixels to be in both halves of it."""
    file = BytesIO()
    Image.effect_noise((64, 64), sigma=50).convert(mode).save(file, form)
    return file.getvalue()


GOOD, BAD = encoded("PNG"), b"<html>404</html>"


# --- as others read them ---------------------------------------------------------------------


def noise(*shape: int, largest: int = 255) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, largest + 1, shape, dtype=np.uint16)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def picture(mode: str = "RGB") -> Image.Image:
    """An image of any mode that is not its own mirror image."""
    return Image.fromarray(noise(16, 24, 3).astype(np.uint8)).convert(mode)


def by_datasets(content: bytes) -> Image.Image:
    """What `datasets` decodes, in RGB."""
    return datasets.Image(mode="RGB").decode_example({"bytes": content, "path": None})


@pytest.mark.parametrize("form", IMAGE_FORMATS)
def test_every_format_is_read_as_datasets_reads_it(form: str) -> None:
    content = saved(picture(), form)
    np.testing.assert_array_equal(read_image(content), by_datasets(content))


@pytest.mark.parametrize(
    ("form", "mode"),
    [
        *(("PNG", mode) for mode in ("1", "L", "P")),
        *(("TIFF", mode) for mode in ("1", "L", "P", "CMYK", "YCbCr")),
        *(("JPEG", mode) for mode in ("L", "CMYK")),
    ],
)
def test_every_mode_is_read_as_datasets_reads_it(form: str, mode: str) -> None:
    content = saved(picture(mode), form)
    np.testing.assert_array_equal(read_image(content), by_datasets(content))


def test_photographs_of_two_lenses_are_read() -> None:
    content = saved(picture(), "MPO", save_all=True, append_images=[picture().rotate(90)])
    np.testing.assert_array_equal(read_image(content), by_datasets(content))


# --- upright ---------------------------------------------------------------------------------

UPRIGHT = {  # by the TIFF standard, row 0 and column 0 of what is stored are …
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],  # top, right
    3: lambda stored: stored[::-1, ::-1],  # bottom, right
    4: lambda stored: stored[::-1],  # bottom, left
    5: lambda stored: stored.swapaxes(0, 1),  # left, top
    6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],  # right, top
    7: lambda stored: stored.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda stored: stored.swapaxes(0, 1)[::-1],  # left, bottom
}


@pytest.mark.parametrize("orientation", [*UPRIGHT, 0, 9])
@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_an_image_is_turned_as_its_exif_data_say(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if form == "WEBP" else {}
    content = saved(picture(), form, exif=exif, **lossless)
    plain = saved(picture(), form, **lossless)
    expected = UPRIGHT.get(orientation, UPRIGHT[1])(np.asarray(read_image(plain)))
    np.testing.assert_array_equal(read_image(content), expected)
    with Image.open(BytesIO(content)) as image:  # as a user of Pillow gives it
        np.testing.assert_array_equal(as_models_see(image), expected)


def test_an_image_is_turned_only_once() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(picture(), "PNG", exif=exif)
    once = read_image(content)
    np.testing.assert_array_equal(as_models_see(once), once)
    with Image.open(BytesIO(content)) as image:
        np.testing.assert_array_equal(as_models_see(image.convert("RGB")), once)
        assert image.getexif()[0x0112] == 6  # it is left as it was


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0no TIFF at all", b"Exif\0\0MM\0*" + b"\xff" * 30]
)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_data_leave_an_image_as_it_is(form: str, exif: bytes) -> None:
    content, plain = saved(picture(), form, exif=exif), saved(picture(), form)
    np.testing.assert_array_equal(read_image(content), read_image(plain))


# --- in the whole range of their values ------------------------------------------------------


def eight(values: NDArray[np.uint16], largest: int) -> NDArray[np.uint8]:
    """Values from 0 to `largest` as grey ones from 0 to 255."""
    grey = np.round(values.astype(float) * 255 / largest).astype(np.uint8)
    return np.stack([grey] * 3, axis=-1)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_grey_values_of_16_bits_are_scaled(form: str) -> None:
    values = noise(16, 24, largest=65535)
    content = saved(Image.fromarray(values), form)
    np.testing.assert_array_equal(read_image(content), eight(values, 65535))


def test_the_byte_order_makes_no_difference() -> None:
    values = noise(16, 24, largest=65535)
    for order in ("<u2", ">u2"):
        image = Image.frombytes(
            "I;16B" if order == ">u2" else "I;16", (24, 16), values.astype(order).tobytes()
        )
        np.testing.assert_array_equal(as_models_see(image), eight(values, 65535))


def tiff(values: NDArray[np.generic], bits: int, kind: int = 1, **more: int) -> bytes:
    """An uncompressed TIFF of one strip, as scientific cameras write them.

    Args:
        values: (H, W).
        bits: of each.
        kind: 1 unsigned, 2 signed, 3 floating-point.
        more: `width` if values are packed, `photometric` 0 if white is zero.
    """
    height, width = values.shape
    tags = {
        256: more.get("width", width),
        257: height,
        258: bits,
        259: 1,  # not compressed
        262: more.get("photometric", 1),
        273: 134,  # where the content begins
        277: 1,
        278: height,
        279: values.nbytes,
        339: kind,
    }
    entries = [struct.pack("<HHII", tag, 3, 1, value) for tag, value in tags.items()]
    header = b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(entries) + bytes(4)
    return header + values.tobytes()


def test_where_a_tiff_says_that_white_is_zero_it_is() -> None:
    values = noise(16, 24, largest=65535)
    np.testing.assert_array_equal(read_image(tiff(values, 16)), eight(values, 65535))
    negative = read_image(tiff(values, 16, photometric=0))
    np.testing.assert_array_equal(negative, eight(65535 - values, 65535))


def test_a_tiff_of_12_bits_is_scaled_by_12() -> None:
    values = noise(16, 24, largest=4095)
    first, second = values[:, ::2], values[:, 1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1)
    content = tiff(packed.reshape(16, -1).astype(np.uint8), 12, width=24)
    np.testing.assert_array_equal(read_image(content), eight(values, 4095))


@pytest.mark.parametrize(
    "content",
    [
        tiff(noise(4, 6).astype(np.float32), 32, kind=3),
        tiff(noise(4, 6).astype(np.float32) / 255, 32, kind=3),
        tiff(noise(4, 6).astype(np.int32), 32, kind=2),
        tiff(noise(4, 6).astype(np.int16), 16, kind=2),
        tiff(noise(4, 6).astype(np.int8), 8, kind=2),
        b"Pf 1 1 -1.0\n" + struct.pack("<f", 0.5),
    ],
    ids=["float", "float to 1", "int32", "int16", "int8", "pfm"],
)
def test_values_whose_range_nothing_states_are_refused(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^x is not a readable image: nothing states the range "):
        read_image(content, "x")


@pytest.mark.parametrize("mode", ["I", "F"])
def test_they_are_refused_of_pillow_too(mode: str) -> None:
    with pytest.raises(DataError, match=r"^The image is not a readable image: nothing states the"):
        as_models_see(Image.new(mode, (4, 4)))


# --- what is transparent ---------------------------------------------------------------------


def on_white(colours: NDArray[np.generic], opacity: NDArray[np.generic]) -> NDArray[np.float64]:
    share = opacity.astype(float)[:, :, None] / 255
    return colours.astype(float) * share + 255 * (1 - share)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG2000"])
def test_what_is_transparent_shows_white(form: str) -> None:
    values = noise(16, 24, 4).astype(np.uint8)
    values[0, :, 3], values[1, :, 3] = 0, 255
    read = read_image(saved(Image.fromarray(values), form))
    expected = on_white(values[:, :, :3], values[:, :, 3])
    assert np.abs(np.asarray(read, float) - expected).max() <= 1
    np.testing.assert_array_equal(np.asarray(read)[:2], expected[:2])


def test_grey_values_and_palettes_may_be_transparent_too() -> None:
    values = noise(16, 24, 2).astype(np.uint8)
    read = read_image(saved(Image.fromarray(values, "LA"), "PNG"))
    expected = on_white(values[:, :, :1].repeat(3, axis=2), values[:, :, 1])
    assert np.abs(np.asarray(read, float) - expected).max() <= 1
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    for form in ("PNG", "GIF"):
        read = read_image(saved(palette, form, transparency=0))
        assert [read.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (40, 50, 60)]


def test_the_transparent_value_of_16_bits_is_compared_in_16_bits() -> None:
    values = np.array([[300, 301, 302]], np.uint16)  # all of them 1 in eight bits
    read = read_image(saved(Image.fromarray(values), "PNG", transparency=301))
    assert [read.getpixel((x, 0)) for x in range(3)] == [(1, 1, 1), (255, 255, 255), (1, 1, 1)]


# --- sizes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 251), (400_000, 1), (3, 1000)])
def test_a_strip_is_refused(size: tuple[int, int]) -> None:
    said = rf"it has {size[0]} × {size[1]} pixels, and no side may be more than 250 times"
    with pytest.raises(DataError, match=rf"^x is not a readable image: {said}"):
        read_image(saved(Image.new("L", size), "PNG"), "x")
    with pytest.raises(DataError, match=said):
        as_models_see(Image.new("RGB", size))


def test_long_images_are_read() -> None:
    assert read_image(saved(Image.new("L", (1, 250)), "PNG")).size == (1, 250)
    assert as_models_see(Image.new("RGB", (1000, 4))).size == (1000, 4)


def test_an_image_of_no_pixels_is_refused() -> None:
    with pytest.raises(DataError, match=r"^Image 3 is not a readable image: it has 0 × 4 pixels"):
        as_models_see(Image.new("RGB", (0, 4)), "Image 3")


# --- given as Pillow has them ----------------------------------------------------------------


@pytest.mark.parametrize("mode", Image.MODES)
def test_every_mode_of_pillow_is_seen_in_rgb_or_refused(mode: str) -> None:
    try:
        image = picture().convert(mode)
    except ValueError:  # which Pillow does not convert to
        image = Image.new(mode, (24, 16))
    if mode in ("I", "F"):
        return
    before = image.tobytes()
    seen = as_models_see(image)
    assert (seen.mode, seen.size, seen.info) == ("RGB", (24, 16), {})
    assert image.tobytes() == before


def test_an_image_that_is_as_models_see_it_is_not_copied() -> None:
    image = picture()
    assert as_models_see(image) is image


# --- what is refused -------------------------------------------------------------------------


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
    ],
    ids=["eps", "pdf", "svg", "ico", "sgi"],
)
def test_formats_that_no_vision_data_come_in_are_refused(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^it is not a readable image: it is none of PNG"):
        read_image(content, "it")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png is not a readable image: .*No such file"):
        read_image(tmp_path / "gone.png")


# --- as somebody limits it ---------------------------------------------------------------------


def test_a_caller_may_read_fewer_formats_and_fewer_pixels() -> None:
    content = saved(picture(), "GIF")
    assert read_image(content).size == (24, 16)
    with pytest.raises(
        DataError, match=r"^It is not a readable image: it is none of PNG, JPEG, or"
    ):
        read_image(content, "It", formats=("PNG", "JPEG"))
    assert read_image(content, most_pixels=24 * 16).size == (24, 16)
    with pytest.raises(DataError, match="16 pixels, and images of more than 383 are not decoded"):
        read_image(content, "It", most_pixels=24 * 16 - 1)
