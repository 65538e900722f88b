"""Keep the resized and cropped images of a split on disk, so that each is decoded only once."""

import hashlib
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from wemoe_pl.data.preprocessing import Pixels, Preprocessing
from wemoe_pl.data.tasks import Images
from wemoe_pl.errors import DataError
from wemoe_pl.system.console import progress
from wemoe_pl.system.disk_space import size_in_words
from wemoe_pl.system.files import atomic_write, cache_folder


@dataclass(frozen=True)
class PixelFile:
    """A `PixelFile` gives the resized and cropped images of a split from a memory-mapped file.

    Args:
        path: the path of the file, a `.npy` array (n, H, W, C).
    """

    path: Path

    def __getitem__(self, index: int) -> Pixels:
        mapped: Pixels = np.load(self.path, mmap_mode="r")
        return np.array(mapped[index])


def cached_pixels(images: Images, preprocessing: Preprocessing, name: str) -> PixelFile:
    """Return the pixels of a split from the cache, after writing them there if they are missing.

    The name of the file depends on the images, their order, and the preprocessing.

    Args:
        images: the images of the split.
        preprocessing: the preprocessing that resizes and crops the images.
        name: the name of the task, for the progress bar.

    Raises:
        DataError: an image cannot be decoded, or the disk has no space.
    """
    identity = f"{images.fingerprint} {preprocessing.fingerprint}"
    key = hashlib.sha256(identity.encode()).hexdigest()
    path = cache_folder("pixels") / f"{key}.npy"
    with FileLock(path.with_suffix(".lock")):  # only one of several processes fills it
        if not path.is_file():
            write_pixels(path, images, preprocessing, name)
    return PixelFile(path)


def write_pixels(path: Path, images: Images, preprocessing: Preprocessing, name: str) -> None:
    """Write the pixels of all images to a file, either completely or not at all."""
    shape = (len(images), *preprocessing.pixels(images[0][0]).shape)
    needed, free = int(np.prod(shape)), shutil.disk_usage(path.parent).free
    if needed > free:
        raise DataError(
            f"There is no space for the pixels of '{name}': {size_in_words(needed)} are needed and "
            f"{path.parent} has {size_in_words(free)} left. Set `cache_images: false`, or "
            "WEMOE_PL_CACHE to a folder on another disk."
        )
    with atomic_write(path) as temporary:
        pixels = all_pixels(images, preprocessing)
        rows = progress(pixels, f"Pixels of {name}", len(images))
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        with temporary.open("wb") as file:  # mapped memory would crash, not raise, on a full disk
            np.lib.format.write_array_header_1_0(file, header)
            for row in rows:
                file.write(row.tobytes())


def all_pixels(images: Images, preprocessing: Preprocessing) -> Iterator[Pixels]:
    """Yield the pixels of all images in order, computed by several threads."""
    with ThreadPoolExecutor() as pool:
        yield from pool.map(lambda i: preprocessing.pixels(images[i][0]), range(len(images)))
