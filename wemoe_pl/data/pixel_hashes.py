"""Record the hashes of images when a run reads them, and compare them when it reads them again."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from wemoe_pl.data.streams import Seen
from wemoe_pl.data.tasks import Images
from wemoe_pl.errors import CheckpointError, DataError


class Contents:
    """A `Contents` has the hashes of the pixels of all images that a run has read.

    Attributes:
        known: the hashes of the n images of a set, (n,), by the name of the set; 0 for an image
            that was not read yet.
    """

    def __init__(self) -> None:
        self.known: dict[str, Tensor] = {}
        self._images: dict[str, Images] = {}

    def expect(self, name: str, images: Images) -> None:
        """Make room for the hashes of a set of images."""
        self._images[name] = images
        self.known.setdefault(name, torch.zeros(len(images), dtype=torch.int64))

    def note(self, seen: Seen) -> None:
        """Record the hashes of some images, and compare them with those recorded before.

        Raises:
            DataError: an image had other pixels when the run read it before.
        """
        if seen.name not in self._images:
            return
        known, places = self.known[seen.name], torch.tensor(seen.places)
        hashes = torch.tensor(seen.hashes)
        changed = (known[places] != 0) & (known[places] != hashes)
        if changed.any():
            place = seen.places[int(changed.nonzero()[0])]
            raise DataError(
                f"{self._images[seen.name].name(place)} has changed since this run first read "
                "it: put the old image back, or begin anew with --fresh."
            )
        known[places] = hashes

    def of_all_processes(self, device: torch.device) -> dict[str, dict[str, Any]]:
        """Return the identity and the hashes of every set of images, from all processes."""
        gathered = {name: hashes.to(device, copy=True) for name, hashes in self.known.items()}
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            for hashes in gathered.values():
                torch.distributed.all_reduce(hashes, torch.distributed.ReduceOp.MAX)
        return {
            name: {"identity": self._images[name].identity, "hashes": hashes.cpu()}
            for name, hashes in gathered.items()
        }

    def recall(self, noted: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over the hashes of a checkpoint for the sets whose identity is still the same.

        Raises:
            CheckpointError: the hashes in the checkpoint are damaged.
        """
        for name, those in noted.items():
            if name not in self._images or self._images[name].identity != those.get("identity"):
                continue
            hashes, known = those.get("hashes"), self.known[name]
            if not isinstance(hashes, Tensor) or (hashes.dtype, hashes.shape) != (
                known.dtype,
                known.shape,
            ):
                raise CheckpointError(
                    f"The hashes of the {name} in the checkpoint are damaged: go on from another "
                    "checkpoint, or begin anew with --fresh."
                )
            self.known[name] = hashes
