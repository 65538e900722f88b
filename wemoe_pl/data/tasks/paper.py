"""Define the tasks that papers score, with their class names, prompts and datasets on the hub."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from wemoe_pl.data.tasks.base import Corrupt, Images, Split, VisionTask
from wemoe_pl.data.tasks.folders import ImageFolderTask
from wemoe_pl.data.tasks.listing import files_below
from wemoe_pl.data.tasks.parquet import NameCheck, ParquetTask
from wemoe_pl.data.tasks.tables import TABLE
from wemoe_pl.data.tasks.walking import is_hidden
from wemoe_pl.errors import ConfigError, did_you_mean
from wemoe_pl.system.files import SHIPPED, locate
from wemoe_pl.system.hub import HubFiles

PAPER_TASKS = ("sun397", "cars", "resisc45", "eurosat", "svhn", "gtsrb", "mnist", "dtd")
# The eight, and the tasks that the authors of TALL masks (arXiv 2405.07813) add, in their order.
TALL14_TASKS = (*PAPER_TASKS, "flowers102", "pcam", "fer2013", "pets", "stl10", "cifar100")
TALL20_TASKS = (
    *TALL14_TASKS,
    *("cifar10", "food101", "fashion_mnist", "emnist_letters", "kmnist", "rendered_sst2"),
)

# The default facts: the file of a task has only those that differ.
USUAL_FACTS: dict[str, Any] = {
    "image": "image",
    "label": "label",
    "corrupted": {},
    "label_names": [],
    "note": "",
}


@dataclass(frozen=True)
class PaperTask(VisionTask):
    """A `PaperTask` is a task that papers score, with its published class names and prompts.

    Args:
        name: one of the paper's eight (sun397, cars, resisc45, eurosat, svhn, gtsrb, mnist, dtd),
            of the six that make them 14 (flowers102, pcam, fer2013, pets, stl10, cifar100), or of
            the six that make them 20 (cifar10, food101, fashion_mnist, emnist_letters, kmnist,
            rendered_sst2).
        source: the place of the images, by default the task's dataset on the hub. It may be another
            dataset (`owner/name@revision`), a folder of the same parquet files, or a folder of
            images as `train/class name/1.jpg` and `test/class name/1.jpg`. Images in `test` itself,
            without class folders, are adapted to but not scored.
        check_names: the comparison of the names of a label column with the classes; see
            `ParquetTask`. Datasets abbreviate the class names of the prompts.
        corrupt: the treatment of images that cannot be decoded: "error" stops, "skip" leaves them
            out. Either way they are counted and named.
        corruption: the published corruption (of severity 2) of the test images that are used:
            contrast, gaussian_noise, impulse_noise, jpeg_compression, motion_blur, pixelate or
            spatter, for cars, resisc45, eurosat and gtsrb.
    """

    name: str
    source: str | None = None
    check_names: NameCheck = "nearest"
    corrupt: Corrupt = "error"
    corruption: str | None = None

    def __post_init__(self) -> None:
        """Refuse a task without published facts, and a corruption that is not published."""
        if self.name not in published_tasks():
            raise ConfigError(
                f"No task '{self.name}' is published. {did_you_mean(self.name, published_tasks())}"
            )
        corrupted = self.facts["corrupted"]
        if self.corruption is not None and not corrupted:
            others = ", ".join(name for name in PAPER_TASKS if published(name)["corrupted"])
            raise ConfigError(
                f"No corrupted images of '{self.name}' are published, only of {others}: "
                "`data.corruption` with `source: made` makes them from any images."
            )
        if self.corruption is not None and self.corruption not in corrupted:
            raise ConfigError(
                f"No images of '{self.name}' with the corruption '{self.corruption}' are "
                f"published. {did_you_mean(self.corruption, corrupted)}"
            )

    @property
    def facts(self) -> dict[str, Any]:
        """Return `dataset`, `train`, `test`, `class_names` and `templates` as they are published.

        The other facts are `image` and `label`, the columns of the dataset; `corrupted`, the files
        of the corrupted test images; `label_names`, the names that the label column gives the
        classes, if they are known to differ; and `note`, a remark on peculiar or doubtful points.
        """
        return published(self.name)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names in label order."""
        return tuple(self.facts["class_names"])

    @property
    def prompts(self) -> tuple[str, ...]:
        """Return the published templates."""
        return tuple(self.facts["templates"])

    def images(self, split: Split) -> Images:
        """Return the images of a split."""
        return self.data(split).images(split)

    def hub_files(self, split: Split) -> HubFiles | None:
        """Return the request for a split's files on the hub; None if they are in a folder."""
        return self.data(split).hub_files(split)

    def data(self, split: Split) -> VisionTask:
        """Return the task that reads a split from the source: parquet files or image folders."""
        if self.source is not None:
            folder = locate(self.source)
            if folder.is_dir() and not files_below(folder, {TABLE}):
                return self._of_images(folder, split)
        corrupted = self.corruption and self.facts["corrupted"][self.corruption]
        return ParquetTask(
            self.source or self.facts["dataset"],
            train=self.facts["train"],
            test=corrupted or self.facts["test"],
            image=self.facts["image"],
            label=self.facts["label"],
            class_names=self.classes,
            label_names=tuple(self.facts["label_names"]) or None,
            check_names=self.check_names,
            corrupt=self.corrupt,
        )

    def _of_images(self, folder: Path, split: Split) -> ImageFolderTask:
        if self.corruption is not None and split == "test":
            raise ConfigError(
                f"{folder} has plain images, but the corrupted ones of '{self.name}' are published "
                f"as parquet files '{self.facts['corrupted'][self.corruption]}': give a folder "
                "of those, or let `data.corruption` with `source: made` make them from these."
            )
        of_split = folder / split
        labelled = not of_split.is_dir() or any(
            p.is_dir() and not is_hidden(Path(p.name)) for p in of_split.iterdir()
        )
        return ImageFolderTask(
            train=str(folder / "train"),
            test=str(folder / "test"),
            class_names=self.classes,
            labelled=labelled,
            corrupt=self.corrupt,
        )


@cache
def published_tasks() -> list[str]:
    """Return the names of the tasks whose facts the package ships."""
    return sorted(path.stem for path in (SHIPPED / "tasks").glob("*.json"))


@cache
def published(name: str) -> dict[str, Any]:
    """Return the facts about a task, as the package ships them."""
    facts = json.loads((SHIPPED / "tasks" / f"{name}.json").read_text(encoding="utf-8"))
    return USUAL_FACTS | facts
