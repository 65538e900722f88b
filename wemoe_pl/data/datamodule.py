"""Define the data modules: for the images of one task to fine-tune on, or several to adapt on."""

from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from wemoe_pl.data.few_images import FewImages
from wemoe_pl.data.image_sets import ImageSet, ImageSets
from wemoe_pl.data.mixed_stream import MixedBatches, check_proportions, mixture_note
from wemoe_pl.data.streams import StepBatches, shuffled
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import Split
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.errors import ConfigError


class TaskData(VisionData):
    """`TaskData` gives one task's training images to fine-tune on, and test images to score on.

    Args:
        suite: the suite that the task belongs to.
        task: the name of the task.
        batch_size: the number of images per step.
        **options: the options `test_batch_size` to `images`, and `test_render`, of `VisionData`.
    """

    def __init__(self, suite: Suite, task: str, batch_size: int = 32, **options: Any):
        suite.task(task)
        super().__init__(
            suite,
            stream_tasks=[task],
            scored_tasks=[task],
            stream="train",
            batch_size=batch_size,
            tasks_per_batch=1,
            corruption=None,
            adapt_on="clean",
            **options,
        )


class MultiTaskData(VisionData):
    """`MultiTaskData` streams images of several tasks at once, and scores all tasks.

    Args:
        suite: the suite that has the tasks, which are all scored.
        stream: the split that is streamed: "test" images (labels are not looked at) or labelled
            "train" images, of the tasks that have an expert; of all tasks if none has one.
        batch_size: the number of images per task and step.
        tasks_per_batch: the number of tasks per batch; fewer save memory. Each step is split into
            several batches then: set `trainer.accumulate_grad_batches` to their number. By default
            a step is one batch.
        images_per_task: the number of images of every task that are streamed again and again,
            drawn by the seed; by default all.
        images_per_class: the number of images of every class, streamed likewise; labels only choose
            them.
        proportions: the weight with which the images of a step are drawn from each task, 0 for a
            task that is left out; by default a step has `batch_size` images of every task.
        compare_with: a split of images that the experts know, for an objective that compares the
            stream with it (`TrustedExperts`).
        **options: the options `test_batch_size` to `test_render` of `VisionData`.

    Attributes:
        few: the choice of images that are streamed.
    """

    def __init__(
        self,
        suite: Suite,
        stream: Split = "test",
        batch_size: int = 16,
        tasks_per_batch: int | None = None,
        images_per_task: int | None = None,
        images_per_class: int | None = None,
        proportions: dict[str, float] | None = None,
        compare_with: Split | None = None,
        **options: Any,
    ):
        tasks = list(suite.tasks)
        streamed = list(suite.experts) or tasks
        super().__init__(
            suite,
            stream_tasks=streamed,
            scored_tasks=tasks,
            stream=stream,
            batch_size=batch_size,
            tasks_per_batch=len(streamed) if tasks_per_batch is None else tasks_per_batch,
            **options,
        )
        self.few = FewImages(images_per_task, images_per_class)
        self.proportions = proportions
        if compare_with is not None:
            self.sets.compared = {task: ImageSet(task, compare_with) for task in streamed}
            check_compared(self.sets)
        if proportions is not None:
            check_proportions(proportions, streamed)
            if self.tasks_per_batch < len(streamed):
                raise ConfigError(
                    f"proportions mixes the tasks within a step, but tasks_per_batch "
                    f"{tasks_per_batch} splits a step by task: leave out one of the two options."
                )

    def compared_images(self, count: int) -> dict[str, Tensor]:
        """Return images to compare with, at most `count` of each task, (N, C, H, W) by task."""
        tasks = {task: self.sets.load(wanted) for task, wanted in self.sets.compared.items()}
        return StepBatches(tasks, self.batch_size, len(tasks), self.seed).first(count)

    def setup(self, stage: str) -> None:
        """Read the lists of a stage's images, and print a note if labels choose those of a fit."""
        super().setup(stage)
        if stage == "fit" and self.few.per_class is not None:
            rank_zero_info(self.few.note)

    def check_processes(self, processes: int) -> None:
        """Raise `ConfigError` unless the processes can share a step; drawn tasks allow only one."""
        if self.proportions is not None and processes > 1:
            raise ConfigError(
                "data.proportions draws at random how many images of each task a step has, and "
                f"these do not split evenly over {processes} devices: set trainer.devices to 1."
            )
        super().check_processes(processes)

    def step_batches(self) -> StepBatches:
        """Return the stream of the chosen images, in the given proportions."""
        tasks = {task: self.sets.load(wanted) for task, wanted in self.sets.streamed.items()}
        places = {
            task: self.few.places(images, shuffled(len(images), self.seed, task, epoch=0))
            for task, images in tasks.items()
        }
        if self.proportions is not None:
            return MixedBatches(tasks, self.batch_size, self.proportions, self.seed, places)
        groups = self.tasks_per_batch
        return StepBatches(tasks, self.batch_size, groups, self.seed, self.share, places)

    @property
    def stream_note(self) -> str:
        """Return a note on the images that were adapted on, and on their proportions."""
        return " ".join(filter(None, [self.few.note, mixture_note(self.proportions)]))


def check_compared(sets: ImageSets) -> None:
    """Raise `ConfigError` if the images to compare with are the streamed ones themselves."""
    if sets.compared == sets.streamed:
        [split] = {images.split for images in sets.compared.values()}
        raise ConfigError(
            f"data.compare_with is {split}, and data.stream has the same images: give the other "
            "split."
        )
