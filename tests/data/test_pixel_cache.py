"""Pixels are kept once for all jobs, whole or not at all, and give the same images to the bit."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from helpers.plain_images import noise
from PIL import Image

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.data.pixel_cache import cached_pixels
from wemoe_pl.data.preprocessing import Preprocessing
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import DataError, WeMoEError

CLIP = Backbone("vit_base_patch32_clip_quickgelu_224", {"num_classes": 512})
TINY = Backbone("vit_tiny_patch16_224", {"img_size": 28, "patch_size": 14, "depth": 1})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without the pixels of other tests."""
    monkeypatch.setenv("WEMOE_PL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Pictures:
    """Images in memory, that count how often they are asked for."""

    def __init__(self, pictures: list[Image.Image], fingerprint: str = "some"):
        self.pictures = pictures
        self.labels = list(range(len(pictures)))
        self.fingerprint = self.identity = fingerprint
        self.asked: list[int] = []

    def name(self, index: int) -> str:
        return f"picture {index}"

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        self.asked.append(index)
        return self.pictures[index], self.labels[index]


@pytest.fixture
def pictures() -> Pictures:
    return Pictures([noise((20 + i, 30)) for i in range(5)])


@pytest.fixture(scope="module")
def tiny() -> Preprocessing:
    return Preprocessing(TINY)


def files_in(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.rglob("*") if path.is_file())


def test_cached_pixels_give_the_same_images_to_the_bit(
    pictures: Pictures, tiny: Preprocessing
) -> None:
    cached = cached_pixels(pictures, tiny, "some")
    for index, picture in enumerate(pictures.pictures):
        assert np.array_equal(cached[index], tiny.pixels(picture))
        assert torch.equal(tiny.normalise(cached[index]), tiny(picture))


def test_the_images_of_clip_come_out_of_the_cache_as_of_open_clip() -> None:
    image, clip = noise((301, 260)), Preprocessing(CLIP)
    cached = cached_pixels(Pictures([image]), clip, "some")
    expected = open_clip.transform.image_transform((224, 224), is_train=False)(image)
    assert torch.equal(clip.normalise(cached[0]), expected)


def test_pixels_are_put_in_the_cache_once(
    pictures: Pictures, tiny: Preprocessing, cache: Path
) -> None:
    first = cached_pixels(pictures, tiny, "some")
    again = Pictures(pictures.pictures)
    second = cached_pixels(again, tiny, "another name")
    assert (first, again.asked) == (second, [])
    assert files_in(cache) == [".lock", ".npy"]
    assert first.path.is_relative_to(cache)
    assert first.path.stat().st_size == pytest.approx(5 * 28 * 28 * 3, abs=200)


def test_what_is_read_can_be_changed_without_changing_the_cache(
    pictures: Pictures, tiny: Preprocessing
) -> None:
    cached = cached_pixels(pictures, tiny, "some")
    before = cached[0]
    cached[0][:] = 0
    assert np.array_equal(cached[0], before)
    assert before.any()


def test_a_split_has_a_file_of_its_own(
    pictures: Pictures, tiny: Preprocessing, cache: Path
) -> None:
    cached_pixels(pictures, tiny, "some")
    other = Pictures(pictures.pictures[::-1], "in another order")
    cached = cached_pixels(other, tiny, "some")
    assert np.array_equal(cached[0], tiny.pixels(pictures.pictures[-1]))
    assert files_in(cache).count(".npy") == 2


@pytest.mark.parametrize(
    "other",
    [replace(TINY, options=TINY.options | {"img_size": 42}), CLIP],
    ids=["another size", "another model"],
)
def test_a_preprocessing_has_a_file_of_its_own(
    other: Backbone, pictures: Pictures, tiny: Preprocessing
) -> None:
    ours = cached_pixels(pictures, tiny, "some")
    theirs = cached_pixels(pictures, Preprocessing(other), "some")
    assert ours.path != theirs.path
    assert theirs[0].shape != ours[0].shape or not np.array_equal(theirs[0], ours[0])


def test_backbones_that_differ_only_in_mean_and_deviation_share_a_file(pictures: Pictures) -> None:
    plain = Backbone("vit_base_patch32_clip_224", {"num_classes": 512})
    one, other = (cached_pixels(pictures, Preprocessing(b), "some") for b in (CLIP, plain))
    assert one == other


def test_another_version_of_pillow_has_a_file_of_its_own(
    pictures: Pictures, tiny: Preprocessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cached_pixels(pictures, tiny, "some")
    monkeypatch.setattr("PIL.__version__", "0.1")
    assert cached_pixels(pictures, tiny, "some") != before


def test_the_tasks_and_splits_of_a_suite_have_files_of_their_own(tiny_suite: Suite) -> None:
    preprocessing = Preprocessing(tiny_suite.backbone)
    paths = {
        cached_pixels(task.images(split), preprocessing, name).path
        for name, task in tiny_suite.tasks.items()
        for split in ("train", "test")
    }
    assert len(paths) == 6


# --- whole or not at all ---------------------------------------------------------------------


class Failing(Pictures):
    """One of them cannot be decoded after all."""

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        if index == 3:
            raise DataError("picture 3 is not a readable image")
        return super().__getitem__(index)


def test_nothing_is_left_behind_when_filling_fails_half_way(
    pictures: Pictures, tiny: Preprocessing, cache: Path
) -> None:
    with pytest.raises(DataError, match="picture 3 is not a readable image"):
        cached_pixels(Failing(pictures.pictures), tiny, "some")
    assert files_in(cache) == [".lock"]
    cached = cached_pixels(pictures, tiny, "some")  # the lock was let go of
    assert np.array_equal(cached[4], tiny.pixels(pictures.pictures[4]))


def test_a_disk_that_is_too_full_is_found_out_before_anything_is_written(
    pictures: Pictures, tiny: Preprocessing, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=11_000))
    with pytest.raises(DataError) as error:
        cached_pixels(pictures, tiny, "cars")
    assert str(error.value) == (
        "There is no space for the pixels of 'cars': 11.8 kB are needed and "
        f"{cache / 'pixels'} has 11 kB left. Set `cache_images: false`, or WEMOE_PL_CACHE to a "
        "folder on another disk."
    )
    assert pictures.asked in ([], [0])
    assert files_in(cache) == [".lock"]


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_behind(
    pictures: Pictures, tiny: Preprocessing, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.lib.format.write_array_header_1_0", full)
    with pytest.raises(WeMoEError, match="No space left on device"):
        cached_pixels(pictures, tiny, "some")
    assert files_in(cache) == [".lock"]


def test_of_several_at_once_one_fills_the_cache(
    pictures: Pictures, tiny: Preprocessing, cache: Path
) -> None:
    with ThreadPoolExecutor(4) as pool:
        files = list(pool.map(lambda _: cached_pixels(pictures, tiny, "some"), range(4)))
    assert len(set(files)) == 1
    assert sorted(pictures.asked) == [0, 0, 1, 2, 3, 4]  # the first also tells the size
    assert files_in(cache) == [".lock", ".npy"]


def test_grey_values_have_a_file_of_their_own() -> None:
    grey, image = (
        Preprocessing(replace(TINY, options={**TINY.options, "in_chans": 1})),
        noise((28, 28)),
    )
    kept = cached_pixels(Pictures([image]), grey, "some")[0]
    assert torch.equal(grey.normalise(kept), grey(image))
    coloured = cached_pixels(Pictures([image]), Preprocessing(TINY), "some")[0]
    assert coloured.shape == (28, 28, 3)
