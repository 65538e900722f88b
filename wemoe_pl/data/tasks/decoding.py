"""Decode images, or convert Pillow's images, to what models see: upright, RGB, eight bits."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base
from PIL.TiffImagePlugin import TiffImageFile

from wemoe_pl.data.tasks.file_names import printable
from wemoe_pl.errors import DataError

# The formats of photographs. Pillow reads more formats, some by running other programs; older
# versions of Pillow read fewer.
PHOTOGRAPHS = ("PNG", "JPEG", "WEBP", "AVIF", "JPEG2000", "BMP", "GIF", "TIFF", "PPM")
Image.init()
IMAGE_FORMATS = tuple(form for form in PHOTOGRAPHS if form in Image.OPEN)
READER = 3  # the version of this module, raised whenever some image gets other pixels
MOST_PIXELS = 89_478_485  # Pillow suspects a bomb above this: a quarter of a gigabyte in RGB
MOST_ELONGATED = 250  # longer side by shorter; resized to 224 pixels, it has 38 megabytes
SIXTEEN_BITS = 2**16 - 1
WHITE_IS_ZERO = 0
SIGNED = 2
# The operation that puts an image upright, by its EXIF orientation.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip


def read_image(
    source: Path | bytes,
    name: str = "",
    *,
    formats: tuple[str, ...] = IMAGE_FORMATS,
    most_pixels: int = MOST_PIXELS,
) -> Image.Image:
    """Decode a file, or the bytes of one, to an upright RGB image.

    Args:
        source: the path or the content of a file.
        name: the name in errors of an image that is given by its content.
        formats: the formats that are read, of `IMAGE_FORMATS`.
        most_pixels: the largest number of pixels that is decoded, up to `MOST_PIXELS`.

    Raises:
        DataError: the image cannot be decoded to the last pixel, is too large or too elongated, or
            the range of its values is not known.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    called = name if isinstance(source, bytes) else printable(source)
    with explained(called, formats), Image.open(file, formats=formats) as image:
        return upright_rgb(image, most_pixels)


def as_models_see(image: Image.Image, name: str = "The image") -> Image.Image:
    """Return an image of Pillow's, of any mode, in the form in which `read_image` returns images.

    Args:
        image: the image as it was opened or made, which is not changed.
        name: the name of the image in errors.

    Raises:
        DataError: the same as for `read_image`.
    """
    with explained(name):
        check_size(image)
        is_plain = type(image) is Image.Image and image.mode == "RGB" and not image.info
        return image if is_plain else upright_rgb(image)


@contextmanager
def explained(called: str, formats: tuple[str, ...] = IMAGE_FORMATS) -> Iterator[None]:
    """Turn any error of a decoder of some formats into a `DataError` that names the image."""
    try:
        yield
    except UnidentifiedImageError as error:  # it calls bytes by their address
        raise DataError(
            f"{called} is not a readable image: it is none of {', '.join(formats)}, or is a "
            "variant that Pillow does not decode"
        ) from error
    except Exception as error:  # decoders raise many kinds of errors
        why = getattr(error, "strerror", None) or error  # strerror does not repeat the file's name
        raise DataError(f"{called} is not a readable image: {why}") from error


def upright_rgb(image: Image.Image, most_pixels: int = MOST_PIXELS) -> Image.Image:
    """Return the first picture of an image, turned by its EXIF data, on white if transparent."""
    check_size(image, most_pixels)  # the size comes from the header; nothing is decoded yet
    image.load()  # some formats have their EXIF data behind the pixels
    turn = TURNS.get(orientation(image))
    rgb = on_white(eight_bits(image))
    upright = rgb.transpose(turn) if turn is not None else rgb
    upright.info.clear()  # so that the image is not turned again
    return upright


def check_size(image: Image.Image, most_pixels: int = MOST_PIXELS) -> None:
    """Raise `ValueError` if an image has no pixels, too many pixels, or too long a side."""
    shorter, longer = sorted(image.size)
    size = f"it has {image.width} × {image.height} pixels"
    if not shorter:
        raise ValueError(size)
    if shorter * longer > most_pixels:
        raise ValueError(f"{size}, and images of more than {most_pixels} are not decoded")
    if longer > MOST_ELONGATED * shorter:
        raise ValueError(
            f"{size}, and no side may be more than {MOST_ELONGATED} times as long as the other: "
            "crop it"
        )


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image, from which `TURNS` puts it upright; 1 is upright."""
    try:
        return int(image.getexif().get(Base.Orientation, 1))
    except Exception:  # the pixels may be fine even if the EXIF data are damaged
        return 1


def eight_bits(image: Image.Image) -> Image.Image:
    """Scale grey values of more than eight bits to eight; return any other image as it is.

    The one value that a PNG may declare transparent is looked for before scaling.
    """
    many_bits = image.mode in ("F", "I") or image.mode.startswith("I;16")
    if not many_bits and not is_signed(image):
        return image
    largest = largest_value(image)
    if largest is None:
        kind = "floating-point" if image.mode == "F" else "32-bit or signed"
        raise ValueError(
            f"nothing states the range of its {kind} values: save it with 8 or 16 bits per pixel"
        )
    values = np.asarray(image).astype(np.uint32)
    opaque = values != image.info.get("transparency", -1)
    if is_negative(image):
        values = largest - values
    grey = Image.fromarray(((values * 255 + largest // 2) // largest).astype(np.uint8))
    if not opaque.all():
        grey.putalpha(Image.fromarray(opaque))
    return grey


def largest_value(image: Image.Image) -> int | None:
    """Return the largest grey value that the format of an image allows; None if it is not known."""
    if isinstance(image, TiffImageFile):
        bits: int = image.tag_v2.get(Base.BitsPerSample, (16,))[0]
        return None if image.mode in ("F", "I") or is_signed(image) else 2**bits - 1
    if image.mode == "I" and image.format in ("PNG", "PPM"):  # formats of at most 16 bits
        return SIXTEEN_BITS
    return SIXTEEN_BITS if image.mode.startswith("I;16") else None


def is_signed(image: Image.Image) -> bool:
    """Return whether the values of an image are signed; Pillow reads signed bytes as unsigned."""
    return isinstance(image, TiffImageFile) and SIGNED in image.tag_v2.get(Base.SampleFormat, ())


def is_negative(image: Image.Image) -> bool:
    """Return whether zero is white in an image; Pillow handles that only for eight bits."""
    return (
        isinstance(image, TiffImageFile)
        and image.tag_v2.get(Base.PhotometricInterpretation) == WHITE_IS_ZERO
    )


def on_white(image: Image.Image) -> Image.Image:
    """Return an image in RGB, white where it is transparent, as transformers' CLIP processor does.

    It is the one of transformers 5; open_clip and earlier versions show the hidden colours instead.
    """
    if image.mode in ("La", "RGBa"):  # the colours are multiplied by their opacity
        image = image.convert(image.mode.upper())
    if "A" not in image.getbands() and image.info.get("transparency") is None:
        return image.convert("RGB")
    colours = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, colours).convert("RGB")
