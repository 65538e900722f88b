"""Streams that follow from (seed, step) alone, and ordered loaders that miss no image."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from wemoe_pl.data.datamodule import MultiTaskData, TaskData
from wemoe_pl.data.image_sets import ImageSet
from wemoe_pl.data.miniature import CLASSES, MiniatureTask, RenderedImages
from wemoe_pl.data.samplers import ALONE, Share
from wemoe_pl.data.streams import Batch, StepBatches
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import UNLABELLED, ImageFolderTask, Split
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.errors import CheckpointError, ConfigError, DataError
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.finetune import ExpertFineTuning

SPLITS: tuple[Split, Split] = ("train", "test")
TASKS = ["cars", "dtd", "mnist"]
SIZE = 20  # images per split and task of the tiny suite


def batches(suite: Suite, seed: int = 0, batch_size: int = 8) -> StepBatches:
    data = MultiTaskData(suite)
    tasks = {task: data.sets.load(ImageSet(task, "test")) for task in suite.tasks}
    return StepBatches(tasks, batch_size, len(tasks), seed)


def stream(
    data: VisionData, count: int, step: int = 0, accumulated: int = 1, share: Share = ALONE
) -> list[Batch]:
    """The first batches that a trainer gets when it has done `step` steps."""
    process = {"global_rank": share.rank, "world_size": share.processes}
    trainer: Any = SimpleNamespace(
        global_step=step, accumulate_grad_batches=accumulated, val_check_interval=1.0, **process
    )
    data.trainer = trainer
    return list(islice(data.train_dataloader(), count))


def assert_same(one: Any, other: Any) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("step", [0, 3, 7])
def test_a_batch_follows_from_seed_and_step(tiny_suite: Suite, step: int) -> None:
    assert_same(
        stream(MultiTaskData(tiny_suite, seed=5), 8)[step], batches(tiny_suite, 5, 16)[step]
    )


def test_batches_do_not_depend_on_the_number_of_workers(tiny_suite: Suite) -> None:
    alone, helped = (
        stream(MultiTaskData(tiny_suite, batch_size=4, num_workers=n), 5) for n in (0, 2)
    )
    assert_same(alone, helped)


@pytest.mark.parametrize(("per_batch", "groups"), [(1, 3), (2, 2)])
def test_a_step_that_is_split_by_task_has_the_same_images(
    tiny_suite: Suite, per_batch: int, groups: int
) -> None:
    whole = stream(MultiTaskData(tiny_suite), count=3)
    split = stream(
        MultiTaskData(tiny_suite, tasks_per_batch=per_batch), 3 * groups, accumulated=groups
    )
    for step, expected in enumerate(whole):
        parts = split[groups * step : groups * (step + 1)]
        assert [task for part in parts for task in part] == TASKS
        assert_same({task: batch for part in parts for task, batch in part.items()}, expected)


def test_a_split_step_must_be_accumulated(tiny_suite: Suite) -> None:
    with pytest.raises(
        ConfigError,
        match=r"tasks_per_batch 1 splits .* 3 batches: set trainer\.accumulate_grad_batches to 3 "
        r"\(it is 2\)",
    ):
        stream(MultiTaskData(tiny_suite, tasks_per_batch=1), 1, accumulated=2)


@pytest.mark.parametrize(("per_batch", "accumulated"), [(None, 1), (1, 3)])
def test_a_resumed_stream_goes_on_where_the_trainer_stopped(
    tiny_suite: Suite, per_batch: int | None, accumulated: int
) -> None:
    data = MultiTaskData(tiny_suite, tasks_per_batch=per_batch)
    uninterrupted = stream(data, count=4 * accumulated, accumulated=accumulated)
    resumed = stream(data, count=2 * accumulated, step=2, accumulated=accumulated)
    assert_same(resumed, uninterrupted[2 * accumulated :])


def test_scoring_covers_all_test_images_in_order(tiny_suite: Suite) -> None:
    data = MultiTaskData(tiny_suite, test_batch_size=8)
    for loaders in (data.test_dataloader(), data.val_dataloader()):
        for task, loader in zip(TASKS, loaders, strict=True):
            parts = [batch[task] for batch in loader]
            assert [len(labels) for _, labels in parts] == [8, 8, 4]
            images, labels = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
            expected = [data.sets.load(ImageSet(task, "test"))[index] for index in range(SIZE)]
            assert_same(images, torch.stack([image for image, _ in expected]))
            assert labels.tolist() == [label for _, label in expected]


@pytest.mark.parametrize(("per_batch", "accumulated"), [(None, 1), (1, 3)])
def test_the_shares_of_all_processes_are_the_batch_of_one(
    tiny_suite: Suite, per_batch: int | None, accumulated: int
) -> None:
    data = MultiTaskData(tiny_suite, batch_size=8, tasks_per_batch=per_batch)
    count = 2 * accumulated
    whole = stream(data, count, accumulated=accumulated)
    shares = [stream(data, count, accumulated=accumulated, share=Share(r, 4)) for r in range(4)]
    for expected, *parts in zip(whole, *shares, strict=True):
        for task, (images, labels) in expected.items():
            assert all(len(part[task][1]) == 2 for part in parts)
            assert_same(torch.cat([part[task][0] for part in parts]), images)
            assert_same(torch.cat([part[task][1] for part in parts]), labels)


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_test_images_are_dealt_out_in_whole_batches(tiny_suite: Suite, processes: int) -> None:
    data = MultiTaskData(tiny_suite, test_batch_size=8)
    whole = [list(loader) for loader in data.test_dataloader()]
    shares = []
    for rank in range(processes):
        trainer: Any = SimpleNamespace(global_rank=rank, world_size=processes)
        data.trainer = trainer
        shares.append([list(loader) for loader in data.test_dataloader()])
    for place, batches_of_task in enumerate(whole):
        for number, batch in enumerate(batches_of_task):
            turn, rank = divmod(number, processes)
            assert_same(shares[rank][place][turn], batch)
        dealt = [batch for share in shares for batch in share[place] if batch]
        assert len(dealt) == len(batches_of_task) == 3
    assert all(len(loader) > 0 for share in shares for loader in share)  # also of the fourth


def test_adaptation_streams_test_images_and_fine_tuning_training_images(
    tiny_suite: Suite,
) -> None:
    def streamed(data: VisionData) -> Tensor:
        return stream(data, count=1)[0]["cars"][0]

    data = MultiTaskData(tiny_suite)
    train, test = (
        torch.cat([batch["cars"][0] for batch in data.ordered_loader(ImageSet("cars", split))])
        for split in SPLITS
    )
    every = batches(tiny_suite, batch_size=SIZE).indices("cars", 0)
    assert_same(streamed(MultiTaskData(tiny_suite, batch_size=SIZE)), test[every])
    assert_same(streamed(TaskData(tiny_suite, "cars", batch_size=SIZE)), train[every])


def test_only_tasks_with_an_expert_are_adapted_but_all_are_scored(tiny_suite: Suite) -> None:
    fewer = replace(tiny_suite, experts={"dtd": tiny_suite.experts["dtd"]})
    data = MultiTaskData(fewer)
    assert (list(data.sets.streamed), list(data.sets.scored)) == (["dtd"], TASKS)
    assert list(MultiTaskData(replace(tiny_suite, experts={})).sets.streamed) == TASKS


def test_a_miniature_image_is_scaled_to_minus_one_to_one(tiny_suite: Suite) -> None:
    data = MultiTaskData(tiny_suite)
    picture = np.asarray(tiny_suite.task("cars").images("test")[3][0])
    expected = (torch.tensor(picture).permute(2, 0, 1) / 255 - 0.5) / 0.5
    torch.testing.assert_close(data.sets.load(ImageSet("cars", "test"))[3][0], expected)


def test_the_border_of_a_larger_image_is_kept(tiny_suite: Suite) -> None:
    framed = Image.new("RGB", (84, 84), "white")
    framed.paste(Image.new("RGB", (78, 78), "black"), (3, 3))
    image = MultiTaskData(tiny_suite).preprocessing(framed)
    edges = torch.cat([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]])
    assert image.shape == (3, 28, 28)
    assert edges.min() > 0.5 > -0.5 > image[:, 14, 14].max()


def test_few_shots_are_the_first_images_of_every_class(tiny_suite: Suite) -> None:
    data = MultiTaskData(tiny_suite)
    labels = torch.cat([batch[1] for batch in data.few_shots("mnist", 1)])
    assert sorted(labels.tolist()) == list(range(10))
    everything = torch.cat([batch[1] for batch in data.few_shots("mnist", None)])
    assert len(everything) == SIZE


@pytest.mark.parametrize("size", ["batch_size", "test_batch_size", "tasks_per_batch"])
def test_a_batch_has_at_least_one(tiny_suite: Suite, size: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{size} is 0: give a number from 1\.$"):
        MultiTaskData(tiny_suite, **{size: 0})  # type: ignore[arg-type]


def test_there_are_no_fewer_than_no_workers(tiny_suite: Suite) -> None:
    with pytest.raises(ConfigError, match=r"num_workers is -1: give a number from 0"):
        TaskData(tiny_suite, "cars", num_workers=-1)


def test_an_unknown_task_is_named_with_the_nearest(tiny_suite: Suite) -> None:
    with pytest.raises(ConfigError, match=r"no task 'crs'\. Did you mean 'cars'"):
        TaskData(tiny_suite, "crs")


# --- splits ----------------------------------------------------------------------------------


def test_a_job_reads_no_split_but_its_own(tiny_suite: Suite) -> None:
    data = MultiTaskData(tiny_suite)
    stream(data, count=1)
    data.test_dataloader()
    assert set(data.sets._loaded) == set(data.sets.all)


# --- before a stage --------------------------------------------------------------------------


def set_up(data: VisionData, stage: str, devices: int = 1) -> set[ImageSet]:
    """The splits whose lists of images a stage reads."""
    trainer: Any = SimpleNamespace(global_rank=0, world_size=devices, lightning_module=None)
    data.trainer = trainer
    data.setup(stage)
    return set(data.sets._loaded)


def test_a_stage_reads_the_lists_of_images_that_it_is_about(tiny_suite: Suite) -> None:
    assert set_up(TaskData(tiny_suite, "dtd"), "fit") == {
        ImageSet("dtd", "train"),
        ImageSet("dtd", "test"),
    }
    data = MultiTaskData(tiny_suite, stream="train")
    assert set_up(data, "fit") == set(data.sets.all)
    for stage in ("validate", "test"):
        assert set_up(TaskData(tiny_suite, "dtd"), stage) == {ImageSet("dtd", "test")}
        assert set_up(MultiTaskData(tiny_suite, stream="train"), stage) == {
            ImageSet(task, "test") for task in TASKS
        }
    assert set_up(MultiTaskData(tiny_suite), "predict") == set()


def test_a_list_of_images_is_read_once(tiny_suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[str, Split]] = []
    render = MiniatureTask.images

    def images(task: MiniatureTask, split: Split) -> RenderedImages:
        read.append((task.name, split))
        return render(task, split)

    monkeypatch.setattr(MiniatureTask, "images", images)
    data = MultiTaskData(tiny_suite)
    set_up(data, "fit")
    stream(data, count=1)
    data.val_dataloader()
    set_up(data, "test")
    data.test_dataloader()
    assert read == [(task, "test") for task in TASKS]


@pytest.mark.parametrize(
    ("batch_size", "devices", "nearest"), [(16, 3, 15), (5, 2, 4), (2, 4, 4), (1, 2, 2)]
)
def test_a_step_must_split_evenly_over_the_devices(
    tiny_suite: Suite, batch_size: int, devices: int, nearest: int
) -> None:
    data = MultiTaskData(tiny_suite, batch_size=batch_size)
    with pytest.raises(ConfigError) as error:
        set_up(data, "fit", devices)
    assert str(error.value) == (
        f"data.batch_size {batch_size} does not split evenly over {devices} devices, which share "
        f"the images of a step: set it to {nearest}, or take another number of devices."
    )
    set_up(data, "test", devices)
    set_up(MultiTaskData(tiny_suite, batch_size=nearest), "fit", devices)


def test_what_is_wrong_with_images_is_said_before_models_are_read(
    tiny_suite: Suite, quiet_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    without_models = replace(tiny_suite, pretrained=str(tmp_path / "nowhere.safetensors"))
    absent = ImageFolderTask(test=str(tmp_path / "absent"), class_names=CLASSES["dtd"])
    both = replace(without_models, tasks=tiny_suite.tasks | {"dtd": absent})
    for suite, error in ((without_models, CheckpointError), (both, DataError)):
        trainer, data = quiet_trainer(max_steps=1), MultiTaskData(suite)
        for run in (trainer.fit, trainer.validate, trainer.test):
            with pytest.raises(error, match=r"There is no fol.*absent|There is no file.*nowhere"):
                run(TestTimeAdaptation(suite, WEMoE()), datamodule=data)


def test_validation_is_measured_in_whole_steps(tiny_suite: Suite) -> None:
    data = MultiTaskData(tiny_suite, tasks_per_batch=1)
    trainer: Any = SimpleNamespace(
        global_step=0, accumulate_grad_batches=3, val_check_interval=4, global_rank=0, world_size=1
    )
    data.trainer = trainer
    with pytest.raises(ConfigError, match=r"val_check_interval 4 counts .* a multiple of 3\.$"):
        data.train_dataloader()
    trainer.val_check_interval = 6
    data.train_dataloader()


# --- cached ----------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEMOE_PL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_cached_images_are_the_same_to_the_bit(tiny_suite: Suite, cache: Path) -> None:
    plain, cached = (MultiTaskData(tiny_suite, cache_images=c) for c in (False, True))
    assert_same(stream(cached, 3), stream(plain, 3))
    for one, other in zip(cached.test_dataloader(), plain.test_dataloader(), strict=True):
        assert_same(list(one), list(other))
    assert len(list((cache / "pixels").glob("*.npy"))) == len(TASKS)


def test_nothing_is_cached_unless_asked_for(tiny_suite: Suite, cache: Path) -> None:
    stream(MultiTaskData(tiny_suite), 1)
    assert not cache.exists()


def test_cached_images_are_decoded_once_in_all_jobs(
    tiny_suite: Suite, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stream(MultiTaskData(tiny_suite, cache_images=True), 3)

    def decode(images: RenderedImages, index: int) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(RenderedImages, "__getitem__", decode)
    assert_same(stream(MultiTaskData(tiny_suite, cache_images=True), 3), before)
    with pytest.raises(AssertionError, match="decoded again"):
        stream(MultiTaskData(tiny_suite), 1)


def test_workers_share_the_cache(tiny_suite: Suite, cache: Path) -> None:
    alone, helped = (
        stream(MultiTaskData(tiny_suite, cache_images=True, batch_size=4, num_workers=n), 3)
        for n in (0, 2)
    )
    assert_same(alone, helped)


# --- without labels --------------------------------------------------------------------------


@pytest.fixture
def unlabelled(tiny_suite: Suite, tmp_path: Path) -> Suite:
    """The suite, DTD's images without labels."""
    for i in range(5):
        Image.new("RGB", (28, 28), (i, i, i)).save(tmp_path / f"{i}.png")
    task = ImageFolderTask(train=str(tmp_path), test=str(tmp_path), labelled=False)
    return replace(tiny_suite, tasks=tiny_suite.tasks | {"dtd": task})


