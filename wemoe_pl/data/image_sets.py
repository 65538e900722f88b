"""Read the sets of images of a job: splits of tasks, as they are, rendered anew or corrupted."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from wemoe_pl.data.corruptions.task import Corruption
from wemoe_pl.data.miniature import FreshRender
from wemoe_pl.data.pixel_cache import cached_pixels
from wemoe_pl.data.pixel_hashes import Contents
from wemoe_pl.data.preprocessing import Preprocessing
from wemoe_pl.data.streams import PreparedImages
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import UNLABELLED, Images, InMemoryTask, Split, VisionTask
from wemoe_pl.errors import DataError


class ImageSet(NamedTuple):
    """An `ImageSet` names a split of a task that a job reads as it is, rendered or corrupted."""

    task: str
    split: Split
    corruption: Corruption | None = None
    render: FreshRender | None = None

    @property
    def name(self) -> str:
        """Return the name of the set in messages and checkpoints."""
        kinds = {"corrupted ": self.corruption, "fresh ": self.render}
        changes = "".join(kind for kind, change in kinds.items() if change)
        return f"{changes}{self.split} images of '{self.task}'"


class ImageSets:
    """`ImageSets` has the sets of images that a job streams and scores, and reads each set once.

    Args:
        suite: the suite that has the tasks, and the backbone that the images are prepared for.
        streamed: the sets to train or adapt on, at most one per task.
        scored: the sets to score on, at most one per task.
        cached: True if the resized images are kept on disk.

    Attributes:
        streamed: the sets to train or adapt on, by task.
        scored: the sets to score on, by task.
        compared: the sets of images that experts know, by task, to compare the streamed ones with.
        contents: the hashes of the images' pixels, as they were when they were read.
    """

    def __init__(
        self, suite: Suite, streamed: Iterable[ImageSet], scored: Iterable[ImageSet], cached: bool
    ):
        self.suite = suite
        self.streamed = {images.task: images for images in streamed}
        self.scored = {images.task: images for images in scored}
        self.compared: dict[str, ImageSet] = {}
        self.cached = cached
        self.preprocessing = Preprocessing(suite.backbone)
        self.contents = Contents()
        self._loaded: dict[ImageSet, PreparedImages] = {}

    @property
    def all(self) -> list[ImageSet]:
        """Return every set that the job reads, the streamed ones first."""
        groups = self.streamed, self.scored, self.compared
        return list(dict.fromkeys(images for group in groups for images in group.values()))

    def of_stage(self, stage: str) -> list[ImageSet]:
        """Return the sets that a stage reads: all to fit, none to predict, else the scored."""
        if stage == "fit":
            return self.all
        return [] if stage == "predict" else list(self.scored.values())

    def task(self, wanted: ImageSet) -> VisionTask:
        """Return the task that has the images of a set."""
        task = self.suite.task(wanted.task)
        if wanted.render:
            task = wanted.render.task(wanted.task, task)
        return wanted.corruption.task(task) if wanted.corruption else task

    def load(self, wanted: ImageSet) -> PreparedImages:
        """Return the images of a set.

        Raises:
            DataError: the images are missing or cannot be read.
        """
        if wanted not in self._loaded:
            images = self._read(wanted)
            pixels = cached_pixels(images, self.preprocessing, wanted.task) if self.cached else None
            self._loaded[wanted] = PreparedImages(images, self.preprocessing, pixels, wanted.name)
            self.contents.expect(wanted.name, images)
        return self._loaded[wanted]

    def _read(self, wanted: ImageSet) -> Images:
        try:
            return self.task(wanted).images(wanted.split)
        except DataError as error:
            if isinstance(self.suite.task(wanted.task), InMemoryTask):  # the error names no path
                error.add_note(f"It is one of the {wanted.name}.")
            raise

    def load_labelled(self, wanted: ImageSet) -> PreparedImages:
        """Return the images of a set; raise `DataError` unless every one has a label."""
        images = self.load(wanted)
        if UNLABELLED in images.images.labels:
            raise DataError(
                f"Training images of '{wanted.task}' have no labels: give labelled ones."
            )
        return images

    def identities(self, stage: Literal["fit", "test"]) -> dict[str, str]:
        """Return the identities of the sets of images that a stage reads, by the sets' names."""
        return {wanted.name: self.load(wanted).images.identity for wanted in self.of_stage(stage)}
