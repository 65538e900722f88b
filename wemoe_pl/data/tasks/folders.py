"""Define tasks whose images lie in folders."""

import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from wemoe_pl.data.tasks.base import (
    DEFAULT_TEMPLATES,
    UNLABELLED,
    Corrupt,
    Images,
    Split,
    VisionTask,
)
from wemoe_pl.data.tasks.class_names import canonical, match_names, repeated, timm_order
from wemoe_pl.data.tasks.damaged import keep_readable
from wemoe_pl.data.tasks.image_files import ImageFiles
from wemoe_pl.data.tasks.listing import list_images
from wemoe_pl.data.tasks.missing_images import tell_gaps
from wemoe_pl.data.tasks.walking import is_hidden
from wemoe_pl.errors import DataError, check_class_names, did_you_mean
from wemoe_pl.system.near_paths import did_you_mean_path

SPLITS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation", "eval"})


@dataclass(frozen=True)
class ImageFolderTask(VisionTask):
    """An `ImageFolderTask` has its images in folders, as `SPLIT_FOLDER/class name/image.jpg`.

    As in torchvision, the folders of the first level are the classes, and an image has the class in
    whose folder it lies, however deep.

    Args:
        train: the folder of labelled images to fine-tune on; not needed for adaptation.
        test: the folder of images to adapt to and to score on.
        class_names: the classes in label order; by default the sorted names of the sub-folders of
            `test`, or of `train` if there is no `test`. A folder may spell them with other
            capitals, spaces and punctuation if that is unique: see `match_names`. A class may have
            no folder or an empty one, which gives a warning.
        templates: the prompts for a zero-shot head, with `{}` in the place of the class name.
        labelled: True if folders are classes. False takes all images below a folder, without
            labels: enough to adapt to, but not to score on. The classes are then the head's.
        corrupt: the treatment of files that cannot be decoded: "error" stops, "skip" leaves them
            out. Either way they are counted and named.
    """

    train: str | None = None
    test: str | None = None
    class_names: tuple[str, ...] | None = None
    templates: tuple[str, ...] = DEFAULT_TEMPLATES
    labelled: bool = True
    corrupt: Corrupt = "error"

    def __post_init__(self) -> None:
        """Refuse empty names, and two classes with one name, which folders cannot tell apart."""
        check_class_names(self.class_names or (), "`class_names`", DataError)
        if (name := repeated(self.class_names or ())) is not None:
            raise DataError(f"The class name '{name}' is given twice: give each class once.")

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names in label order."""
        if self.class_names or not self.labelled:
            return tuple(self.class_names or ())
        return self.orders["torchvision"]

    @property
    def orders(self) -> dict[str, tuple[str, ...]]:
        """Return the orders of torchvision and timm; {} if `class_names` gives the order."""
        if self.class_names or not self.labelled:
            return {}
        folder = self._folder("test" if self.test else "train")
        names = [p.name for p in folder.iterdir() if p.is_dir() and not is_hidden(Path(p.name))]
        check_folders(names, folder)
        orders = {"torchvision": sorted(names), "timm": timm_order(names)}
        return {program: tuple(map(canonical, order)) for program, order in orders.items()}

    @property
    def prompts(self) -> tuple[str, ...]:
        """Return the `templates`."""
        return self.templates

    def images(self, split: Split) -> Images:
        """Return the images of a split, in the order of their paths."""
        folder = self._folder(split)
        check_shown(self.class_names or (), folder)
        paths = list_images(folder)
        if not self.labelled:
            return keep_readable(ImageFiles(paths, [UNLABELLED] * len(paths)), self.corrupt)
        if not self.class_names:
            check_level(folder, paths)
        names = [class_folder(path, folder) for path in paths]
        labels = self._labels(Counter(names), folder)
        files = ImageFiles(paths, [labels[name] for name in names])
        images = keep_readable(files, self.corrupt)
        tell_gaps(images.labels, self.classes, str(folder))
        return images

    def _labels(self, folders: Counter[str], parent: Path) -> dict[str, int]:
        """Return the labels of class folders, given the number of images in each."""
        check_folders(folders, parent)
        labels = match_names(folders, self.classes)
        for name, count in folders.items():
            if name not in labels:
                raise DataError(
                    f"{parent} has {count} images of class '{name}', which the task lacks. "
                    f"{did_you_mean(name, self.classes)}"
                    + ("" if self.class_names else " Or give all classes as `class_names`.")
                )
        return labels

    def _folder(self, split: Split) -> Path:
        folder = self.train if split == "train" else self.test
        if folder is None:
            raise DataError(f"This task has no {split} images: give the folder as `{split}`.")
        if not Path(folder).expanduser().is_dir():
            hint = did_you_mean_path(Path(folder))
            raise DataError(f"There is no folder {folder}: check `{split}` in the config.{hint}")
        return Path(folder).expanduser()


def class_folder(path: Path, parent: Path) -> str:
    """Return the name of the class folder of an image; raise `DataError` if it is in none."""
    within = path.relative_to(parent).parts
    if len(within) == 1:
        raise DataError(
            f"{path} is in no class folder: move it to {parent}/CLASS, or set `labelled: false` if "
            "the images have no classes."
        )
    return within[0]


def check_folders(folders: Collection[str], parent: Path) -> None:
    """Raise `DataError` if names of class folders are not in UTF-8, or are the same text."""
    for name in folders:
        if any(unicodedata.category(character) == "Cs" for character in name):  # not UTF-8
            raise DataError(
                f"{parent} has a class folder '{name}' whose name is not in UTF-8: rename it."
            )
    if (twice := repeated(folders)) is not None:
        raise DataError(
            f"{parent} has two folders '{twice}', whose names differ only in their Unicode form: "
            "move the images of one into the other."
        )


def check_shown(classes: Sequence[str], parent: Path) -> None:
    """Raise `DataError` if the folder of a class is passed over for its name; see `is_hidden`."""
    for path in sorted(parent.iterdir()):
        if path.name in classes and is_hidden(Path(path.name)) and path.is_dir():
            raise DataError(
                f"{parent} has a folder for the class '{path.name}', but folders of this name are "
                "passed over, since operating systems put such folders beside images: rename the "
                f"folder to '_{path.name}', which is read as this class."
            )


def check_level(parent: Path, paths: Sequence[Path]) -> None:
    """Raise `DataError` if the folders of the first level look like splits, or like a wrapper."""
    within = [path.relative_to(parent).parts for path in paths]
    if any(len(parts) < 3 for parts in within):
        return
    first, second = {parts[0] for parts in within}, {parts[1] for parts in within}
    if {name.lower() for name in first} <= SPLITS or len(first) == 1 < len(second):
        deeper = "/".join(within[0][:2])
        raise DataError(
            f"The classes of {parent} would be {', '.join(sorted(first))}, but all images lie "
            f"deeper, as in {deeper}: give the folder whose folders are the classes, or, if these "
            "are the classes, list them as `class_names`."
        )
