"""The seven corruptions of the paper's robustness experiment, seeded image by image.

They are defined by Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations" (arXiv 1903.12261; spatter is one of its extra corruptions); their
parameters are those of CIFAR-10-C, the paper's severity is 2.
"""

import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import PIL
import scipy
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from wemoe_pl import __version__
from wemoe_pl.data.tasks import Images, PaperTask, Split, VisionTask, hashed
from wemoe_pl.errors import ConfigError, did_you_mean
from wemoe_pl.system.hub import HubFiles

Pixels = NDArray[np.float32]  # of an image (H, W, 3) or a layer over it (H, W), from 0 to 1

# --- noise -----------------------------------------------------------------------------------


def gaussian_noise(image: Image.Image, rng: Generator, deviation: float) -> Image.Image:
    """Add to every value normal noise of this standard deviation, of a range from 0 to 1."""
    pixels = to_pixels(image)
    return to_image(pixels + deviation * rng.standard_normal(pixels.shape, np.float32))


def impulse_noise(image: Image.Image, rng: Generator, amount: float) -> Image.Image:
    """Replace this share of the values by 0 or by 1, either with a chance of one half."""
    pixels = to_pixels(image)
    hit = rng.random(pixels.shape) < amount
    return to_image(np.where(hit, rng.integers(0, 2, pixels.shape), pixels))


# --- blur ------------------------------------------------------------------------------------


def motion_blur(image: Image.Image, rng: Generator, radius: int, deviation: float) -> Image.Image:
    """Smear along a line at an angle of -45 to 45 degrees.

    As ImageMagick does: the line starts at the pixel and goes to one side for 2 · radius pixels,
    weighted by one half of a Gaussian.
    """
    pixels = to_pixels(image)
    height, width, _ = pixels.shape
    angle = np.deg2rad(rng.uniform(-45, 45))
    reach = 2 * radius
    steps = np.arange(reach + 1)
    weights = np.exp(-(steps**2) / (2 * deviation**2))
    rows, columns = (
        reach + np.ceil(steps * side - 0.5).astype(int) for side in (np.sin(angle), np.cos(angle))
    )
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    blurred = np.zeros_like(pixels)
    for weight, row, column in zip(weights / weights.sum(), rows, columns, strict=True):
        blurred += np.float32(weight) * padded[row : row + height, column : column + width]
    return to_image(blurred)


# --- weather ---------------------------------------------------------------------------------

WATER = np.array([175, 238, 238], np.float32) / 255  # pale turquoise
MUD = np.array([63, 42, 20], np.float32) / 255
LIT_FROM_A_CORNER = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
FARTHEST = 20  # pixels from a drop's outline, beyond which all is alike


def spatter(
    image: Image.Image,
    rng: Generator,
    location: float,
    scale: float,
    blur: float,
    threshold: float,
    mix: float,
    mud: bool,
) -> Image.Image:
    """Splash water or mud onto the lens, where smoothed noise is above a threshold.

    Args:
        image: to splash on.
        rng: draws the noise.
        location: mean of the noise.
        scale: its standard deviation.
        blur: standard deviation of the Gaussian that smooths it, in pixels.
        threshold: how high smoothed noise must be to be a drop.
        mix: how bright the water gleams, or how far the mud's rim is smoothed, in pixels.
        mud: mud covers, water gleams.
    """
    pixels = to_pixels(image)
    noise = rng.normal(location, scale, pixels.shape[:2]).astype(np.float32)
    liquid = ndimage.gaussian_filter(noise, blur, mode="nearest")
    drops = liquid > threshold
    if mud:
        cover = ndimage.gaussian_filter(drops.astype(np.float32), mix, mode="nearest")
        cover = np.where(cover < 0.8, 0, cover)[..., None]
        return to_image(pixels * (1 - cover) + MUD * cover)
    return to_image(pixels + mix * gleam(np.where(drops, liquid, 0))[..., None] * WATER)


