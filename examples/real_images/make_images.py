"""Make two folders of real images, without a download, as `ImageFolderTask` reads them.

    digits/{train,test}/0 … 9/000.png           handwriting, from scikit-learn
    textures/{train,test}/brick … text/000.png  patches of photographs, from scikit-image

`python make_images.py --help` lists the options.
"""

from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from sklearn.datasets import load_digits

Pixels = NDArray[np.uint8]
Sizes = Mapping[str, int]  # split → images per class
MadeClass = tuple[str, Iterable[Image.Image]]  # split/class, and its images

# scikit-learn's digits are 8 × 8 pixels of 0 to 16; the backbone sees 28 × 28.
DIGIT_SIZE = 28
DIGIT_WHITE = 16

# The pictures inside scikit-image that look alike on their left and on their right.
PICTURES = (
    "brick",
    "coins",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "moon",
    "retina",
    "rocket",
    "text",
)
PATCH_SIZE = 56

# Where each split's patches lie, as shares of a picture's width. Patches of one split overlap one
# another; those of different splits are at least a twentieth of the picture apart.
REGIONS = {"train": (0.0, 0.6), "test": (0.65, 1.0)}


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    sizes = {"train": options.train, "test": options.test}
    for task, make in {"digits": digits, "textures": textures}.items():
        folder = options.folder / task
        classes = make(sizes, np.random.default_rng(options.seed))
        count = sum(write(folder / name, images) for name, images in classes)
        print(f"{count} images are in {folder}")


def parse(arguments: list[str] | None) -> Namespace:
    parser = ArgumentParser(
        description="Make two folders of real images from what two packages bring with them.",
        formatter_class=ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("folder", nargs="?", type=Path, default="images", help="where to put them")
    parser.add_argument("--train", type=int, default=100, help="training images per class")
    parser.add_argument("--test", type=int, default=40, help="test images per class")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of digits and patches")
    return parser.parse_args(arguments)


def digits(sizes: Sizes, random: np.random.Generator) -> Iterator[MadeClass]:
    """Handwritten digits, of each as many as are asked for; no image is in two splits.

    Who wrote which is not recorded, so both splits may have digits of one writer.
    """
    handwriting = load_digits()
    for digit, name in enumerate(handwriting.target_names.astype(str)):
        images = random.permutation(handwriting.images[handwriting.target == digit])
        if (wanted := sum(sizes.values())) > len(images):
            raise SystemExit(f"There are {len(images)} images of a {name}, fewer than {wanted}.")
        for split, size in sizes.items():
            chosen, images = images[:size], images[size:]
            yield f"{split}/{name}", map(enlarged, chosen)


def enlarged(digit: NDArray[np.float64]) -> Image.Image:
    """White on black, as they come, and smooth."""
    grey = (digit * (255 / DIGIT_WHITE)).astype(np.uint8)
    return Image.fromarray(grey).resize((DIGIT_SIZE, DIGIT_SIZE), Image.Resampling.BICUBIC)


def textures(sizes: Sizes, random: np.random.Generator) -> Iterator[MadeClass]:
    """Square patches, each picture a class."""
    for name in PICTURES:
        picture = getattr(data, name)()
        for split, size in sizes.items():
            left, right = (int(share * picture.shape[1]) for share in REGIONS[split])
            yield f"{split}/{name}", patches(picture[:, left:right], size, random)


def patches(region: Pixels, count: int, random: np.random.Generator) -> Iterator[Image.Image]:
    """Patches from random places in a region (H, W) or (H, W, 3)."""
    highest, rightmost = (side - PATCH_SIZE for side in region.shape[:2])
    for _ in range(count):
        top, left = random.integers(highest + 1), random.integers(rightmost + 1)
        yield Image.fromarray(region[top : top + PATCH_SIZE, left : left + PATCH_SIZE])


def write(folder: Path, images: Iterable[Image.Image]) -> int:
    """Write images as numbered RGB files in place of those of an earlier run, and count them."""
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.glob("[0-9]*.png"):
        earlier.unlink()
    count = 0
    for image in images:
        image.convert("RGB").save(folder / f"{count:03}.png")
        count += 1
    return count


if __name__ == "__main__":
    main()
