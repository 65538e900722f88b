"""Images become what their encoders were trained on, to the bit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import torch
from helpers.plain_images import noise
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torch import Tensor

from wemoe_pl.checkpoints import Backbone
from wemoe_pl.data.preprocessing import ImageSource, Preprocessing, prepared_batches
from wemoe_pl.errors import ConfigError, DataError

CLIP = Backbone("vit_base_patch32_clip_quickgelu_224", {"num_classes": 512})
TINY = Backbone("vit_tiny_patch16_224", {"img_size": 28, "patch_size": 14, "depth": 1})
SIZES = [(224, 224), (32, 32), (28, 61), (501, 333), (225, 224), (640, 230), (3, 200)]


@pytest.fixture(scope="module")
def tiny() -> Preprocessing:
    return Preprocessing(TINY)


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
        assert torch.equal(batch.images[0], tiny(image))
    assert torch.equal(tiny(turned(image)), tiny(image))


def test_an_image_that_is_refused_is_named_by_its_number(tiny: Preprocessing) -> None:
    given = [noise((50, 40)), noise((50, 40)), Image.new("F", (4, 4))]
    batches = prepared_batches(given, tiny, 2)
    next(batches)
    with pytest.raises(DataError, match=r"^Image 2 is not a readable image: nothing states the"):
        next(batches)


# --- other channels and sizes ----------------------------------------------------------------


def test_a_backbone_of_one_channel_gets_grey_values() -> None:
    grey = Preprocessing(replace(TINY, options={**TINY.options, "in_chans": 1}))
    assert grey.shape == (1, 28, 28)
    image = noise((28, 28))
    expected = (np.array(image.convert("L"), np.float32) / 255 - 0.5) / 0.5
    np.testing.assert_allclose(grey(image)[0], expected, atol=1e-6)
    assert grey.pixels(image).shape == (28, 28, 1)
    np.testing.assert_array_equal(
        grey.picture(grey(image)), np.array(image.convert("L"))[..., None].repeat(3, axis=2)
    )


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
    (tmp_path / "1.png").write_text("no picture")
    batches = prepared_batches([tmp_path / "0.png", tmp_path / "1.png"], Preprocessing(TINY), 1)
    first = next(batches)
    assert (first.names, first.images.shape) == ([str(tmp_path / "0.png")], (1, 3, 28, 28))
    with pytest.raises(DataError, match=r"1\.png is not a readable image: it is none of PNG"):
        next(batches)


def test_a_folder_or_a_pattern_stands_for_the_images_below_it(
    tmp_path: Path, tiny: Preprocessing
) -> None:
    names = ("a/2.png", "a/10.png", "1.png")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        noise((28, 28)).save(tmp_path / name)
    listed = sorted(str(tmp_path / name) for name in names)
    for given in (str(tmp_path), tmp_path):
        [batch] = prepared_batches(given, tiny, 8)
        assert batch.names == listed
    mixed: list[ImageSource] = [tmp_path / "a", noise((28, 28)), f"{tmp_path}/*.png"]
    read = list(prepared_batches(mixed, tiny, 2))
    found = [name for batch in read for name in batch.names]
    assert found == [*(name for name in listed if "/a/" in name), None, str(tmp_path / "1.png")]
    assert [len(batch.images) for batch in read] == [2, 2]


def test_a_path_to_nothing_is_refused_before_any_image_is_read(
    tmp_path: Path, tiny: Preprocessing
) -> None:
    (tmp_path / "0.png").write_text("no picture")
    near = rf"There is no folder or file {tmp_path}/0\.pgn: .* Did you mean {tmp_path}/0\.png\?$"
    with pytest.raises(DataError, match=near):
        next(prepared_batches([tmp_path / "0.png", tmp_path / "0.pgn"], tiny, 1))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"/empty has no images: check its path"):
        next(prepared_batches(tmp_path / "empty", tiny, 1))
