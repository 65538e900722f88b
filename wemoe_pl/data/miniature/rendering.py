"""Render pictures of the twenty tasks: one picture, a split, or a contact sheet."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wemoe_pl.data.miniature.aerial import AERIALS, render_resisc45
from wemoe_pl.data.miniature.canvas import SIZE, Picture
from wemoe_pl.data.miniature.cars import CARS, render_cars
from wemoe_pl.data.miniature.colours import Rng
from wemoe_pl.data.miniature.creatures import COARSE, SHARP, render_cifar10, render_stl10
from wemoe_pl.data.miniature.digits import NUMERALS, render_mnist, render_svhn
from wemoe_pl.data.miniature.faces import FEELINGS, render_fer2013
from wemoe_pl.data.miniature.flowers import FLOWERS, render_flowers102
from wemoe_pl.data.miniature.food import DISHES, render_food101
from wemoe_pl.data.miniature.garments import GARMENTS, render_fashion_mnist
from wemoe_pl.data.miniature.land_cover import LANDS, render_eurosat
from wemoe_pl.data.miniature.letters import KANA, LETTERS, render_emnist_letters, render_kmnist
from wemoe_pl.data.miniature.pets import BREEDS, render_pets
from wemoe_pl.data.miniature.scenes import SCENES, render_sun397
from wemoe_pl.data.miniature.sentences import VERDICTS, render_rendered_sst2
from wemoe_pl.data.miniature.signs import SIGNS, render_gtsrb
from wemoe_pl.data.miniature.textures import TEXTURES, render_dtd
from wemoe_pl.data.miniature.things import THINGS, render_cifar100
from wemoe_pl.data.miniature.tissue import TISSUES, render_pcam
from wemoe_pl.data.tasks import PAPER_TASKS, Split

# The place of a task and of a split here is part of the seed of its pictures: new ones go last.
_TASKS: dict[str, tuple[Callable[[str, Rng], Picture], Iterable[str]]] = {
    "sun397": (render_sun397, SCENES),
    "cars": (render_cars, CARS),
    "resisc45": (render_resisc45, AERIALS),
    "eurosat": (render_eurosat, LANDS),
    "svhn": (render_svhn, NUMERALS),
    "gtsrb": (render_gtsrb, SIGNS),
    "mnist": (render_mnist, NUMERALS),
    "dtd": (render_dtd, TEXTURES),
    "flowers102": (render_flowers102, FLOWERS),
    "pcam": (render_pcam, TISSUES),
    "fer2013": (render_fer2013, FEELINGS),
    "pets": (render_pets, BREEDS),
    "stl10": (render_stl10, SHARP),
    "cifar100": (render_cifar100, THINGS),
    "cifar10": (render_cifar10, COARSE),
    "food101": (render_food101, DISHES),
    "fashion_mnist": (render_fashion_mnist, GARMENTS),
    "emnist_letters": (render_emnist_letters, LETTERS),
    "kmnist": (render_kmnist, KANA),
    "rendered_sst2": (render_rendered_sst2, VERDICTS),
}
_SPLITS: tuple[Split, ...] = ("train", "test")

CLASSES: dict[str, tuple[str, ...]] = {task: tuple(names) for task, (_, names) in _TASKS.items()}


def render(task: str, label: int, rng: Rng) -> Picture:
    """Return a picture (28, 28, 3) of class `label` of `task`, drawn from `rng` alone."""
    draw, _ = _TASKS[task]
    return draw(CLASSES[task][label], rng)


def render_split(
    task: str, split: Split, size: int, seed: int = 0
) -> tuple[Picture, NDArray[np.int64]]:
    """Return pictures (size, 28, 28, 3) and balanced labels: label i is i modulo the class count.

    Picture i depends on (seed, task, split, i) only: a smaller split is a prefix of a larger one.
    """
    stream = (seed, list(_TASKS).index(task), _SPLITS.index(split))
    labels = np.arange(size) % len(CLASSES[task])
    pixels = np.empty((size, SIZE, SIZE, 3), np.uint8)
    for i, label in enumerate(labels.tolist()):
        pixels[i] = render(task, label, np.random.default_rng([*stream, i]))
    return pixels, labels


def contact_sheet(
    columns: int = 20, scale: int = 2, seed: int = 0, tasks: Iterable[str] = PAPER_TASKS
) -> Image.Image:
    """Return a picture with one row per task: its first `columns` test pictures, enlarged."""
    rows = [np.concatenate(render_split(task, "test", columns, seed)[0], axis=1) for task in tasks]
    sheet = Image.fromarray(np.concatenate(rows))
    return sheet.resize((sheet.width * scale, sheet.height * scale), Image.Resampling.NEAREST)
