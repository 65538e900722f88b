"""Corruptions are what they are defined to be, and depend on seed and index alone."""

import io
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader

from wemoe_pl.data.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    CorruptedImages,
    CorruptedTask,
    Corruption,
    contact_sheet,
    corrupt,
    gaussian_noise,
    impulse_noise,
    jpeg_compression,
    motion_blur,
    pixelate,
    spatter,
)
from wemoe_pl.data.miniature import MiniatureTask
from wemoe_pl.data.tasks import ImageFolderTask, PaperTask, ParquetTask
from wemoe_pl.errors import ConfigError

Array = NDArray[np.float64]
EVERY_KIND = pytest.mark.parametrize("kind", CORRUPTIONS)
EVERY_SEVERITY = pytest.mark.parametrize("severity", SEVERITIES)
BOX = Image.Resampling.BOX

# The parameter set of CIFAR-10-C, at severities 1 to 5.
DEVIATIONS = (0.04, 0.06, 0.08, 0.09, 0.10)
AMOUNTS = (0.01, 0.02, 0.03, 0.05, 0.07)
LINES = ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5))
SPLASHES = ((0.62, 0.1, 0.7, 0.70, 0.5), (0.65, 0.1, 0.8, 0.70, 0.5), (0.65, 0.3, 1.0, 0.69, 0.5),
            (0.65, 0.1, 0.7, 0.69, 0.6), (0.65, 0.1, 0.5, 0.68, 0.6))  # fmt: skip
FACTORS = (0.75, 0.50, 0.40, 0.30, 0.15)
QUALITIES = (80, 65, 58, 50, 40)
SCALES = (0.95, 0.90, 0.85, 0.75, 0.65)


def constant(level: int = 128, size: tuple[int, int] = (150, 100)) -> Image.Image:
    return Image.new("RGB", size, (level, level, level))


def random_image(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def array(image: Image.Image) -> Array:
    return np.asarray(image, np.float64) / 255


def assert_close(image: Image.Image, expected: Array) -> None:
    """As near as bytes can be; exact halves may be rounded either way."""
    np.testing.assert_allclose(array(image), expected.clip(0, 1), rtol=0, atol=0.5001 / 255)


# --- noise -----------------------------------------------------------------------------------


@EVERY_SEVERITY
def test_gaussian_noise_has_the_deviation_of_its_severity(severity: int) -> None:
    noise = array(corrupt(constant(), "gaussian_noise", severity, default_rng(0))) - 128 / 255
    deviation = DEVIATIONS[severity - 1]
    assert noise.std() == pytest.approx(deviation, rel=0.02)
    assert noise.mean() == pytest.approx(0, abs=4 * deviation / math.sqrt(noise.size))
    within = (abs(noise) < deviation).mean()
    assert within == pytest.approx(0.6827, abs=0.02)  # of a normal distribution


def test_gaussian_noise_differs_between_channels_and_is_clipped() -> None:
    channels = array(gaussian_noise(constant(), default_rng(0), 0.1)).reshape(-1, 3)
    assert abs(np.corrcoef(channels.T) - np.eye(3)).max() < 0.03
    black = np.asarray(gaussian_noise(constant(0), default_rng(0), 0.1))
    assert (black == 0).mean() == pytest.approx(0.5, abs=0.02)


@EVERY_SEVERITY
def test_impulse_noise_hits_the_share_of_its_severity(severity: int) -> None:
    values = np.asarray(corrupt(constant(), "impulse_noise", severity, default_rng(0)))
    assert set(np.unique(values)) == {0, 128, 255}
    amount = AMOUNTS[severity - 1]
    four_errors = 4 * math.sqrt(amount * (1 - amount) / values.size)
    assert (values != 128).mean() == pytest.approx(amount, abs=four_errors)
    hit = values[values != 128]
    assert (hit == 255).mean() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(hit.size))


def test_impulse_noise_hits_channels_one_by_one() -> None:
    hit = np.asarray(impulse_noise(constant(), default_rng(0), 0.1)) != 128
    assert hit.all(axis=2).mean() == pytest.approx(0.1**3, abs=0.002)


# --- blur ------------------------------------------------------------------------------------