def gleam(liquid: Pixels) -> Pixels:
    """How the side of each drop that faces the light gleams, from 0 to 1.

    Args:
        liquid: (H, W), 0 where it is dry.
    """
    drops = liquid > 0
    if drops.all() or not drops.any():  # there is no outline
        return np.zeros_like(liquid)
    # Drops rise from 0 so steeply that Canny's edges, of the definition, are just their outlines.
    outlines = drops ^ ndimage.binary_erosion(drops, border_value=1)
    depth = np.minimum(ndimage.distance_transform_edt(~outlines), FARTHEST)
    depth = ndimage.uniform_filter(depth, 3, mode="mirror")
    levels = depth.round(6).astype(np.uint8)  # the last bit of a mean must not decide on a level
    relief = ndimage.correlate(equalised(levels), LIT_FROM_A_CORNER, mode="mirror").clip(0, 1)
    light = liquid * ndimage.uniform_filter(relief, 3, mode="mirror")
    return light / max(light.max(), np.finfo(np.float32).tiny)


def equalised(values: NDArray[np.uint8]) -> Pixels:
    """The share of pixels that are at most as high as each, stretched to go from 0 to 1."""
    share = np.bincount(values.ravel()).cumsum() / values.size
    lowest = share[values.min()]
    return ((share[values] - lowest) / max(1 - lowest, 1 / values.size)).astype(np.float32)


# --- what cameras and files do ---------------------------------------------------------------


def contrast(image: Image.Image, rng: Generator, factor: float) -> Image.Image:
    """Shrink the distances to each channel's mean to this share; nothing is drawn."""
    pixels = to_pixels(image)
    mean = pixels.mean(axis=(0, 1), dtype=np.float64)
    return to_image((pixels - mean) * factor + mean)


