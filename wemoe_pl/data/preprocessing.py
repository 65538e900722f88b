"""Turn images into an encoder's input, by way of pixels that `pixel_cache` can keep on disk."""

import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.data import create_transform, resolve_data_config
from timm.data.transforms import MaybeToTensor
from timm.layers import to_2tuple
from torch import Tensor
from torchvision.transforms import Compose, Normalize

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.data.tasks import Images, as_models_see, find_images
from wemoe_pl.errors import ConfigError, DataError

Pixels = NDArray[np.uint8]
ImageSource = str | Path | Image.Image
AnyImages = ImageSource | Iterable[ImageSource] | Tensor
NO_IMAGES = "There are no images: give at least one."


class Preprocessing:
    """`Preprocessing` is the evaluation transform of a backbone, in two halves.

    The first half resizes the shorter side to the model's size and crops the middle, as CLIP does
    (crop_pct 1.0); timm's default would cut the border off square images too. The second half
    normalises the pixels. A model of one channel gets grey values.

    Args:
        backbone: the backbone that gives channels, size, interpolation, mean and deviation.

    Attributes:
        config: the same values, by timm's names for them.

    Raises:
        ConfigError: the backbone takes neither one nor three channels, or takes one but has
            different means or standard deviations for three.
    """

    def __init__(self, backbone: Backbone):
        self.config = data_config(backbone)
        steps = create_transform(**self.config, is_training=False).transforms
        half = next(i for i, step in enumerate(steps) if isinstance(step, MaybeToTensor))
        self._crop, self._normalise = Compose(steps[:half]), Compose(steps[half:])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the shape of a prepared image, (C, H, W), where C is 3, or 1 for grey values."""
        channels, height, width = self.config["input_size"]
        return channels, height, width

    def __call__(self, image: Image.Image) -> Tensor:
        """Return an image as the encoder takes it, (C, H, W); `DataError` if it is unreadable."""
        return self.normalise(self.pixels(image))

    def pixels(self, image: Image.Image, name: str = "The image") -> Pixels:
        """Return the pixels of an image, resized and cropped, (H, W, C).

        Args:
            image: the image, of any mode; see `as_models_see`.
            name: the name of the image in errors.

        Raises:
            DataError: the image cannot be read.
        """
        seen = as_models_see(image, name)
        cropped = self._crop(seen if self.shape[0] == 3 else seen.convert("L"))
        return np.array(cropped).reshape(*self.shape[1:], self.shape[0])

    def normalise(self, pixels: Pixels) -> Tensor:
        """Normalise pixels (…, H, W, C) to (…, C, H, W); one call for many images is cheapest."""
        scaled = torch.from_numpy(pixels).movedim(-1, -3).contiguous().float().div(255)
        return self._normalise(scaled)

    def picture(self, image: Tensor) -> Pixels:
        """Return a normalised image, (C, H, W), as pixels to look at, (H, W, 3)."""
        [last] = [step for step in self._normalise.transforms if isinstance(step, Normalize)]
        mean, std = (torch.as_tensor(values)[:, None, None] for values in (last.mean, last.std))
        pixels: Pixels = (image * std + mean).clamp(0, 1).mul(255).round().byte().numpy()
        return pixels.transpose(1, 2, 0).repeat(3 // len(pixels), axis=2)

    @property
    def fingerprint(self) -> str:
        """Return a text that names all that determines the pixels."""
        return f"{self.shape[0]} channels, {self._crop} by Pillow {PIL.__version__}"


def data_config(backbone: Backbone) -> dict[str, Any]:
    """Return timm's data config for a backbone, with its channels and size; see `Preprocessing`."""
    config = resolve_data_config(model=backbone.skeleton())
    channels, *size = config["input_size"]
    channels = backbone.options.get("in_chans", channels)
    height, width = to_2tuple(backbone.options.get("img_size") or size)
    mean, std = config["mean"], config["std"]
    if channels not in (1, 3):
        raise ConfigError(
            f"The backbone takes {channels} channels (in_chans), but images have three channels, "
            "or one if they are grey: choose a backbone that takes three or one."
        )
    if channels == 1 and (len({*mean}) > 1 or len({*std}) > 1):
        raise ConfigError(
            f"The backbone takes one channel (in_chans), but {backbone.model} is normalised by "
            f"the mean {mean} and the standard deviation {std} of three channels, and nothing "
            "states those of grey images: choose a model that normalises its three channels alike, "
            "or leave out in_chans."
        )
    normalised = {"mean": tuple(mean)[:channels], "std": tuple(std)[:channels]}
    return {**config, **normalised, "input_size": (channels, height, width), "crop_pct": 1.0}


