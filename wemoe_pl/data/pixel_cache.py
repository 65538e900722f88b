"""The resized and cropped images of a split are kept on disk, so that each is decoded once."""

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
    """The resized and cropped images of a split, in a file that is mapped to memory.

    Args:
        path: of an array (n, H, W, C).
    """

    path: Path

    def __getitem__(self, index: int) -> Pixels:
        mapped: Pixels = np.load(self.path, mmap_mode="r")
        return np.array(mapped[index])


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
            write_pixels(path, images, preprocessing, name)
    return PixelFile(path)


def write_pixels(path: Path, images: Images, preprocessing: Preprocessing, name: str) -> None:
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
        pixels = all_pixels(images, preprocessing)
        rows = progress(pixels, f"Pixels of {name}", len(images))
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        with temporary.open("wb") as file:  # mapped memory would crash, not raise, on a full disk
            np.lib.format.write_array_header_1_0(file, header)
            for row in rows:
                file.write(row.tobytes())


def all_pixels(images: Images, preprocessing: Preprocessing) -> Iterator[Pixels]:
    """The pixels of all images in order, computed by as many threads as there are processors."""
    with ThreadPoolExecutor() as pool:
        yield from pool.map(lambda i: preprocessing.pixels(images[i][0]), range(len(images)))
