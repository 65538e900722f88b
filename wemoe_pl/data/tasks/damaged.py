"""Damaged images are found once, named and counted, and never replaced by others."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import PIL
from PIL import Image

from wemoe_pl.data.tasks.base import Corrupt, Images, hashed
from wemoe_pl.data.tasks.file_names import name_some
from wemoe_pl.errors import DataError
from wemoe_pl.system.console import progress
from wemoe_pl.system.files import atomic_write, cache_folder
from wemoe_pl.system.warn import warn

WORTH_A_BAR = 1000  # images


class SelectedImages:
    """Some of the images of a split, in their order."""

    def __init__(self, images: Images, indices: Sequence[int]):
        self.images = images
        self.indices = list(indices)
        self.labels = [images.labels[index] for index in indices]

    @property
    def fingerprint(self) -> str:
        """The fingerprint of all images, and which of them were chosen."""
        return f"{self.images.fingerprint} {self.indices}"

    @property
    def identity(self) -> str:
        """The identity of all images, and which of them were chosen."""
        return hashed("selected", self.images.identity, self.indices)

    def name(self, index: int) -> str:
        """Return the name by which errors call the image."""
        return self.images.name(self.indices[index])

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return self.images[self.indices[index]]


def keep_readable(images: Images, corrupt: Corrupt) -> Images:
    """Without those that cannot be decoded, which are named and counted, and skipped if asked for.

    Every image is decoded once and the verdict is kept in the cache. To know it beforehand keeps
    batches a function of (seed, step).

    Raises:
        DataError: some cannot be decoded and are not to be skipped, or none can.
    """
    failed = set(unreadable(images))
    if not failed:
        return images
    named = name_some(images.name(index) for index in sorted(failed))
    message = f"{len(failed)} of {len(images)} images cannot be decoded: {named}."
    if corrupt == "error" or len(failed) == len(images):
        error = DataError(f"{message} Repair or remove them, or set `corrupt: skip`.")
        error.add_note(f"{why_unreadable(images, min(failed))}.")
        raise error
    warn(f"{message} They are skipped.")
    return SelectedImages(images, [i for i in range(len(images)) if i not in failed])


def unreadable(images: Images) -> list[int]:
    """Return the indices of the images that cannot be decoded; the answer is remembered."""
    key = hashlib.sha256(f"{images.fingerprint} {PIL.__version__}".encode()).hexdigest()
    verdict = cache_folder("readable") / f"{key}.json"
    with suppress(OSError, ValueError):
        return json.loads(verdict.read_text())
    with ThreadPoolExecutor() as pool:
        answers: Iterable[bool] = pool.map(lambda i: is_readable(images, i), range(len(images)))
        if len(images) >= WORTH_A_BAR:
            answers = progress(answers, "Looking for damaged images", len(images))
        failed = [index for index, ok in enumerate(answers) if not ok]
    with atomic_write(verdict) as temporary:
        temporary.write_text(json.dumps(failed))
    return failed


def why_unreadable(images: Images, index: int) -> str:
    """Return the sentence about an image that cannot be decoded."""
    try:
        images[index]
    except DataError as error:
        return str(error).rstrip(".")
    return f"{images.name(index)} can be decoded now: run the same command again"


def is_readable(images: Images, index: int) -> bool:
    """Can this image be decoded to the last pixel?"""
    try:
        images[index]
    except DataError as error:
        if is_fault_of_disk(error):
            raise  # it is not to be remembered
        return False
    return True


def is_fault_of_disk(error: DataError) -> bool:
    """Has an image not been read for a reason that lies outside of it, and may go away?"""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno is not None
