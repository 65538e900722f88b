"""Remember which images of which set a tensor holds."""

from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from wemoe_pl.data.pixel_hashes import Contents
from wemoe_pl.data.streams import Batch, Seen, SeenBatch


class Origins:
    """`Origins` knows which images a tensor holds, as long as the tensor exists unchanged.

    It records tensors rather than batches, since a data module or a custom training step may put
    the same tensors into a new batch. Any other tensor is unknown, such as one that was augmented
    or that comes from a custom loader.

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
        """Record which images a tensor holds."""
        self._known[images] = Noted(seen, times_changed(images))

    def of(self, images: Any) -> Seen | None:
        """Return the record of a tensor of images, (B, C, H, W); None if it is unknown."""
        known = self._known.get(images) if isinstance(images, Tensor) else None
        if known is None or known.version != times_changed(images):
            return None
        return known.seen

    def follow(self, batch: Any, moved: Any) -> None:
        """Record the tensors of a batch that was moved to a device: they hold the same images.

        Args:
            batch: the batch by task before it was moved; any other kind of batch is ignored.
            moved: the batch after it was moved.
        """
        for task, labelled in batch.items() if isinstance(batch, dict) else ():
            if isinstance(labelled, tuple | list) and (seen := self.of(labelled[0])):
                self.note(moved[task][0], seen)


class Noted(NamedTuple):
    """A `Noted` has the record of a tensor's images, and the tensor's version at that time."""

    seen: Seen
    version: int


def noted(batch: SeenBatch, contents: Contents, origins: Origins) -> Batch:
    """Record the images of a batch and their hashes, and return the batch as a plain `dict`."""
    for seen, (images, _) in zip(batch.seen, batch.values(), strict=False):  # `seen` may be empty
        contents.note(seen)
        origins.note(images, seen)
    return dict(batch)


def times_changed(tensor: Tensor) -> int:
    """Return how often a tensor was changed in place; 0 in inference mode, which does not count."""
    return 0 if tensor.is_inference() else tensor._version