def jpeg_compression(image: Image.Image, rng: Generator, quality: int) -> Image.Image:
    """Write and read as JPEG of this quality; nothing is drawn."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def pixelate(
    image: Image.Image, rng: Generator, scale: float, size: tuple[int, int] | None = None
) -> Image.Image:
    """Shrink to this share of a width and height, then enlarge to them; nothing is drawn.

    Args:
        image: to pixelate.
        rng: not used.
        scale: the share.
        size: width and height; by default the image's own.
    """
    width, height = size or image.size
    shrunk = max(1, int(width * scale)), max(1, int(height * scale))
    return image.resize(shrunk, Image.Resampling.BOX).resize((width, height), Image.Resampling.BOX)


# --- images as pixels ------------------------------------------------------------------------


def to_pixels(image: Image.Image) -> Pixels:
    """RGB image → (H, W, 3), from 0 to 1."""
    return np.asarray(image, np.float32) / np.float32(255)


def to_image(pixels: NDArray[np.floating]) -> Image.Image:
    """(H, W, 3) → RGB image, clipped to 0 to 1 and rounded to the nearest of 256 levels."""
    return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))


# --- kinds and severities --------------------------------------------------------------------

PUBLISHED_SEVERITY = 2  # of the corrupted images on the hub, and of the paper
PUBLISHED_PIXELATE = (32, 32)  # their generator took every image for one of CIFAR-10

# Of every kind, its parameters at severities 1 to 5.
_KINDS: Mapping[str, tuple[Callable[..., Image.Image], Sequence[tuple[float, ...]]]] = {
    "motion_blur": (motion_blur, [(6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)]),
    "impulse_noise": (impulse_noise, [(0.01,), (0.02,), (0.03,), (0.05,), (0.07,)]),
    "gaussian_noise": (gaussian_noise, [(0.04,), (0.06,), (0.08,), (0.09,), (0.10,)]),
    "pixelate": (pixelate, [(0.95,), (0.90,), (0.85,), (0.75,), (0.65,)]),
    "spatter": (
        spatter,
        [
            (0.62, 0.1, 0.7, 0.70, 0.5, False),
            (0.65, 0.1, 0.8, 0.70, 0.5, False),
            (0.65, 0.3, 1.0, 0.69, 0.5, False),
            (0.65, 0.1, 0.7, 0.69, 0.6, True),
            (0.65, 0.1, 0.5, 0.68, 0.6, True),
        ],
    ),
    "contrast": (contrast, [(0.75,), (0.50,), (0.40,), (0.30,), (0.15,)]),
    "jpeg_compression": (jpeg_compression, [(80,), (65,), (58,), (50,), (40,)]),
}

CORRUPTIONS: tuple[str, ...] = tuple(_KINDS)
SEVERITIES = range(1, 6)


def corrupt(
    image: Image.Image,
    kind: str,
    severity: int,
    rng: Generator,
    published_pixelate: bool = False,
) -> Image.Image:
    """Corrupt an RGB image.

    Args:
        image: to corrupt; it is left as it is.
        kind: one of `CORRUPTIONS`.
        severity: 1 to 5.
        rng: what is drawn is drawn from it.
        published_pixelate: give `pixelate` the form of the published images: 32 × 32 pixels,
            whatever the size of the image.

    Returns:
        Another image; of the same size, but for the published form.

    Raises:
        ConfigError: there is no such kind or severity.

    >>> grey = Image.new("RGB", (40, 30), (128, 128, 128))
    >>> corrupt(grey, "contrast", 2, np.random.default_rng(0)).getpixel((0, 0))
    (128, 128, 128)
    """
    check(kind, severity)
    function, severities = _KINDS[kind]
    form = {"size": PUBLISHED_PIXELATE} if published_pixelate and kind == "pixelate" else {}
    return function(image, rng, *severities[severity - 1], **form)


def check(kind: str, severity: int, seed: int = 0) -> None:
    """Refuse what is no corruption."""
    if kind not in CORRUPTIONS:
        raise ConfigError(f"There is no corruption '{kind}'. {did_you_mean(kind, CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise ConfigError(f"Severities are 1, 2, 3, 4 and 5, not {severity}.")
    if seed < 0:
        raise ConfigError(f"The seed of a corruption is 0 or more, not {seed}.")


def stream(seed: int, kind: str, severity: int, index: int) -> Generator:
    """The generator of image `index`, on which neither workers nor order have a bearing."""
    return np.random.default_rng([seed, zlib.crc32(kind.encode()), severity, index])


# --- corrupted splits and tasks --------------------------------------------------------------


@dataclass(frozen=True)
class CorruptedImages:
    """The images of a split, each corrupted when asked for, and always alike.

    Args:
        images: the split.
        kind: of corruption.
        severity: 1 to 5.
        seed: of what is drawn.
        published_pixelate: see `corrupt`.
    """

    images: Images
    kind: str
    severity: int = PUBLISHED_SEVERITY
    seed: int = 0
    published_pixelate: bool = False

    @property
    def labels(self) -> Sequence[int]:
        """Those of the split."""
        return self.images.labels

    @property
    def fingerprint(self) -> str:
        """That of the split, and all that determines the corruption."""
        by_what = f"{__version__} {np.__version__} {scipy.__version__} {PIL.__version__}"
        return f"{self.images.fingerprint} corrupted: {self._what} by {by_what}"

    @property
    def identity(self) -> str:
        """That of the split, and how it is corrupted."""
        return hashed("corrupted", self.images.identity, self._what)

    @property
    def _what(self) -> str:
        return f"{self.kind} {self.severity} {self.seed} {self.published_pixelate}"

    def name(self, index: int) -> str:
        """That of the image in the split."""
        return self.images.name(index)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        image, label = self.images[index]
        rng = stream(self.seed, self.kind, self.severity, index)
        return corrupt(image, self.kind, self.severity, rng, self.published_pixelate), label


@dataclass(frozen=True)
class CorruptedTask(VisionTask):
    """A task whose test images are corrupted; its training images stay as they are.

    Args:
        task: the task.
        kind: motion_blur, impulse_noise, gaussian_noise, pixelate, spatter, contrast or
            jpeg_compression.
        severity: 1 to 5.
        seed: of what is drawn.
        published_pixelate: give `pixelate` the form of the published images, 32 × 32 pixels.
    """

    task: VisionTask
    kind: str
    severity: int = PUBLISHED_SEVERITY
    seed: int = 0
    published_pixelate: bool = False

    def __post_init__(self) -> None:
        check(self.kind, self.severity, self.seed)

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the task."""
        return self.task.classes

    @property
    def orders(self) -> dict[str, tuple[str, ...]]:
        """Those of the task."""
        return self.task.orders

    @property
    def prompts(self) -> tuple[str, ...]:
        """Those of the task."""
        return self.task.prompts

    def images(self, split: Split) -> Images:
        """The images of a split; those of `test` corrupted."""
        images = self.task.images(split)
        if split == "train":
            return images
        return CorruptedImages(images, self.kind, self.severity, self.seed, self.published_pixelate)

    def hub_files(self, split: Split) -> HubFiles | None:
        """What of the task must be asked of the hub."""
        return self.task.hub_files(split)