@pytest.mark.parametrize("cached", [False, True])
def test_images_without_labels_are_streamed_and_gone_through(
    unlabelled: Suite, cached: bool
) -> None:
    data = MultiTaskData(unlabelled, batch_size=5, cache_images=cached)
    images, labels = stream(data, count=1)[0]["dtd"]
    assert labels.tolist() == [UNLABELLED] * 5
    assert len(images.unique(dim=0)) == 5
    [batch] = data.ordered_loader(ImageSet("dtd", "test"))
    assert batch["dtd"][1].tolist() == [UNLABELLED] * 5


def test_images_without_labels_are_not_trained_on(unlabelled: Suite) -> None:
    complaint = r"Training images of 'dtd' have no labels: give labelled ones"
    with pytest.raises(DataError, match=complaint):
        MultiTaskData(unlabelled).few_shots("dtd", 1)
    assert stream(TaskData(unlabelled, "cars"), count=1)


def test_images_without_labels_are_refused_for_training_before_models_are_read(
    unlabelled: Suite, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    suite = replace(unlabelled, pretrained="nowhere.safetensors")
    with pytest.raises(DataError, match=r"Training images of 'dtd' have no labels"):
        quiet_trainer(max_steps=1).fit(ExpertFineTuning(suite, "dtd"), TaskData(suite, "dtd"))