class PreparedBatch(NamedTuple):
    """A `PreparedBatch` has some images as an encoder takes them, and their names.

    Attributes:
        names: the path or the row of each image; None for an image that was in memory.
        images: the images, (B, C, H, W).
    """

    names: Sequence[str | None]
    images: Tensor


class Listed(NamedTuple):
    """A `Listed` is an image that is read later, when its batch is made.

    Attributes:
        name: the path or the row of the image; None if it is in memory.
        called: the name of the image in errors.
        read: the function that returns the image.
    """

    name: str | None
    called: str
    read: Callable[[], Image.Image]


def prepared_batches(
    images: AnyImages, preprocessing: Preprocessing, batch_size: int
) -> Iterator[PreparedBatch]:
    """Yield batches for an encoder; the images of a batch are read when it is asked for.

    Args:
        images: the images, see `listed_images`, or a tensor (n, C, H, W) of prepared ones.
        preprocessing: the preprocessing of the encoder.
        batch_size: the size B of all batches except perhaps the last.

    Raises:
        DataError: there is no image, one is not readable, or a tensor has another shape or type.
    """
    if isinstance(images, Tensor):
        check_prepared(images, preprocessing)
        for batch in images.split(batch_size):
            yield PreparedBatch([None] * len(batch), batch)
        return
    listed = list(listed_images(images))
    if not listed:
        raise DataError(NO_IMAGES)
    for start in range(0, len(listed), batch_size):
        some = listed[start : start + batch_size]
        pixels = [preprocessing.pixels(image.read(), image.called) for image in some]
        yield PreparedBatch(
            [image.name for image in some], preprocessing.normalise(np.stack(pixels))
        )


def listed_images(images: ImageSource | Iterable[ImageSource]) -> Iterator[Listed]:
    """Yield images one by one, without reading them.

    Args:
        images: an image of Pillow's; the path of an image, of a parquet file with images, or of a
            folder, which stands for all images below it; a pattern of paths; or several of these.

    Raises:
        DataError: there is no such file or folder, or an item is no image.
    """
    is_several = isinstance(images, Iterable) and not isinstance(images, str | bytes)
    sources: Iterable[Any] = images if is_several else [images]  # type: ignore[assignment]
    for place, source in enumerate(sources):
        if isinstance(source, Image.Image):
            yield Listed(None, f"Image {place}", partial(itself, source))
        elif isinstance(source, str | Path):
            found = find_images(str(source))
            for index in range(len(found)):
                name = found.name(index)
                yield Listed(name, name, partial(image_of, found, index))
        else:
            raise DataError(
                "An image is given as the path of a file or folder, or as one of Pillow's, and "
                f"not as {reprlib.repr(source)}, of type {type(source).__name__}."
            )


def itself(image: Image.Image) -> Image.Image:
    """Return an image that was given as such."""
    return image


def image_of(images: Images, index: int) -> Image.Image:
    """Return one of several images, without its label."""
    return images[index][0]


def check_prepared(images: Tensor, preprocessing: Preprocessing) -> None:
    """Raise `DataError` unless a tensor has the shape and the type of prepared images."""
    if images.ndim != 4 or images.shape[1:] != preprocessing.shape:
        raise DataError(
            f"This model takes images of shape (B, {', '.join(map(str, preprocessing.shape))}), "
            f"not {tuple(images.shape)}: prepare each with model.preprocess(image), and stack them."
        )
    if not images.is_floating_point():
        raise DataError(
            f"This model takes normalised images, not {images.dtype}: prepare each with "
            "model.preprocess(image), and stack them."
        )
    if not len(images):
        raise DataError(NO_IMAGES)