@dataclass(frozen=True)
class Corruption:
    """How the test images of tasks are corrupted.

    Args:
        kind: motion_blur, impulse_noise, gaussian_noise, pixelate, spatter, contrast or
            jpeg_compression.
        severity: 1 to 5; the paper's is 2.
        seed: of what is drawn.
        source: "made" corrupts the task's own test images; "published" takes the corrupted ones
            that are on the hub, of the paper's tasks cars, resisc45, eurosat and gtsrb.
        published_pixelate: what is made by `pixelate` has the form of what is published:
            32 × 32 pixels, whatever the size of the image.
    """

    kind: str
    severity: int = PUBLISHED_SEVERITY
    seed: int = 0
    source: Literal["made", "published"] = "made"
    published_pixelate: bool = False

    def __post_init__(self) -> None:
        check(self.kind, self.severity, self.seed)
        if self.source == "published" and self.severity != PUBLISHED_SEVERITY:
            raise ConfigError(
                f"Corrupted images are published at severity {PUBLISHED_SEVERITY}, not "
                f"{self.severity}: `source: made` makes them at any."
            )

    def task(self, task: VisionTask) -> VisionTask:
        """The task with corrupted test images.

        Raises:
            ConfigError: there are no published ones of it.
        """
        if self.source == "made":
            return CorruptedTask(task, self.kind, self.severity, self.seed, self.published_pixelate)
        if not isinstance(task, PaperTask):
            raise ConfigError(
                f"No corrupted images of a {type(task).__name__} are published, only of the "
                "PaperTasks cars, resisc45, eurosat and gtsrb: `source: made` makes them from any "
                "images."
            )
        return replace(task, corruption=self.kind)


def contact_sheet(image: Image.Image, scale: int = 2, seed: int = 0) -> Image.Image:
    """A row per corruption: the image as it is, then at severities 1 to 5.

    Args:
        image: RGB.
        scale: how many times the results are enlarged.
        seed: of what is drawn.
    """
    (width, height), left, top = (side * scale for side in image.size), 128, 24
    sheet = Image.new("RGB", (left + 6 * width, top + len(CORRUPTIONS) * height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for severity in (0, *SEVERITIES):
        x = left + severity * width + width // 2
        draw.text((x, top // 2), str(severity), "black", font, anchor="mm")
    for row, kind in enumerate(CORRUPTIONS):
        y = top + row * height
        draw.text((8, y + height // 2), kind.replace("_", " "), "black", font, anchor="lm")
        corrupted = [corrupt(image, kind, s, stream(seed, kind, s, 0)) for s in SEVERITIES]
        for column, shown in enumerate([image, *corrupted]):
            enlarged = shown.resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (left + column * width, y))
    return sheet
