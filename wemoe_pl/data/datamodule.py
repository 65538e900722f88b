"""LightningDataModules: streams to train or adapt on, and one ordered loader per task to score on.

Of several processes each gets its share, and all together what one alone would get.
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import lightning as L
import torch
from torch.utils.data import DataLoader, Subset, default_convert

from wemoe_pl.data.corruptions.task import Corruption
from wemoe_pl.data.image_sets import ImageSet, ImageSets
from wemoe_pl.data.loading_workers import as_many_as_cores
from wemoe_pl.data.noting import NotingData
from wemoe_pl.data.open_files import allow_open_files
from wemoe_pl.data.samplers import ALONE, CountFrom, Share, WholeBatches, places_of_few
from wemoe_pl.data.streams import Batch, LabelledImage, NoTask, StepBatches, TaskBatches
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import Split
from wemoe_pl.data.to_classify import NamedImage, ToClassify
from wemoe_pl.errors import ConfigError, at_least


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
        streamed = corruption if stream == "test" and adapt_on == "corrupted" else None
        self.sets = ImageSets(
            suite,
            streamed=[ImageSet(task, stream, streamed) for task in stream_tasks],
            scored=[ImageSet(task, "test", corruption) for task in scored_tasks],
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
            check_split(self.batch_size, self.share.processes)
        for wanted in self.sets.of_stage(stage):
            self.sets.load(wanted)

    def train_dataloader(self) -> DataLoader[Batch]:
        """The stream, from the step that the trainer has reached."""
        assert self.trainer is not None  # Lightning sets it before it asks for loaders
        tasks = {task: self.sets.load(wanted) for task, wanted in self.sets.streamed.items()}
        batches = StepBatches(tasks, self.batch_size, self.tasks_per_batch, self.seed, self.share)
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


class TaskData(VisionData):
    """One task: its labelled training images to fine-tune on, its test images to score on.

    Args:
        suite: what the task belongs to.
        task: its name.
        batch_size: images per step.
        **options: `test_batch_size` to `images` of `VisionData`.
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
    """Several tasks at once: every step has a batch of each; all tasks are scored.

    Args:
        suite: the tasks, all of which are scored.
        stream: "test" adapts on test images of the tasks that have an expert (labels are not
            looked at), "train" on their labelled training images. Without experts, all tasks.
        batch_size: images per task and step.
        tasks_per_batch: split each step into batches of so many tasks, to save memory; set
            `trainer.accumulate_grad_batches` to the number of batches. By default one batch.
        **options: `test_batch_size` to `adapt_on` of `VisionData`.
    """

    def __init__(
        self,
        suite: Suite,
        stream: Split = "test",
        batch_size: int = 16,
        tasks_per_batch: int | None = None,
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


def first_of_each(labels: Sequence[int], count: int | None) -> list[int]:
    """The places of the first `count` of every label, or of all if that is None.

    >>> first_of_each([2, 0, 2, 2, 0], 1)
    [0, 1]
    """
    seen: Counter[int] = Counter()
    places = []
    for place, label in enumerate(labels):
        seen[label] += 1
        if count is None or seen[label] <= count:
            places.append(place)
    return places


def next_batch(trainer: L.Trainer) -> int:
    """The batch that an epoch of a fit begins with: no batch comes again, but when overfitting."""
    done = trainer.global_step * trainer.accumulate_grad_batches
    repeated = int(getattr(trainer, "overfit_batches", 0))
    return done % repeated if repeated else done


def check_steps(trainer: L.Trainer, batches: StepBatches, tasks_per_batch: int) -> None:
    """Raise `ConfigError` unless the trainer accumulates just the batches that make a step."""
    groups, accumulated = len(batches.groups), trainer.accumulate_grad_batches
    if len(batches.tasks) > 1 and groups != accumulated:
        raise ConfigError(
            f"tasks_per_batch {tasks_per_batch} splits a step into {groups} batches: "
            f"set trainer.accumulate_grad_batches to {groups} (it is {accumulated})."
        )
    interval = trainer.val_check_interval
    if isinstance(interval, int) and interval % accumulated:
        raise ConfigError(
            f"trainer.val_check_interval {interval} counts batches, {accumulated} of which "
            f"make a step (trainer.accumulate_grad_batches): give a multiple of {accumulated}."
        )


def check_split(batch_size: int, processes: int) -> None:
    """Raise `ConfigError` unless a step's images of a task split evenly over the processes."""
    if batch_size % processes:
        nearest = processes * max(1, round(batch_size / processes))
        raise ConfigError(
            f"data.batch_size {batch_size} does not split evenly over {processes} devices, which "
            f"share the images of a step: set it to {nearest}, or take another number of devices."
        )
