"""From an image to what an encoder takes, by way of pixels that can be kept on disk."""

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import torch
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from timm.data import create_transform, resolve_data_config
from timm.data.transforms import MaybeToTensor
from torch import Tensor
from torchvision.transforms import Compose, Normalize

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.errors import DataError
from wemoe_pl.files import atomic_write, cache_folder
from wemoe_pl.hub import size_in_words
from wemoe_pl.tasks import Images, read_image

Pixels = NDArray[np.uint8]
ImageSource = str | Path | Image.Image
AnyImages = ImageSource | Iterable[ImageSource] | Tensor
NO_IMAGES = "There are no images: give at least one."


class Preprocessing:
    """The evaluation transform of a backbone, in two halves.

    The shorter side is resized to the model's and the middle is cropped, as CLIP does
    (crop_pct 1.0); timm's default would cut the border off square images too.

    Args:
        backbone: gives size, interpolation, mean and standard deviation.

    Attributes:
        config: these, by the names that timm has for them.
    """

    def __init__(self, backbone: Backbone):
        size = {key: backbone.options[key] for key in ("img_size",) if key in backbone.options}
        resolved = resolve_data_config(size, model=backbone.skeleton())
        self.config = {**resolved, "crop_pct": 1.0}
        steps = create_transform(**self.config, is_training=False).transforms
        half = next(i for i, step in enumerate(steps) if isinstance(step, MaybeToTensor))
        self._crop, self._normalise = Compose(steps[:half]), Compose(steps[half:])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of what it makes of an image: (3, H, W)."""
        channels, height, width = self.config["input_size"]
        return channels, height, width

    def __call__(self, image: Image.Image) -> Tensor:
        """Image → (3, H, W), normalised."""
        return self.normalise(self.pixels(image))

    def pixels(self, image: Image.Image) -> Pixels:
        """Image → (H, W, 3), resized and cropped."""
        return np.array(self._crop(image if image.mode == "RGB" else image.convert("RGB")))

    def normalise(self, pixels: Pixels) -> Tensor:
        """(…, H, W, 3) → (…, 3, H, W), normalised: many at once cost much less than one by one."""
        scaled = torch.from_numpy(pixels).movedim(-1, -3).contiguous().float().div(255)
        tensor: Tensor = self._normalise(scaled)
        return tensor

    def picture(self, image: Tensor) -> Pixels:
        """(3, H, W), normalised → (H, W, 3), for eyes."""
        [last] = [step for step in self._normalise.transforms if isinstance(step, Normalize)]
        mean, std = (torch.as_tensor(each)[:, None, None] for each in (last.mean, last.std))
        pixels: Pixels = (image * std + mean).clamp(0, 1).mul(255).round().byte().numpy()
        return pixels.transpose(1, 2, 0)

    @property
    def fingerprint(self) -> str:
        """All that determines the pixels."""
        return f"{self._crop} by Pillow {PIL.__version__}"


@dataclass(frozen=True)
class PixelFile:
    """The resized and cropped images of a split, in a file that is mapped to memory.

    Args:
        path: of an array (n, H, W, 3).
    """

    path: Path

    def __getitem__(self, index: int) -> Pixels:
        mapped: Pixels = np.load(self.path, mmap_mode="r")
        return np.array(mapped[index])


def prepared_batches(
    images: AnyImages, preprocessing: Preprocessing, batch_size: int
) -> Iterator[Tensor]:
    """What an encoder takes, (B, 3, H, W), of images in any form; read when a batch is asked for.

    Args:
        images: an image, the path of one, some of these, or (n, 3, H, W) already prepared.
        preprocessing: of the encoder.
        batch_size: B, of all batches but perhaps the last.

    Raises:
        DataError: there is no image, one is not readable, or a tensor is of another shape.
    """
    if isinstance(images, Tensor):
        check_prepared(images, preprocessing)
        yield from images.split(batch_size)
        return
    listed = [images] if isinstance(images, ImageSource) else list(images)
    if not listed:
        raise DataError(NO_IMAGES)
    for start in range(0, len(listed), batch_size):
        batch = listed[start : start + batch_size]
        pixels = [preprocessing.pixels(opened(each)) for each in batch]
        yield preprocessing.normalise(np.stack(pixels))


def opened(image: ImageSource) -> Image.Image:
    """An image, decoded if it is only its path."""
    if isinstance(image, Image.Image):
        return image
    if not isinstance(image, str | Path):
        raise DataError(f"An image is a path or one of Pillow's, not a {type(image).__name__}.")
    return read_image(Path(image).expanduser())


def check_prepared(images: Tensor, preprocessing: Preprocessing) -> None:
    """Raise `DataError` unless a tensor is what the preprocessing makes of some images."""
    _, height, width = preprocessing.shape
    if images.ndim != 4 or images.shape[1:] != preprocessing.shape:
        raise DataError(
            f"This model takes images of shape (B, 3, {height}, {width}), not "
            f"{tuple(images.shape)}: prepare each with model.preprocess(image), and stack them."
        )
    if not images.is_floating_point():
        raise DataError(
            f"This model takes normalised images, not {images.dtype}: prepare each with "
            "model.preprocess(image), and stack them."
        )
    if not len(images):
        raise DataError(NO_IMAGES)


def cached_pixels(images: Images, preprocessing: Preprocessing, name: str) -> PixelFile:
    """The pixels of a split from the cache, where they are put first if they are not there.

    The file is named by the images, their order, and all that is done to them.

    Args:
        images: the split.
        preprocessing: how to resize and crop.
        name: of the task, for the progress bar.

    Raises:
        DataError: an image cannot be decoded, or the disk has no space.
    """
    identity = f"{images.fingerprint} {preprocessing.fingerprint}"
    key = hashlib.sha256(identity.encode()).hexdigest()
    path = cache_folder("pixels") / f"{key}.npy"
    with FileLock(path.with_suffix(".lock")):  # of several processes, one fills it
        if not path.is_file():
            fill(path, images, preprocessing, name)
    return PixelFile(path)


def fill(path: Path, images: Images, preprocessing: Preprocessing, name: str) -> None:
    """Write the pixels of all images, whole or not at all."""
    shape = (len(images), *preprocessing.pixels(images[0][0]).shape)
    needed, free = int(np.prod(shape)), shutil.disk_usage(path.parent).free
    if needed > free:
        raise DataError(
            f"There is no space for the pixels of '{name}': {size_in_words(needed)} are needed and "
            f"{path.parent} has {size_in_words(free)} left. Set `cache_images: false`, or "
            "WEMOE_PL_CACHE to a folder on another disk."
        )
    with atomic_write(path) as temporary:
        quiet = not Console().is_terminal
        pixels = all_pixels(images, preprocessing)
        rows = track(pixels, f"Pixels of {name}", len(images), disable=quiet)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        with temporary.open("wb") as file:  # mapped memory would crash, not raise, on a full disk
            np.lib.format.write_array_header_1_0(file, header)
            for row in rows:
                file.write(row.tobytes())


def all_pixels(images: Images, preprocessing: Preprocessing) -> Iterator[Pixels]:
    """The pixels of all images in order, computed by as many threads as there are processors."""
    with ThreadPoolExecutor() as pool:
        yield from pool.map(lambda i: preprocessing.pixels(images[i][0]), range(len(images)))
