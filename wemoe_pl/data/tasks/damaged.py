"""Find damaged images once, name and count them, and never replace them by others."""

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

WORTH_A_BAR = 1000  # the number of images from which a progress bar is shown


class SelectedImages:
    """`SelectedImages` are some of the images of a split, in their order."""

    def __init__(self, images: Images, indices: Sequence[int]):
        self.images = images
        self.indices = list(indices)
        self.labels = [images.labels[index] for index in indices]

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of all images, and the indices of the chosen ones."""
        return f"{self.images.fingerprint} {self.indices}"

    @property
    def identity(self) -> str:
        """Return a hash of the identity of all images and of the indices of the chosen ones."""
        return hashed("selected", self.images.identity, self.indices)

    def name(self, index: int) -> str:
        """Return the name of the image in errors."""
        return self.images.name(self.indices[index])

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return self.images[self.indices[index]]


def keep_readable(images: Images, corrupt: Corrupt) -> Images:
    """Return the images that can be decoded; name and count the others, and skip them if allowed.

    Every image is decoded once, and the result is kept in the cache. Since damaged images are known
    beforehand, batches are a function of (seed, step).

    Raises:
        DataError: some images cannot be decoded and are not to be skipped, or none can be decoded.
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
    """Return the indices of the images that cannot be decoded; the answer is kept on disk."""
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
    """Return the reason why an image cannot be decoded, as a sentence without its full stop."""
    try:
        images[index]
    except DataError as error:
        return str(error).rstrip(".")
    return f"{images.name(index)} can be decoded now: run the same command again"


def is_readable(images: Images, index: int) -> bool:
    """Return whether an image can be decoded to the last pixel."""
    try:
        images[index]
    except DataError as error:
        if is_fault_of_disk(error):
            raise  # it may go away, so it is not kept on disk
        return False
    return True


def is_fault_of_disk(error: DataError) -> bool:
    """Return whether an error comes from the system rather than the image, and may go away."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno is not None