def line(radius: int, deviation: float, angle: float) -> Iterator[tuple[int, int, float]]:
    """How far right and down each pixel of ImageMagick's line lies, and its weight."""
    weights = [math.exp(-(i**2) / (2 * deviation**2)) for i in range(2 * radius + 1)]
    for i, weight in enumerate(weights):
        right = math.ceil(i * math.cos(math.radians(angle)) - 0.5)
        down = math.ceil(i * math.sin(math.radians(angle)) - 0.5)
        yield right, down, weight / sum(weights)


@EVERY_SEVERITY
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_motion_blur_is_a_mean_along_a_line(severity: int, seed: int) -> None:
    image = random_image(21, 17)
    pixels = array(image)
    angle = default_rng(seed).uniform(-45, 45)
    expected = np.zeros_like(pixels)
    for y in range(17):
        for x in range(21):
            for right, down, weight in line(*LINES[severity - 1], angle):
                row, column = min(max(y + down, 0), 16), min(max(x + right, 0), 20)
                expected[y, x] += weight * pixels[row, column]
    assert_close(corrupt(image, "motion_blur", severity, default_rng(seed)), expected)


def test_a_point_is_smeared_to_one_side_and_keeps_its_mass() -> None:
    image = constant(0, (41, 41))
    image.putpixel((20, 20), (255, 255, 255))
    up, down = 0, 0
    for seed in range(20):
        smeared = array(motion_blur(image, default_rng(seed), 6, 2.0))[..., 0]
        assert smeared.sum() == pytest.approx(1, abs=13 * 0.5 / 255)  # 13 roundings
        ys, xs = smeared.nonzero()
        assert xs.max() == 20
        assert smeared[20, 20] == smeared.max()
        assert abs(ys - 20).max() <= 20 - xs.min()  # not steeper than 45 degrees
        up, down = up + bool(ys.min() < 20), down + bool(ys.max() > 20)
    assert min(up, down) >= 5


# --- spatter ---------------------------------------------------------------------------------


def smoothed(noise: Array, deviation: float) -> Array:
    """A Gaussian of 4 deviations to either side; the border is repeated."""
    reach = int(4 * deviation + 0.5)
    weights = [math.exp(-(i**2) / (2 * deviation**2)) for i in range(-reach, reach + 1)]
    kernel = np.outer(weights, weights) / sum(weights) ** 2
    return filtered(noise, kernel, "edge")


def filtered(values: Array, kernel: Array, mode: Any) -> Array:
    reach = len(kernel) // 2
    padded = np.pad(values, reach, mode=mode)
    result = np.zeros_like(values)
    for y, x in np.ndindex(values.shape):
        result[y, x] = (padded[y : y + len(kernel), x : x + len(kernel)] * kernel).sum()
    return result


def water(liquid: Array) -> Array:
    """The gleam, by the definition step by step."""
    height, width = liquid.shape
    outline = []
    for y, x in np.argwhere(liquid > 0):
        beside = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        if any(0 <= r < height and 0 <= c < width and liquid[r, c] == 0 for r, c in beside):
            outline.append((y, x))
    distance = np.zeros_like(liquid)
    for y, x in np.ndindex(liquid.shape):
        distance[y, x] = min(20, *(math.dist((y, x), point) for point in outline))
    mean = np.full((3, 3), 1 / 9)
    levels = np.floor(filtered(distance, mean, "reflect").round(6))
    equalised = np.zeros_like(levels)
    lowest = (levels == levels.min()).sum()
    for y, x in np.ndindex(levels.shape):
        equalised[y, x] = ((levels <= levels[y, x]).sum() - lowest) / (levels.size - lowest)
    lit = filtered(equalised, np.array([[-2.0, -1, 0], [-1, 1, 1], [0, 1, 2]]), "reflect")
    gleam = liquid * filtered(lit.clip(0, 1), mean, "reflect")
    return gleam / gleam.max()


@pytest.mark.parametrize("severity", [1, 2, 3])
def test_water_brightens_the_lit_side_of_drops(severity: int) -> None:
    image = random_image(24, 20)
    location, scale, blur, threshold, mix = SPLASHES[severity - 1]
    noise = smoothed(default_rng(5).normal(location, scale, (20, 24)), blur)
    gleam = water(np.where(noise > threshold, noise, 0))
    assert 0.01 < (gleam > 0).mean() < 0.8
    turquoise = np.array([175, 238, 238]) / 255
    expected = array(image) + mix * gleam[..., None] * turquoise
    assert_close(corrupt(image, "spatter", severity, default_rng(5)), expected)


