"""Images are known by their pixels: noted when a run reads them, compared when it does again."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from wemoe_pl.data.streams import Seen
from wemoe_pl.data.tasks import Images
from wemoe_pl.errors import CheckpointError, DataError


class Contents:
    """The hashes of the pixels of all images that a run has read.

    Attributes:
        known: by the name of a set of images, the hash of each of its n images, (n); 0 for those
            that were not read yet.
    """

    def __init__(self) -> None:
        self.known: dict[str, Tensor] = {}
        self._images: dict[str, Images] = {}

    def expect(self, name: str, images: Images) -> None:
        """Make room for the hashes of a set of images."""
        self._images[name] = images
        self.known.setdefault(name, torch.zeros(len(images), dtype=torch.int64))

    def note(self, seen: Seen) -> None:
        """Note what some images look like.

        Raises:
            DataError: one of them looked otherwise when the run read it before.
        """
        if seen.name not in self._images:
            return
        known, places = self.known[seen.name], torch.tensor(seen.places)
        hashes = torch.tensor(seen.hashes)
        changed = (known[places] != 0) & (known[places] != hashes)
        if changed.any():
            place = seen.places[int(changed.nonzero()[0])]
            raise DataError(
                f"{self._images[seen.name].name(place)} is another image than when this run read "
                "it before: put the old one back, or begin anew with --fresh."
            )
        known[places] = hashes

    def of_all_processes(self, device: torch.device) -> dict[str, dict[str, Any]]:
        """All that the processes of the run know together, by the name of the set of images."""
        gathered = {name: hashes.to(device, copy=True) for name, hashes in self.known.items()}
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            for hashes in gathered.values():
                torch.distributed.all_reduce(hashes, torch.distributed.ReduceOp.MAX)
        return {
            name: {"identity": self._images[name].identity, "hashes": hashes.cpu()}
            for name, hashes in gathered.items()
        }

    def recall(self, noted: Mapping[str, Mapping[str, Any]]) -> None:
        """Expect images to look as was noted of them, if they are the same by name and size.

        Raises:
            CheckpointError: what was noted is damaged.
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
                    f"The checkpoint has damaged notes of what the {name} looked like: go on from "
                    "another, or begin anew with --fresh."
                )
            self.known[name] = hashes
