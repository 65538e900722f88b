"""Write some of the test images into the folder of a run, as files to try the model on."""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

import lightning as L
from PIL import Image

from wemoe_pl.data.image_sets import ImageSets
from wemoe_pl.data.tasks import UNLABELLED, Images
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.errors import at_least
from wemoe_pl.runs.folder import RunFolder, sample_names, where_it_ends
from wemoe_pl.system.files import atomic_write

LONGEST_STEM = 60  # characters of a file name, before ".png"


class ChosenImage(NamedTuple):
    """A `ChosenImage` is a test image with its task, and its class if that is known by name.

    Attributes:
        task: the name of the task.
        class_name: the name of the class; None if it is not known.
        read: the function that reads the image.
    """

    task: str
    class_name: str | None
    read: Callable[[], Image.Image]


class SampleImages(L.Callback):
    """The callback writes some of the images that a test scores to `images/`.

    Their names say task and class. They are spread evenly over the tasks and the classes of each,
    whatever the model answers. Images that somebody else has put there stay.

    Args:
        count: the number of images, of all tasks together; none by default.
    """

    def __init__(self, count: int = 0):
        self.count = at_least(0, "sample_images.count", count)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the images."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if self.count and trainer.is_global_zero and isinstance(data, VisionData):
            write_samples(
                RunFolder(Path(trainer.default_root_dir)), spread_evenly(data.sets, self.count)
            )


def spread_evenly(sets: ImageSets, total: int) -> Iterator[ChosenImage]:
    """Yield `total` scored images, spread evenly over the tasks and the classes of each."""
    for place, (task, wanted) in enumerate(sets.scored.items()):
        share = total // len(sets.scored) + (place < total % len(sets.scored))
        images, classes = sets.load(wanted).images, sets.task(wanted).classes
        for index in places_by_class(images.labels, share):
            label = images.labels[index]
            is_known = label != UNLABELLED and label < len(classes)
            class_name = classes[label] if is_known else None
            yield ChosenImage(task, class_name, partial(image_at, images, index))


def image_at(images: Images, index: int) -> Image.Image:
    """Return one of some images."""
    return images[index][0]


def places_by_class(labels: Sequence[int], wanted: int) -> list[int]:
    """Return the places of `wanted` images, which are of as many classes as possible.

    >>> places_by_class([0, 1, 2, 0, 1, 2], 2), places_by_class([-1, -1, -1], 2)
    ([0, 2], [0, 1])
    """
    by_class: dict[int, deque[int]] = {}
    for place, label in enumerate(labels):
        by_class.setdefault(label, deque()).append(place)
    places: list[int] = []
    while by_class and len(places) < wanted:
        left, queues = wanted - len(places), [by_class[label] for label in sorted(by_class)]
        count_now = min(left, len(queues))
        of_each = [(2 * number + 1) * len(queues) // (2 * count_now) for number in range(count_now)]
        places += [queues[number].popleft() for number in of_each]
        by_class = {label: queue for label, queue in by_class.items() if queue}
    return places


def write_samples(folder: RunFolder, chosen: Iterable[ChosenImage]) -> None:
    """Write images into the folder of a run, with a list that marks them as the run's own.

    The list comes first: if the process is stopped, the next one knows which images are its own.
    """
    final = RunFolder(where_it_ends(folder.path))
    taken = names_of_others(folder) | names_of_others(final)
    named: dict[str, ChosenImage] = {}
    for image in chosen:
        wanted = image.task if image.class_name is None else f"{image.task}_{image.class_name}"
        named[free_name(wanted, taken.union(named))] = image
    with atomic_write(folder.sample_list) as temporary:
        temporary.write_text("".join(f"{name}\n" for name in named), encoding="utf-8")
    for name, image in named.items():
        with atomic_write(folder.images / name) as temporary:
            image.read().save(temporary, format="PNG")


def names_of_others(folder: RunFolder) -> set[str]:
    """Return the names of the images in a run's folder that no run has written."""
    there = folder.images.iterdir() if folder.images.is_dir() else ()
    return {path.name for path in there} - sample_names(folder)


def free_name(wanted: str, taken: set[str]) -> str:
    """Return a name for a PNG file that is not taken yet.

    >>> free_name("gtsrb_speed limit 30", set()), free_name("mnist_3", {"mnist_3.png"})
    ('gtsrb_speed-limit-30.png', 'mnist_3_2.png')
    """
    plain = re.sub(r"[^\w.]+", "-", wanted)[:LONGEST_STEM].strip("-.")
    names = (f"{plain}{f'_{number}' if number > 1 else ''}.png" for number in count(1))
    return next(name for name in names if name not in taken)
