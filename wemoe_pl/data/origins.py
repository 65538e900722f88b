"""Tensors of images are known again: which ones of which set they hold."""

from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from wemoe_pl.data.pixel_hashes import Contents
from wemoe_pl.data.streams import Batch, Seen, SeenBatch


class Origins:
    """Knows which images a tensor holds, as long as that tensor exists and is not changed.

    A batch is made anew on its way to a device, and by training steps of one's own, while its
    tensors stay what they are. Any other tensor is unknown: one that was augmented, or whose
    batch is of a loader of one's own.

    >>> import torch
    >>> origins, images = Origins(), torch.zeros(2, 3, 4, 4)
    >>> origins.note(images, Seen("test images of 'dtd'", places=[7, 3], hashes=[1, 2]))
    >>> origins.of(images).places
    [7, 3]
    >>> origins.of(images.add_(1)) is None
    True
    """

    def __init__(self) -> None:
        self._known = WeakTensorKeyDictionary()

    def note(self, images: Tensor, seen: Seen) -> None:
        """Note what a tensor holds."""
        self._known[images] = Noted(seen, times_changed(images))

    def of(self, images: Any) -> Seen | None:
        """Return the origin of the images, (B, 3, H, W), of a tensor; None if it is unknown."""
        known = self._known.get(images) if isinstance(images, Tensor) else None
        if known is None or known.version != times_changed(images):
            return None
        return known.seen

    def follow(self, batch: Any, moved: Any) -> None:
        """Know the tensors of a batch again that was moved to a device.

        Args:
            batch: of tasks, before it was; nothing is known of any other.
            moved: the same afterwards.
        """
        for task, labelled in batch.items() if isinstance(batch, dict) else ():
            if isinstance(labelled, tuple | list) and (seen := self.of(labelled[0])):
                self.note(moved[task][0], seen)


class Noted(NamedTuple):
    """The origin of a tensor, and the version in which it was noted."""

    seen: Seen
    version: int


def noted(batch: SeenBatch, contents: Contents, origins: Origins) -> Batch:
    """Note which images a batch holds and what they look like, and return it without that."""
    for seen, (images, _) in zip(batch.seen, batch.values(), strict=False):  # or it has no notes
        contents.note(seen)
        origins.note(images, seen)
    return dict(batch)


def times_changed(tensor: Tensor) -> int:
    """Return how often a tensor was changed in place, which is not counted in inference mode."""
    return 0 if tensor.is_inference() else tensor._version
