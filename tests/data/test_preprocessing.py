"""Images become what their encoders were trained on, to the bit, also by way of the cache."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torch import Tensor

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.data.preprocessing import Preprocessing, cached_pixels, prepared_batches
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError, DataError, WeMoEError

CLIP = Backbone("vit_base_patch32_clip_quickgelu_224", {"num_classes": 512})
TINY = Backbone("vit_tiny_patch16_224", {"img_size": 28, "patch_size": 14, "depth": 1})
SIZES = [(224, 224), (32, 32), (28, 61), (501, 333), (225, 224), (640, 230), (3, 200)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without the pixels of other tests."""
    monkeypatch.setenv("WEMOE_PL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def noise(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(size)
    channels = {"RGB": 3, "RGBA": 4, "L": 1}[mode]
    shape = (size[1], size[0], channels) if channels > 1 else (size[1], size[0])
    return Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).convert("RGB")


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


# --- what an encoder takes -------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_clips_images_are_those_of_open_clip_to_the_bit(size: tuple[int, int], mode: str) -> None:
    image = noise(size, mode)
    theirs = open_clip.transform.image_transform((224, 224), is_train=False)
    expected: Tensor = theirs(image)
    assert expected.shape == (3, 224, 224)
    assert torch.equal(Preprocessing(CLIP)(image), expected)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    "name",
    ["vit_base_patch32_clip_quickgelu_224", "vit_base_patch16_224", "vit_small_patch14_dinov2"],
)
def test_images_are_those_of_timm_without_a_cropped_border(
    name: str, size: tuple[int, int]
) -> None:
    backbone, image = Backbone(name), noise(size)
    config = timm.get_pretrained_cfg(name)
    assert config is not None
    theirs = resolve_data_config({}, pretrained_cfg=config.to_dict())
    expected = create_transform(**{**theirs, "crop_pct": 1.0}, is_training=False)(image)
    assert isinstance(expected, Tensor)
    assert torch.equal(Preprocessing(backbone)(image), expected)


def test_timms_own_crop_would_be_another() -> None:
    """The trap: of most models, not of CLIP's, timm cuts a tenth of every side off."""
    backbone, image = Backbone("vit_base_patch16_224"), noise((224, 224))
    theirs = resolve_data_config({}, model=backbone.skeleton())
    assert theirs["crop_pct"] == 0.9
    cropped = create_transform(**theirs, is_training=False)(image)
    assert isinstance(cropped, Tensor)
    ours = Preprocessing(backbone)(image)
    assert cropped.shape == ours.shape
    assert not torch.equal(cropped, ours)
    whole = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255 * 2 - 1
    torch.testing.assert_close(ours, whole)


def test_a_backbone_of_another_size_gets_images_of_that_size(tiny: Preprocessing) -> None:
    assert tiny(noise((50, 40))).shape == (3, 28, 28)
    assert tiny.pixels(noise((50, 40))).shape == (28, 28, 3)


def test_the_two_halves_make_the_whole(tiny: Preprocessing) -> None:
    image = noise((50, 40))
    pixels = tiny.pixels(image)
    assert pixels.dtype == np.uint8
    assert torch.equal(tiny.normalise(pixels), tiny(image))


def test_many_at_once_are_the_same_to_the_bit() -> None:
    clip, images = Preprocessing(CLIP), [noise((301, 260)), noise((224, 224)), noise((230, 500))]
    together = clip.normalise(np.stack([clip.pixels(image) for image in images]))
    theirs = open_clip.transform.image_transform((224, 224), is_train=False)
    assert torch.equal(together, torch.stack([theirs(image) for image in images]))


# --- kept on disk ----------------------------------------------------------------------------


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


def test_a_picture_is_what_was_normalised(tmp_path: Path) -> None:
    preprocessing = Preprocessing(CLIP)
    pixels = np.random.default_rng(0).integers(256, size=(40, 50, 3), dtype=np.uint8)
    cropped = preprocessing.pixels(Image.fromarray(pixels))
    assert np.array_equal(preprocessing.picture(preprocessing.normalise(cropped)), cropped)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK", "I;16"])
