"""Define the severities of each kind of corruption, and corrupt an image by them.

The parameters are those of CIFAR-10-C; the paper's severity is 2.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.random import Generator
from PIL import Image

from wemoe_pl.data.corruptions import kinds
from wemoe_pl.errors import ConfigError, did_you_mean

PUBLISHED_SEVERITY = 2  # the severity of the corrupted images on the hub, and of the paper
PUBLISHED_PIXELATE = (32, 32)  # their generator assumed that every image has the size of CIFAR-10's

# The function of every kind, and its parameters at severities 1 to 5.
_KINDS: Mapping[str, tuple[Callable[..., Image.Image], Sequence[tuple[float, ...]]]] = {
    "motion_blur": (kinds.motion_blur, [(6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)]),
    "impulse_noise": (kinds.impulse_noise, [(0.01,), (0.02,), (0.03,), (0.05,), (0.07,)]),
    "gaussian_noise": (kinds.gaussian_noise, [(0.04,), (0.06,), (0.08,), (0.09,), (0.10,)]),
    "pixelate": (kinds.pixelate, [(0.95,), (0.90,), (0.85,), (0.75,), (0.65,)]),
    "spatter": (
        kinds.spatter,
        [
            (0.62, 0.1, 0.7, 0.70, 0.5, False),
            (0.65, 0.1, 0.8, 0.70, 0.5, False),
            (0.65, 0.3, 1.0, 0.69, 0.5, False),
            (0.65, 0.1, 0.7, 0.69, 0.6, True),
            (0.65, 0.1, 0.5, 0.68, 0.6, True),
        ],
    ),
    "contrast": (kinds.contrast, [(0.75,), (0.50,), (0.40,), (0.30,), (0.15,)]),
    "jpeg_compression": (kinds.jpeg_compression, [(80,), (65,), (58,), (50,), (40,)]),
}

CORRUPTIONS: tuple[str, ...] = tuple(_KINDS)
SEVERITIES = range(1, 6)

# Earlier versions made other images for these: water gleamed from its outlines, not Canny's edges.
REVISED = frozenset(("spatter", severity) for severity in (1, 2, 3))


def corrupt(
    image: Image.Image, kind: str, severity: int, rng: Generator, published_pixelate: bool = False
) -> Image.Image:
    """Corrupt an RGB image.

    Args:
        image: the image to corrupt, which is not changed.
        kind: the kind of corruption, one of `CORRUPTIONS`.
        severity: the severity, from 1 to 5.
        rng: the random generator of the corruption.
        published_pixelate: True if `pixelate` makes images of the published form: 32 × 32 pixels,
            whatever the size of the image.

    Returns:
        A new image, which has the same size except in the published form.

    Raises:
        ConfigError: there is no such kind or severity.

    >>> grey = Image.new("RGB", (40, 30), (128, 128, 128))
    >>> corrupt(grey, "contrast", 2, np.random.default_rng(0)).getpixel((0, 0))
    (128, 128, 128)
    """
    check_kind(kind, severity)
    function, severities = _KINDS[kind]
    form = {"size": PUBLISHED_PIXELATE} if published_pixelate and kind == "pixelate" else {}
    return function(image, rng, *severities[severity - 1], **form)


def check_kind(kind: str, severity: int, seed: int = 0) -> None:
    """Raise `ConfigError` unless the kind, the severity and the seed of a corruption are valid."""
    if kind not in CORRUPTIONS:
        raise ConfigError(f"There is no corruption '{kind}'. {did_you_mean(kind, CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise ConfigError(f"Severities are 1, 2, 3, 4 and 5, not {severity}.")
    if seed < 0:
        raise ConfigError(f"The seed of a corruption is 0 or more, not {seed}.")


def stream(seed: int, kind: str, severity: int, index: int) -> Generator:
    """Return the random generator of image `index`, which no order or number of workers changes."""
    return np.random.default_rng([seed, zlib.crc32(kind.encode()), severity, index])
