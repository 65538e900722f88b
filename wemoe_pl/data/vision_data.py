"""The base of every LightningDataModule: a stream to adapt on, and ordered images to score on.

Of several processes each gets its share, and all together what one alone would get.
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
    """A shuffled stream of `stream_tasks`, and ordered test images of `scored_tasks`.

    Args:
        suite: has the tasks.
        stream_tasks: the tasks that every step has a batch of.
        scored_tasks: the tasks to score on.
        stream: the split that is streamed.
        batch_size: images per task and step.
        tasks_per_batch: how many tasks a batch has; a step has as many batches as that takes.
        test_batch_size: images per batch when scoring.
        num_workers: processes that load images, at most one for every core; 0 loads them in the
            main one.
        seed: of the order of the images.
        cache_images: keep the resized images on disk (150 kB each), so that they are decoded once.
        images: what `predict` classifies: a folder, a pattern such as "photos/*.jpg", or parquet
            files.
        corruption: score, and adapt, on corrupted test images: which corruption, how severe.
        adapt_on: with a corruption, adapt on the "corrupted" test images or on the "clean" ones.
        test_render: score on images of the miniature tasks that are rendered from another seed.

    Attributes:
        sets: the sets of images that are streamed and scored.
        preprocessing: makes of an image what the encoder takes.
        to_classify: the images that `predict` is about.
        validated_images: how many of each task's are validated on; None for all.
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
        # Of fewer images than processes, some process predicts none.
        self.allow_zero_length_dataloader_with_multiple_devices = True

    @property
    def share(self) -> Share:
        """Return the share of the images that this process gets."""
        trainer = self.trainer
        return Share(trainer.global_rank, trainer.world_size) if trainer else ALONE

    def setup(self, stage: str) -> None:
        """Read the lists of images that a stage is about, before models are built in vain."""
        if stage == "fit":
            self.check_processes(self.share.processes)
            self.step_batches()  # refuses images that there are not
        for wanted in self.sets.of_stage(stage):
            self.sets.load(wanted)

    def check_processes(self, processes: int) -> None:
        """Raise `ConfigError` unless so many processes can share the images of a step."""
        check_split(self.batch_size, processes)

    def step_batches(self) -> StepBatches:
        """Return the stream, from its first step on."""
        tasks = {task: self.sets.load(wanted) for task, wanted in self.sets.streamed.items()}
        return StepBatches(tasks, self.batch_size, self.tasks_per_batch, self.seed, self.share)

    @property
    def stream_note(self) -> str:
        """Say what is unusual about the stream, wherever scores are shown; empty if nothing is."""
        return ""

    def train_dataloader(self) -> DataLoader[Batch]:
        """The stream, from the step that the trainer has reached."""
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
        """Return the loaders of the test, or of a few of its images."""
        return [self.ordered_loader(t, self.validated_images) for t in self.sets.scored.values()]

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """One ordered loader per scored task; a batch says which task it is of."""
        return [self.ordered_loader(wanted) for wanted in self.sets.scored.values()]

    def ordered_loader(self, wanted: ImageSet, few: int | None = None) -> DataLoader[Any]:
        """All images of a set, or a few, once, in order, as batches that name the task.

        A process that has no share of them gets a batch of no task: without any batch at all,
        Lightning would leave it out, and the others would wait for it in vain.
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
            collate_fn=default_convert,  # it is a batch already
            generator=torch.Generator(),  # else scoring would draw from the run's random numbers
        )

    def predict_dataloader(self) -> DataLoader[NamedImage]:
        """The images `to_classify` in their order, but those that are answered already."""
        return self.to_classify.loader(self.share)

    def few_shots(self, task: str, shots: int | None) -> DataLoader[LabelledImage]:
        """The first `shots` training images of every class of a task, or all of them."""
        images = self.sets.load_labelled(ImageSet(task, "train"))
        chosen = first_of_each(images.images.labels, shots)
        return DataLoader(Subset(images, chosen), batch_size=self.test_batch_size)
