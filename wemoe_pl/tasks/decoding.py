"""From the content of an image file to an RGB image."""

import io
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from wemoe_pl.errors import DataError

# What images of vision tasks come in. Pillow reads more, some by running other programs.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
MOST_PIXELS = 89_478_485  # from where Pillow suspects a bomb: a quarter of a gigabyte in RGB


def read_image(source: Path | bytes, name: str = "") -> Image.Image:
    """Decode a file, or the bytes of one, to RGB.

    Args:
        source: path or content.
        name: what to call it if it cannot be decoded; a path is its own name.

    Raises:
        DataError: it cannot be decoded to the last pixel, or is larger than `MOST_PIXELS`.
    """
    called = source if isinstance(source, Path) else name
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:  # says the header; nothing is decoded yet
                raise Image.DecompressionBombError(
                    f"it has {image.width} × {image.height} pixels, and {MOST_PIXELS} are the most "
                    "that are decoded"
                )
            return image.convert("RGB")
    except UnidentifiedImageError as error:  # which would call bytes by their address
        raise DataError(
            f"{called} is not a readable image: it is none of {', '.join(FORMATS)}"
        ) from error
    except Exception as error:  # decoders raise many kinds
        raise DataError(f"{called} is not a readable image: {error}") from error