@pytest.mark.parametrize("severity", [4, 5])
def test_mud_covers_where_it_is_thick(severity: int) -> None:
    image = random_image(24, 20)
    location, scale, blur, threshold, rim = SPLASHES[severity - 1]
    noise = smoothed(default_rng(5).normal(location, scale, (20, 24)), blur)
    cover = smoothed((noise > threshold).astype(float), rim)
    cover[cover < 0.8] = 0
    assert 0.005 < (cover > 0).mean() < 0.5
    brown = np.array([63, 42, 20]) / 255
    expected = array(image) * (1 - cover[..., None]) + brown * cover[..., None]
    assert_close(corrupt(image, "spatter", severity, default_rng(5)), expected)


@pytest.mark.parametrize("threshold", [-1.0, 2.0])
def test_all_wet_or_all_dry_has_no_drops_to_gleam(threshold: float) -> None:
    image = random_image(12, 9)
    assert spatter(image, default_rng(0), 0.6, 0.1, 0.7, threshold, 0.5, False) == image


# --- what cameras and files do ---------------------------------------------------------------


@EVERY_SEVERITY
def test_contrast_keeps_every_channels_mean(severity: int) -> None:
    dark = Image.fromarray(np.asarray(random_image(30, 20)) // np.array([1, 2, 3], np.uint8))
    pixels = array(dark)
    mean = pixels.reshape(-1, 3).mean(0)
    expected = mean + FACTORS[severity - 1] * (pixels - mean)
    assert_close(corrupt(dark, "contrast", severity, default_rng(0)), expected)
    assert corrupt(constant(77), "contrast", severity, default_rng(0)) == constant(77)


@EVERY_SEVERITY
def test_jpeg_is_pillows_own_of_that_quality(severity: int) -> None:
    image = random_image(33, 21)
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=QUALITIES[severity - 1])
    ours = corrupt(image, "jpeg_compression", severity, default_rng(0))
    assert ours.tobytes() == Image.open(file).convert("RGB").tobytes()
    assert jpeg_compression(image, default_rng(0), QUALITIES[severity - 1]) == ours


def test_a_checkerboard_pixelates_to_grey() -> None:
    board = np.indices((20, 32)).sum(0) % 2 * 255
    image = Image.fromarray(board.astype(np.uint8)).convert("RGB")
    grey = np.asarray(pixelate(image, default_rng(0), 0.5))
    assert set(np.unique(grey)) <= {127, 128}


def test_pixelate_repeats_the_mean_of_blocks() -> None:
    image = random_image(32, 20)
    blocks = array(image).reshape(5, 4, 8, 4, 3).mean((1, 3))
    expected = blocks.repeat(4, 0).repeat(4, 1)
    result = array(pixelate(image, default_rng(0), 0.25))
    np.testing.assert_allclose(result, expected, atol=1.01 / 255)  # two passes, two roundings


@EVERY_SEVERITY
def test_pixelate_leaves_as_many_pixels_as_its_scale_says(severity: int) -> None:
    result = np.asarray(corrupt(random_image(80, 60), "pixelate", severity, default_rng(0)))
    scale = SCALES[severity - 1]
    rows = 1 + (result[1:] != result[:-1]).any((1, 2)).sum()
    columns = 1 + (result[:, 1:] != result[:, :-1]).any((0, 2)).sum()
    assert (columns, rows) == (int(80 * scale), int(60 * scale))


@pytest.mark.parametrize("size", [(80, 60), (20, 30), (32, 32)])
def test_the_published_form_has_32_pixels_whatever_the_size(size: tuple[int, int]) -> None:
    image = random_image(*size)
    form = corrupt(image, "pixelate", 2, default_rng(0), published_pixelate=True)
    assert form == image.resize((28, 28), BOX).resize((32, 32), BOX)
    assert corrupt(image, "pixelate", 2, default_rng(0)).size == size


# --- kinds and severities --------------------------------------------------------------------


def test_there_are_the_seven_of_the_paper() -> None:
    named = "motion_blur impulse_noise gaussian_noise pixelate spatter contrast jpeg_compression"
    assert " ".join(CORRUPTIONS) == named
    assert set(PaperTask("cars").facts["corrupted"]) == set(CORRUPTIONS)


