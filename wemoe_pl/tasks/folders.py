"""Tasks whose images lie in folders."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from wemoe_pl.errors import DataError, did_you_mean
from wemoe_pl.tasks.base import (
    DEFAULT_TEMPLATES,
    UNLABELLED,
    Corrupt,
    Images,
    Split,
    VisionTask,
)
from wemoe_pl.tasks.image_files import ImageFiles
from wemoe_pl.tasks.listing import is_hidden, list_images
from wemoe_pl.tasks.names import plain
from wemoe_pl.tasks.readable import keep_readable


@dataclass(frozen=True)
class ImageFolderTask(VisionTask):
    """A task whose images lie in folders, `SPLIT_FOLDER/class name/image.jpg`.

    Args:
        train: folder of labelled images to fine-tune on; not needed for adaptation.
        test: folder of images to adapt to and to score on.
        class_names: classes in label order; by default the sub-folders' names, sorted. A folder
            may spell them with other capitals, spaces and signs.
        templates: prompts for a zero-shot head, with `{}` in the place of the class name.
        labelled: false takes all images below a folder, wherever they lie, without labels: enough
            to adapt to, though not to score on. Classes are then those of the head.
        corrupt: what to do about files that cannot be decoded: stop, or leave them out. Either
            way they are counted and named.
    """

    train: str | None = None
    test: str | None = None
    class_names: tuple[str, ...] | None = None
    templates: tuple[str, ...] = DEFAULT_TEMPLATES
    labelled: bool = True
    corrupt: Corrupt = "error"

    def __post_init__(self) -> None:
        """Refuse two classes that a folder could not tell apart."""
        counts = Counter(map(plain, self.class_names or ()))
        for name in self.class_names or ():
            if counts[plain(name)] > 1:
                raise DataError(f"The class name '{name}' is given twice: give each class once.")

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        if self.class_names or not self.labelled:
            return tuple(self.class_names or ())
        folder = self._folder("test" if self.test else "train")
        return tuple(
            sorted(p.name for p in folder.iterdir() if p.is_dir() and not is_hidden(Path(p.name)))
        )

    @property
    def prompts(self) -> tuple[str, ...]:
        """The templates."""
        return self.templates

    def images(self, split: Split) -> Images:
        """The images of a split, in the order of their paths."""
        folder = self._folder(split)
        if not self.labelled:
            paths = list_images(folder)
            return keep_readable(ImageFiles(paths, [UNLABELLED] * len(paths)), self.corrupt)
        labels = {plain(name): label for label, name in enumerate(self.classes)}
        paths = list_images(folder)
        folders = Counter(path.parent.name for path in paths)
        for name, count in folders.items():
            if plain(name) not in labels:
                raise DataError(
                    f"{folder} has {count} images of class '{name}', which the task lacks. "
                    f"{did_you_mean(name, self.classes)}"
                )
        files = ImageFiles(paths, [labels[plain(path.parent.name)] for path in paths])
        images = keep_readable(files, self.corrupt)
        present = set(images.labels)
        for label, name in enumerate(self.classes):
            if label not in present:
                raise DataError(
                    f"{folder} has no images of class '{name}'. {did_you_mean(name, folders)}"
                )
        return images

    def _folder(self, split: Split) -> Path:
        folder = self.train if split == "train" else self.test
        if folder is None:
            raise DataError(f"This task has no {split} images: give the folder as `{split}`.")
        if not Path(folder).expanduser().is_dir():
            raise DataError(f"There is no folder {folder}: check `{split}` in the config.")
        return Path(folder).expanduser()