def test_images_of_any_mode_are_prepared_as_rgb(mode: str) -> None:
    image = Image.new(mode, (50, 40))
    prepared = Preprocessing(TINY)(image)
    assert prepared.shape == Preprocessing(TINY).shape == (3, 28, 28)
    shown = Image.new("RGB", (50, 40), "white") if mode == "RGBA" else image.convert("RGB")
    assert torch.equal(prepared, Preprocessing(TINY)(shown))


def turned(image: Image.Image) -> Image.Image:
    """The same in another mode, turned, with EXIF data that say so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = image.transpose(Image.Transpose.ROTATE_90).convert("RGBA")
    stored.info["exif"] = exif.tobytes()
    return stored


def test_images_given_as_pillow_has_them_are_those_of_files(
    tmp_path: Path, tiny: Preprocessing
) -> None:
    image = noise((50, 40))
    turned(image).save(tmp_path / "a.png", exif=turned(image).info["exif"])
    for given in (turned(image), Image.open(tmp_path / "a.png"), tmp_path / "a.png"):
        [batch] = prepared_batches(given, tiny, 1)
        assert torch.equal(batch[0], tiny(image))
    assert torch.equal(tiny(turned(image)), tiny(image))


def test_an_image_that_is_refused_is_named_by_its_number(tiny: Preprocessing) -> None:
    given = [noise((50, 40)), noise((50, 40)), Image.new("F", (4, 4))]
    batches = prepared_batches(given, tiny, 2)
    next(batches)
    with pytest.raises(DataError, match=r"^Image 2 is not a readable image: nothing states the"):
        next(batches)


# --- other channels and sizes ----------------------------------------------------------------


def test_a_backbone_of_one_channel_gets_grey_values(cache: Path) -> None:
    grey = Preprocessing(replace(TINY, options={**TINY.options, "in_chans": 1}))
    assert grey.shape == (1, 28, 28)
    image = noise((28, 28))
    expected = (np.array(image.convert("L"), np.float32) / 255 - 0.5) / 0.5
    np.testing.assert_allclose(grey(image)[0], expected, atol=1e-6)
    assert grey.pixels(image).shape == (28, 28, 1)
    np.testing.assert_array_equal(
        grey.picture(grey(image)), np.array(image.convert("L"))[..., None].repeat(3, axis=2)
    )
    kept = cached_pixels(Pictures([image]), grey, "some")[0]
    assert torch.equal(grey.normalise(kept), grey(image))
    coloured = cached_pixels(Pictures([image]), Preprocessing(TINY), "some")[0]
    assert coloured.shape == (28, 28, 3)


def test_a_backbone_of_other_channels_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^The backbone takes 4 channels \(in_chans\), but images"
    ):
        Preprocessing(Backbone("vit_tiny_patch16_224", {"in_chans": 4}))
    with pytest.raises(
        ConfigError, match=r"^The backbone takes one channel \(in_chans\), but vit_b"
    ):
        Preprocessing(Backbone("vit_base_patch32_clip_224", {"in_chans": 1}))


@pytest.mark.parametrize("size", [(32, 16), (100, 20), (20, 100), (33, 33)], ids=str)
def test_a_backbone_that_is_not_square_gets_the_middle_of_the_image(size: tuple[int, int]) -> None:
    options = {"img_size": [32, 16], "patch_size": 8, "depth": 1}
    backbone, image = Backbone("vit_tiny_patch16_224", options), noise(size)
    scale = max(16 / size[0], 32 / size[1])
    width, height = (round(side * scale) for side in size)
    left, top = round((width - 16) / 2), round((height - 32) / 2)
    whole = image.resize((width, height), Image.Resampling.BICUBIC)
    expected = np.array(whole.crop((left, top, left + 16, top + 32)))
    np.testing.assert_array_equal(Preprocessing(backbone).pixels(image), expected)
    assert Preprocessing(backbone).shape == (3, 32, 16)


def test_images_are_read_when_their_batch_is_asked_for(tmp_path: Path) -> None:
    noise((28, 28)).save(tmp_path / "0.png")
    batches = prepared_batches([tmp_path / "0.png", tmp_path / "1.png"], Preprocessing(TINY), 1)
    assert next(batches).shape == (1, 3, 28, 28)
    with pytest.raises(DataError, match=r"1\.png is not a readable image: .*No such file"):
        next(batches)
