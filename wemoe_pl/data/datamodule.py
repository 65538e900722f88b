"""LightningDataModules: streams to train or adapt on, and one ordered loader per task to score on.

Of several processes each gets its share, and all together what one alone would get.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from functools import cached_property, partial
from typing import Any, Literal, NamedTuple

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.data import DataLoader, Subset

from wemoe_pl.data.contents import Contents
from wemoe_pl.data.corruptions.task import Corruption
from wemoe_pl.data.pixel_cache import cached_pixels
from wemoe_pl.data.preprocessing import Preprocessing
from wemoe_pl.data.streams import (
    ALONE,
    Batch,
    CountFrom,
    LabelledImage,
    NamedImage,
    NamedImages,
    NoTask,
    PreparedImages,
    SeenBatch,
    Share,
    StepBatches,
    TaskImages,
    WholeBatches,
    collate_named,
)
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import UNLABELLED, Images, Split, VisionTask, find_images
from wemoe_pl.errors import ConfigError, DataError, at_least


class ImageSet(NamedTuple):
    """Some images that a job reads: a split of a task, as it is or corrupted."""

    task: str
    split: Split
    corrupted: bool = False

    @property
    def name(self) -> str:
        """What the set is called in messages and checkpoints."""
        return f"{'corrupted ' if self.corrupted else ''}{self.split} images of '{self.task}'"


class VisionData(L.LightningDataModule):
    """A shuffled stream of `stream_tasks`, and ordered test images of `scored_tasks`.

    Attributes:
        answered: the first image of every batch that `predict` need not look at again.
    """

    def __init__(
        self,
        suite: Suite,
        stream_tasks: Sequence[str],
        scored_tasks: Sequence[str],
        stream: Split,
        batch_size: int,
        tasks_per_batch: int,
        test_batch_size: int,
        num_workers: int,
        seed: int,
        cache_images: bool,
        images: str | None,
        corruption: Corruption | None = None,
        adapt_on: Literal["corrupted", "clean"] = "corrupted",
    ):
        super().__init__()
        self.suite = suite
        self.stream_tasks = list(stream_tasks)
        self.scored_tasks = list(scored_tasks)
        self.stream = stream
        self.batch_size = at_least(1, "batch_size", batch_size)
        self.tasks_per_batch = at_least(1, "tasks_per_batch", tasks_per_batch)
        self.test_batch_size = at_least(1, "test_batch_size", test_batch_size)
        self.num_workers = at_least(0, "num_workers", num_workers)
        self.seed = seed
        self.images = images
        self.cache_images = cache_images
        self.preprocessing = Preprocessing(suite.backbone)
        self.corruption = corruption
        self.adapt_on = adapt_on
        self.answered: Collection[int] = ()
        self.contents = Contents()
        self._loaded: dict[ImageSet, PreparedImages] = {}
        # Of fewer images than processes, some process predicts none.
        self.allow_zero_length_dataloader_with_multiple_devices = True

    @property
    def share(self) -> Share:
        """What of the images this process gets."""
        trainer = self.trainer
        return Share(trainer.global_rank, trainer.world_size) if trainer else ALONE

    @property
    def image_sets(self) -> list[ImageSet]:
        """All images that the job reads."""
        return list(dict.fromkeys([*map(self.streamed, self.stream_tasks), *self._scored]))

    def streamed(self, task: str) -> ImageSet:
        """The images of a task that the stream is made of."""
        corrupted = self.corruption is not None and self.adapt_on == "corrupted"
        return ImageSet(task, self.stream, corrupted and self.stream == "test")

    def scored(self, task: str) -> ImageSet:
        """The images of a task that are scored."""
        return ImageSet(task, "test", self.corruption is not None)

    @property
    def _scored(self) -> list[ImageSet]:
        return [self.scored(task) for task in self.scored_tasks]

    def setup(self, stage: str) -> None:
        """Read the lists of images that a stage is about, before models are built in vain."""
        if stage == "fit":
            check_split(self.batch_size, self.share.processes)
        for each in {"fit": self.image_sets, "predict": []}.get(stage, self._scored):
            self.load(each)
        module = self.trainer and self.trainer.lightning_module
        if stage == "fit" and getattr(module, "needs_labels", False):
            for task in self.stream_tasks:
                self.labelled(self.streamed(task))

    def train_dataloader(self) -> DataLoader[Batch]:
        """The stream, from the step that the trainer has reached."""
        tasks = {task: self.load(self.streamed(task)) for task in self.stream_tasks}
        batches = StepBatches(tasks, self.batch_size, self.tasks_per_batch, self.seed, self.share)
        assert self.trainer is not None  # Lightning sets it before it asks for loaders
        groups, accumulated = len(batches.groups), self.trainer.accumulate_grad_batches
        if len(self.stream_tasks) > 1 and groups != accumulated:
            raise ConfigError(
                f"tasks_per_batch {self.tasks_per_batch} splits a step into {groups} batches: "
                f"set trainer.accumulate_grad_batches to {groups} (it is {accumulated})."
            )
        interval = self.trainer.val_check_interval
        if isinstance(interval, int) and interval % accumulated:
            raise ConfigError(
                f"trainer.val_check_interval {interval} counts batches, {accumulated} of which "
                f"make a step (trainer.accumulate_grad_batches): give a multiple of {accumulated}."
            )
        return DataLoader(
            batches,
            batch_size=None,
            sampler=CountFrom(partial(next_batch, self.trainer)),
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """The same loaders as for the test: adaptation and scoring use the test images."""
        return self.test_dataloader()

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """One ordered loader per scored task; a batch says which task it is of."""
        return [self.ordered_loader(each) for each in self._scored]

    def ordered_loader(self, images: ImageSet) -> DataLoader[Any]:
        """All images of a set, once, in order, as batches that name the task.

        A process that has no share of them gets a batch of no task: without any batch at all,
        Lightning would leave it out, and the others would wait for it in vain.
        """
        loaded = self.load(images)
        mine = WholeBatches(len(loaded), self.test_batch_size, self.share)
        if not mine:
            return DataLoader(NoTask(), batch_size=None)
        return DataLoader(
            TaskImages(images.task, loaded),
            sampler=mine,
            batch_size=self.test_batch_size,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            collate_fn=as_it_is,
        )

    @cached_property
    def to_classify(self) -> Images:
        """What `predict` is about."""
        if self.images is None:
            raise ConfigError(
                "There is nothing to predict: give a folder, a pattern or parquet files with "
                "--data.images."
            )
        return find_images(self.images)

    @property
    def batches_to_classify(self) -> range:
        """The place of the first image of each of their batches."""
        return range(0, len(self.to_classify), self.test_batch_size)

    def predict_dataloader(self) -> DataLoader[NamedImage]:
        """The images `to_classify` in their order, but those that are answered already."""
        images = self.to_classify
        return DataLoader(
            NamedImages(images, self.preprocessing),
            sampler=WholeBatches(len(images), self.test_batch_size, self.share, self.answered),
            batch_size=self.test_batch_size,
            num_workers=self.num_workers,
            collate_fn=collate_named,
        )

    def few_shots(self, task: str, shots: int | None) -> DataLoader[LabelledImage]:
        """The first `shots` training images of every class of a task, or all of them."""
        images = self.labelled(ImageSet(task, "train"))
        counts: Counter[int] = Counter()
        chosen = []
        for index, label in enumerate(images.images.labels):
            counts[label] += 1
            if shots is None or counts[label] <= shots:
                chosen.append(index)
        return DataLoader(Subset(images, chosen), batch_size=self.test_batch_size)

    def load(self, wanted: ImageSet) -> PreparedImages:
        """The images of a set; read once."""
        if wanted not in self._loaded:
            images = self.task(wanted).images(wanted.split)
            cached = self.cache_images
            pixels = cached_pixels(images, self.preprocessing, wanted.task) if cached else None
            self._loaded[wanted] = PreparedImages(images, self.preprocessing, pixels, wanted.name)
            self.contents.expect(wanted.name, images)
        return self._loaded[wanted]

    def identities(self, stage: Literal["fit", "test"]) -> dict[str, str]:
        """Which images a job of this kind reads, by the names of their sets."""
        wanted = self.image_sets if stage == "fit" else self._scored
        return {each.name: self.load(each).images.identity for each in wanted}

    # What the images look like

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Note what the images of a batch look like, and compare them with what they were."""
        if not isinstance(batch, SeenBatch):
            return batch
        for seen in batch.seen:
            self.contents.note(seen)
        return dict(batch)

    def state_dict(self) -> dict[str, Any]:
        """What the images looked like that all processes have read."""
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        return {"contents": self.contents.of_all_processes(device)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Expect the images of a fit that goes on to look as they did."""
        if self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            self.contents.recall(state_dict["contents"])

    def labelled(self, wanted: ImageSet) -> PreparedImages:
        """The images of a set, every one of which must have a label."""
        images = self.load(wanted)
        if UNLABELLED in images.images.labels:
            raise DataError(
                f"Training images of '{wanted.task}' have no labels: give labelled ones."
            )
        return images

    def task(self, wanted: ImageSet) -> VisionTask:
        """The task that has the images of a set."""
        task = self.suite.task(wanted.task)
        return self.corruption.task(task) if self.corruption and wanted.corrupted else task


class TaskData(VisionData):
    """One task: its labelled training images to fine-tune on, its test images to score on.

    Args:
        suite: what the task belongs to.
        task: its name.
        batch_size: images per step.
        test_batch_size: images per batch when scoring.
        num_workers: processes that load images; 0 loads them in the main one.
        seed: of the order of the images.
        cache_images: keep the resized images on disk (150 kB each at 224 pixels), so that only the
            first pass over them decodes.
        images: what `predict` classifies: a folder, a pattern such as "photos/*.jpg", or parquet
            files.
    """

    def __init__(
        self,
        suite: Suite,
        task: str,
        batch_size: int = 32,
        test_batch_size: int = 128,
        num_workers: int = 0,
        seed: int = 0,
        cache_images: bool = False,
        images: str | None = None,
    ):
        suite.task(task)
        super().__init__(
            suite,
            stream_tasks=[task],
            scored_tasks=[task],
            stream="train",
            batch_size=batch_size,
            tasks_per_batch=1,
            test_batch_size=test_batch_size,
            num_workers=num_workers,
            seed=seed,
            cache_images=cache_images,
            images=images,
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
        test_batch_size: images per batch when scoring.
        num_workers: processes that load images; 0 loads them in the main one.
        seed: of the order of the images.
        cache_images: keep the resized images on disk (150 kB each at 224 pixels), so that only the
            first pass over them decodes.
        images: what `predict` classifies: a folder, a pattern such as "photos/*.jpg", or parquet
            files.
        corruption: score, and adapt, on corrupted test images: which corruption, how severe.
        adapt_on: with a corruption, adapt on the "corrupted" test images or on the "clean" ones.
    """

    def __init__(
        self,
        suite: Suite,
        stream: Split = "test",
        batch_size: int = 16,
        tasks_per_batch: int | None = None,
        test_batch_size: int = 128,
        num_workers: int = 0,
        seed: int = 0,
        cache_images: bool = False,
        images: str | None = None,
        corruption: Corruption | None = None,
        adapt_on: Literal["corrupted", "clean"] = "corrupted",
    ):
        tasks = list(suite.tasks)
        streamed = list(suite.experts) or tasks
        per_batch = len(streamed) if tasks_per_batch is None else tasks_per_batch
        super().__init__(
            suite,
            stream_tasks=streamed,
            scored_tasks=tasks,
            stream=stream,
            batch_size=batch_size,
            tasks_per_batch=per_batch,
            test_batch_size=test_batch_size,
            num_workers=num_workers,
            seed=seed,
            cache_images=cache_images,
            images=images,
            corruption=corruption,
            adapt_on=adapt_on,
        )


def as_it_is(batch: Any) -> Any:
    """What a dataset has made a batch of already."""
    return batch


def next_batch(trainer: L.Trainer) -> int:
    """The batch that an epoch of a fit begins with: no batch comes again, but when overfitting."""
    done = trainer.global_step * trainer.accumulate_grad_batches
    repeated = int(getattr(trainer, "overfit_batches", 0))
    return done % repeated if repeated else done


def check_split(batch_size: int, processes: int) -> None:
    """Raise `ConfigError` unless a step's images of a task split evenly over the processes."""
    if batch_size % processes:
        nearest = processes * max(1, round(batch_size / processes))
        raise ConfigError(
            f"data.batch_size {batch_size} does not split evenly over {processes} devices, which "
            f"share the images of a step: set it to {nearest}, or take another number of devices."
        )
