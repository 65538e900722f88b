"""Corrupted test images depend on seed and index alone; all else is the task's own."""

from dataclasses import replace
from typing import Any

import pytest
from helpers.plain_images import random_image
from numpy.random import default_rng
from PIL import Image
from torch.utils.data import DataLoader

from wemoe_pl.data.corruptions.severities import CORRUPTIONS, SEVERITIES, corrupt
from wemoe_pl.data.corruptions.task import CorruptedImages, CorruptedTask, Corruption
from wemoe_pl.data.miniature import MiniatureTask
from wemoe_pl.data.tasks import ImageFolderTask, PaperTask, ParquetTask, hashed
from wemoe_pl.errors import ConfigError


@pytest.fixture(scope="module")
def pictures() -> MiniatureTask:
    return MiniatureTask("cars", train_size=12, test_size=12)


def as_bytes(images: list[tuple[Image.Image, int]]) -> list[tuple[bytes, int]]:
    return [(image.tobytes(), label) for image, label in images]


@pytest.mark.parametrize("kind", CORRUPTIONS)
@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_is_the_same_in_any_order_and_by_any_worker(
    kind: str, workers: int, pictures: MiniatureTask
) -> None:
    images = CorruptedImages(pictures.images("test"), kind, seed=4)
    one_by_one = as_bytes([images[i] for i in range(12)])
    order = [7, 3, 11, 0, 3, 5]
    loader: Any = DataLoader(
        images,  # type: ignore[arg-type]
        sampler=order,
        batch_size=2,
        num_workers=workers,
        collate_fn=list,
    )
    loaded = [image for batch in loader for image in batch]
    assert as_bytes(loaded) == [one_by_one[i] for i in order]


class Alike:
    """Twelve times the same image."""

    labels = tuple(range(12))
    fingerprint = identity = "alike"

    def name(self, index: int) -> str:
        return f"alike {index}"

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return random_image(64, 64), index


@pytest.mark.parametrize("kind", ["gaussian_noise", "impulse_noise", "motion_blur", "spatter"])
def test_what_is_drawn_differs_by_index_and_seed(kind: str) -> None:
    drawn = [CorruptedImages(Alike(), kind, 2, seed)[i][0].tobytes()
             for seed in range(2) for i in range(12)]  # fmt: skip
    at_least = 15 if kind == "motion_blur" else 24  # two angles may round to one line
    assert len(set(drawn)) >= at_least


def test_a_corrupted_split_keeps_labels_and_names() -> None:
    images = CorruptedImages(Alike(), "contrast")
    assert len(images) == 12
    assert images.labels == Alike.labels
    assert [images[i][1] for i in range(12)] == list(range(12))
    assert images.name(3) == "alike 3"


def test_fingerprints_and_identities_tell_all_that_determines_the_images_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = CorruptedImages(Alike(), "pixelate")
    others = [
        replace(images, kind="contrast"),
        replace(images, severity=3),
        replace(images, seed=1),
        replace(images, published_pixelate=True),
        replace(images, images=images),
    ]
    assert replace(images).fingerprint == images.fingerprint
    found = {each.fingerprint for each in [images, *others]}
    identities = {each.identity for each in [images, *others]}
    monkeypatch.setattr("wemoe_pl.data.corruptions.task.__version__", "another")
    found |= {images.fingerprint, Alike.fingerprint}
    assert len(found) == 8
    assert images.identity in identities
    assert len(identities | {Alike.identity}) == 7


def test_water_is_told_apart_from_what_earlier_versions_made_of_it() -> None:
    identities = {s: CorruptedImages(Alike(), "spatter", s).identity for s in SEVERITIES}
    earlier = {s: hashed("corrupted", "alike", f"spatter {s} 0 False") for s in SEVERITIES}
    assert [identities[s] == earlier[s] for s in SEVERITIES] == [False] * 3 + [True] * 2


# --- corrupted tasks -------------------------------------------------------------------------


def test_test_images_are_corrupted_and_training_images_are_not(pictures: MiniatureTask) -> None:
    task = CorruptedTask(pictures, "gaussian_noise", severity=3, seed=7)
    clean, corrupted = pictures.images("test"), task.images("test")
    for index in (0, 11):
        stream = default_rng([7, 0xDCC2D80C, 3, index])  # that CRC-32 is gaussian_noise's
        expected = corrupt(clean[index][0], "gaussian_noise", 3, stream)
        assert corrupted[index] == (expected, clean[index][1])
        assert expected != clean[index][0]
    assert corrupted.fingerprint != clean.fingerprint
    train, as_given = task.images("train"), pictures.images("train")
    assert train.fingerprint == as_given.fingerprint
    assert as_bytes([train[i] for i in range(12)]) == as_bytes([as_given[i] for i in range(12)])


def test_all_else_is_the_tasks_own() -> None:
    inner = PaperTask("eurosat")
    task = CorruptedTask(inner, "spatter")
    assert (task.classes, task.prompts) == (inner.classes, inner.prompts)
    assert task.orders == inner.orders
    request, own = task.hub_files("test"), inner.hub_files("test")
    assert request is not None
    assert own is not None
    assert (request.repo, request.wanted) == (own.repo, own.wanted)
    assert CorruptedTask(MiniatureTask("dtd"), "spatter").hub_files("test") is None


def test_a_corruption_makes_a_corrupted_task_of_any(pictures: MiniatureTask) -> None:
    corruption = Corruption("pixelate", severity=3, seed=5, published_pixelate=True)
    assert corruption.task(pictures) == CorruptedTask(pictures, "pixelate", 3, 5, True)
    assert corruption.task(pictures).images("test")[0][0].size == (32, 32)
    assert Corruption("spatter").task(pictures) == CorruptedTask(pictures, "spatter", 2, 0)


def test_published_images_are_a_split_of_the_papers_task() -> None:
    task = PaperTask("gtsrb", source="somebody/signs", corrupt="skip")
    published = Corruption("spatter", source="published").task(task)
    assert published == replace(task, corruption="spatter")


@pytest.mark.parametrize("name", ["sun397", "svhn", "mnist", "dtd"])
def test_a_task_of_the_paper_without_published_images_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}' .* only of cars, resisc45, eurosat, gtsrb: "):
        Corruption("spatter", source="published").task(PaperTask(name))


@pytest.mark.parametrize("task", [MiniatureTask("cars"), ImageFolderTask(), ParquetTask("a/b")])
def test_other_tasks_have_no_published_images(task: Any) -> None:
    message = f"No corrupted images of a {type(task).__name__} .* `source: made` makes them"
    with pytest.raises(ConfigError, match=message):
        Corruption("spatter", source="published").task(task)


def test_there_is_one_published_severity() -> None:
    with pytest.raises(ConfigError, match="published at severity 2, not 3: `source: made` makes"):
        Corruption("spatter", severity=3, source="published")