@EVERY_KIND
@EVERY_SEVERITY
@pytest.mark.parametrize("size", [(1, 1), (3, 40), (31, 29)])
def test_any_size_stays_and_the_image_is_left_as_it_is(
    kind: str, severity: int, size: tuple[int, int]
) -> None:
    image = random_image(*size)
    before = image.tobytes()
    result = corrupt(image, kind, severity, default_rng(0))
    assert (result.mode, result.size) == ("RGB", size)
    assert image.tobytes() == before


@pytest.mark.parametrize(
    ("kind", "severities"), [(kind, [1, 2, 3, 4, 5]) for kind in CORRUPTIONS if kind != "spatter"]
    + [("spatter", [1, 2, 3]), ("spatter", [4, 5])],  # mud is something else than more water
)  # fmt: skip
def test_the_more_severe_the_farther_from_the_image(kind: str, severities: list[int]) -> None:
    pictures = MiniatureTask("sun397", test_size=10).images("test")
    images = [pictures[i][0].resize((64, 64)) for i in range(8)]
    distances = [
        np.mean([abs(array(corrupt(i, kind, s, default_rng(n))) - array(i)).mean()
                 for n, i in enumerate(images)])
        for s in severities
    ]  # fmt: skip
    assert distances == sorted(distances)
    assert 0 < distances[0] < 0.95 * distances[-1]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"kind": "motion_blurr"}, r"no corruption 'motion_blurr'\. Did you mean 'motion_blur'\?"),
    ({"kind": "fog"}, r"no corruption 'fog'.* Valid names: contrast, gaussian_noise, "),
    ({"severity": 0}, r"Severities are 1, 2, 3, 4 and 5, not 0\."),
    ({"severity": 6}, r"Severities are 1, 2, 3, 4 and 5, not 6\."),
]
BAD_SEED = ({"seed": -1}, r"seed of a corruption is 0 or more, not -1\.")


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_what_is_no_corruption_is_refused(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        corrupt(constant(), rng=default_rng(0), **{"kind": "contrast", "severity": 2, **bad})


@pytest.mark.parametrize(("bad", "message"), [*BAD, BAD_SEED])
def test_it_is_refused_before_any_image_is_read(bad: dict[str, Any], message: str) -> None:
    for corruption in (Corruption, lambda **options: CorruptedTask(PaperTask("dtd"), **options)):
        with pytest.raises(ConfigError, match=message):
            corruption(**{"kind": "contrast", **bad})


# --- corrupted splits ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures() -> MiniatureTask:
    return MiniatureTask("cars", train_size=12, test_size=12)


def as_bytes(images: list[tuple[Image.Image, int]]) -> list[tuple[bytes, int]]:
    return [(image.tobytes(), label) for image, label in images]


@EVERY_KIND
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
    monkeypatch.setattr("wemoe_pl.data.corruptions.__version__", "another")
    found |= {images.fingerprint, Alike.fingerprint}
    assert len(found) == 8
    assert images.identity in identities
    assert len(identities | {Alike.identity}) == 7


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


def test_the_contact_sheet_has_a_row_per_kind_and_a_column_per_severity() -> None:
    image = random_image(30, 20)
    sheet = contact_sheet(image, scale=2, seed=3)
    tiles = sheet.crop((sheet.width - 6 * 60, sheet.height - 7 * 40, sheet.width, sheet.height))
    seen = np.asarray(tiles)[::2, ::2].reshape(7, 20, 6, 30, 3).swapaxes(1, 2)
    assert (seen[:, 0] == np.asarray(image)).all()
    jpeg = corrupt(image, "jpeg_compression", 5, default_rng(0))
    np.testing.assert_array_equal(seen[6, 5], jpeg)
    assert len({tile.tobytes() for tile in seen.reshape(42, -1)}) == 7 * 5 + 1


def test_the_sheet_in_the_documents_is_a_picture_of_that_form() -> None:
    path = Path(__file__).parents[2] / "docs" / "corruptions.png"
    with Image.open(path) as sheet:
        assert sheet.size == contact_sheet(constant(size=(64, 64))).size
    assert path.stat().st_size < 600_000
