"""Define the base of all data modules: a stream to adapt on, and ordered images to score on.

If there are several processes, each gets a share of the images that a single one would get.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, Subset, default_convert

from wemoe_pl.data.corruptions.task import Corruption
from wemoe_pl.data.few_images import first_of_each
from wemoe_pl.data.image_sets import ImageSet, ImageSets
from wemoe_pl.data.loading_workers import as_many_as_cores
from wemoe_pl.data.miniature import FreshRender
from wemoe_pl.data.noting import NotingData
from wemoe_pl.data.open_files import allow_open_files
from wemoe_pl.data.samplers import ALONE, CountFrom, Share, WholeBatches, places_of_few
from wemoe_pl.data.step_checks import check_split, check_steps, next_batch
from wemoe_pl.data.streams import (
    Batch,
    LabelledImage,
    NoTask,
    StepBatches,
    TaskBatches,
)
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import Split
from wemoe_pl.data.to_classify import NamedImage, ToClassify
from wemoe_pl.errors import at_least


class VisionData(NotingData):
    """`VisionData` streams images of `stream_tasks`, and scores on test images of `scored_tasks`.

    Args:
        suite: the suite that has the tasks.
        stream_tasks: the tasks that every step has images of.
        scored_tasks: the tasks to score on.
        stream: the split that is streamed.
        batch_size: the number of images per task and step.
        tasks_per_batch: the number of tasks per batch; a step has as many batches as that takes.
        test_batch_size: the number of images per batch when scoring.
        num_workers: the number of processes that load images, at most one per core; 0 loads them
            in the main process.
        seed: the seed of the order of the images.
        cache_images: True if the resized images are kept on disk (150 kB each), each decoded once.
        images: the images that `predict` classifies: a folder, a pattern such as "photos/*.jpg",
            or parquet files.
        corruption: the corruption (kind and severity) of the test images to score, and adapt, on.
        adapt_on: the test images to adapt on with a corruption, "corrupted" or "clean".
        test_render: the seed and number of newly rendered test images, for miniature tasks only.

    Attributes:
        sets: the sets of images that are streamed and scored.
        preprocessing: the preprocessing that turns an image into the encoder's input.
        to_classify: the images that `predict` classifies.
        validated_images: the number of images per task that are validated on; None for all.
    """

    def __init__(
        self,
        suite: Suite,
        stream_tasks: Sequence[str],
        scored_tasks: Sequence[str],
        stream: Split,
        batch_size: int,
        tasks_per_batch: int,
        test_batch_size: int = 128,
        num_workers: int = 0,
        seed: int = 0,
        cache_images: bool = False,
        images: str | None = None,
        corruption: Corruption | None = None,
        adapt_on: Literal["corrupted", "clean"] = "corrupted",
        test_render: FreshRender | None = None,
    ):
        super().__init__()
        self.suite = suite
        self.stream = stream
        self.batch_size = at_least(1, "batch_size", batch_size)
        self.tasks_per_batch = at_least(1, "tasks_per_batch", tasks_per_batch)
        self.test_batch_size = at_least(1, "test_batch_size", test_batch_size)
        self.num_workers = as_many_as_cores(at_least(0, "num_workers", num_workers))
        allow_open_files(self.num_workers)
        self.seed = seed
        self.corruption = corruption
        self.test_render = test_render
        streamed = corruption if stream == "test" and adapt_on == "corrupted" else None
        self.sets = ImageSets(
            suite,
            streamed=[ImageSet(task, stream, streamed) for task in stream_tasks],
            scored=[ImageSet(task, "test", corruption, test_render) for task in scored_tasks],
            cached=cache_images,
        )
        self.preprocessing = self.sets.preprocessing
        self.to_classify = ToClassify(
            images, self.preprocessing, self.test_batch_size, self.num_workers
        )
        self.validated_images: int | None = None
        # If there are fewer images than processes, some processes have none to predict.
        self.allow_zero_length_dataloader_with_multiple_devices = True

    @property
    def share(self) -> Share:
        """Return the share of the images that this process gets."""
        trainer = self.trainer
        return Share(trainer.global_rank, trainer.world_size) if trainer else ALONE

    def setup(self, stage: str) -> None:
        """Read the lists of a stage's images, so that errors come before models are built."""
        if stage == "fit":
            self.check_processes(self.share.processes)
            self.step_batches()  # raises an error if images are missing
        for wanted in self.sets.of_stage(stage):
            self.sets.load(wanted)

    def check_processes(self, processes: int) -> None:
        """Raise `ConfigError` unless this number of processes can share the images of a step."""
        check_split(self.batch_size, processes)

    def step_batches(self) -> StepBatches:
        """Return the stream of batches, from its first step on."""
        tasks = {task: self.sets.load(wanted) for task, wanted in self.sets.streamed.items()}
        return StepBatches(tasks, self.batch_size, self.tasks_per_batch, self.seed, self.share)

    @property
    def stream_note(self) -> str:
        """Return a note on an unusual stream, to be shown with scores; empty for a usual one."""
        return ""

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return a loader of the stream, from the step that the trainer has reached."""
        assert self.trainer is not None  # Lightning sets it before it asks for loaders
        batches = self.step_batches()
        check_steps(self.trainer, batches, self.tasks_per_batch)
        return DataLoader(
            batches,
            batch_size=None,
            sampler=CountFrom(partial(next_batch, self.trainer)),
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """Return an ordered loader per scored task, of `validated_images` of its test images."""
        return [self.ordered_loader(t, self.validated_images) for t in self.sets.scored.values()]

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """Return an ordered loader per scored task; its batches name the task."""
        return [self.ordered_loader(wanted) for wanted in self.sets.scored.values()]

    def ordered_loader(self, wanted: ImageSet, few: int | None = None) -> DataLoader[Any]:
        """Return a loader of all images of a set, or of a few, in order; its batches name the task.

        A process that has no share of the images gets one batch without a task. If it had no batch
        at all, Lightning would leave it out, and the other processes would wait for it for ever.
        """
        images = self.sets.load(wanted)
        places = places_of_few(len(images), few, wanted.task)
        mine = WholeBatches(len(places), self.test_batch_size, self.share)
        if not mine:
            return DataLoader(NoTask(), batch_size=None)
        return DataLoader(
            TaskBatches(wanted.task, images, places),
            sampler=mine,
            batch_size=self.test_batch_size,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            collate_fn=default_convert,  # an item is a batch already
            generator=torch.Generator(),  # else scoring would draw from the run's random numbers
        )

    def predict_dataloader(self) -> DataLoader[NamedImage]:
        """Return a loader of the images `to_classify`, in order, without those answered already."""
        return self.to_classify.loader(self.share)

    def few_shots(self, task: str, shots: int | None) -> DataLoader[LabelledImage]:
        """Return a loader of the first `shots` training images of each class, or of all images."""
        images = self.sets.load_labelled(ImageSet(task, "train"))
        chosen = first_of_each(images.images.labels, shots)
        return DataLoader(Subset(images, chosen), batch_size=self.test_batch_size)
