"""Count the images that a job would read, by class, and show the order of the classes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.table import Table

from wemoe_pl.data.tasks import UNLABELLED, Images, Split, name_some
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.preflight.findings import Findings

MOST_ROWS = 10  # rows for the classes of a task, unless all are asked for
LAST_ROWS = 2  # rows among them that show the last classes
WIDEST_CLASS = 22  # characters of a class name on a line; longer names are wrapped
LONGEST_NAME = 30  # characters of an image's name, unless whole names are asked for


@dataclass(frozen=True)
class Counted:
    """A `Counted` holds the number of images of each label in a split.

    Args:
        counts: the number of images, by label.
        first: the name of the first image, by label.
    """

    counts: Counter[int]
    first: dict[int, str]

    @classmethod
    def of(cls, images: Images) -> "Counted":
        """Count images by label, without decoding any."""
        first: dict[int, int] = {}
        for index, label in enumerate(images.labels):
            first.setdefault(label, index)
        return cls(Counter(images.labels), {label: images.name(i) for label, i in first.items()})

    def __str__(self) -> str:
        total, unlabelled = self.counts.total(), self.counts[UNLABELLED]
        if not unlabelled:
            return f"{total:,}"
        return f"{total:,}, {'all' if unlabelled == total else f'{unlabelled:,}'} without a label"


@dataclass
class CountedTask:
    """A `CountedTask` holds the counts of the images of a task that a job would read.

    Args:
        classes: the class names in label order; empty if only the head knows them.
        splits: the counts of each split that the job reads and that is on this machine.
        to_fetch: bytes of each split that still has to be fetched from the hub.
    """

    classes: tuple[str, ...] = ()
    splits: dict[Split, Counted] = field(default_factory=dict)
    to_fetch: dict[Split, int] = field(default_factory=dict)


def look_at_images(
    data: VisionData, needs_labels: bool, findings: Findings
) -> dict[str, CountedTask]:
    """Count the images that a job reads, by task; nothing is fetched from the hub.

    Args:
        data: the job's images.
        needs_labels: True if all images that the job learns from must have labels.
        findings: the list that problems and warnings are added to.
    """
    found = {images.task: CountedTask() for images in data.sets.all}
    for images in data.sets.all:
        task, counted = data.sets.task(images), found[images.task]
        with findings.listed(images.task):
            if size := findings.size_to_fetch(task.hub_files(images.split)):
                counted.to_fetch[images.split] = size
                continue
            counted.classes = tuple(task.classes)
            counted.splits[images.split] = Counted.of(data.sets.load(images).images)
            if needs_labels and images in data.sets.streamed.values():
                data.sets.load_labelled(images)
    for name, task_images in found.items():
        for split, counts in task_images.splits.items():
            warn_of_missing(name, split, task_images.classes, counts, findings)
    return found


def warn_of_missing(
    task: str, split: Split, classes: Sequence[str], counted: Counted, findings: Findings
) -> None:
    """Warn of classes without an image, in a split whose images all have labels."""
    missing = [f"'{name}'" for i, name in enumerate(classes) if not counted.counts[i]]
    if missing and not counted.counts[UNLABELLED]:
        findings.warning(task, f"No {split} images are of class {name_some(missing)}.")


def class_table(images: CountedTask, classes: Sequence[str], full: bool) -> Table:
    """Return a table with a row per class: its number of images in each split, and its first image.

    Args:
        images: the counts of the task's images.
        classes: the class names in label order, of the images or else of the head.
        full: True to show all classes, and names at full length.
    """
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("label", justify="right")
    table.add_column("class", overflow="fold", max_width=None if full else WIDEST_CLASS)
    for split in images.splits:
        table.add_column(split, justify="right")
    table.add_column("first image", overflow="fold")
    labels = list(range(len(classes)))
    labels += [UNLABELLED] if any(s.counts[UNLABELLED] for s in images.splits.values()) else []
    cut = not full and len(labels) > MOST_ROWS
    for label in [*labels[: MOST_ROWS - LAST_ROWS], *labels[-LAST_ROWS:]] if cut else labels:
        if cut and label == labels[-LAST_ROWS]:
            table.add_row("…", f"{len(labels) - MOST_ROWS} more", *["…"] * len(images.splits), "…")
        name = classes[label] if label != UNLABELLED else "(no label)"
        counts = (f"{counted.counts[label]:,}" for counted in images.splits.values())
        firsts = (counted.first.get(label) for counted in images.splits.values())
        first = next(filter(None, firsts), "–")
        shown = first if full else shortened(first)
        number = "" if label == UNLABELLED else str(label)
        table.add_row(number, visible(name), *counts, shown)
    return table


def shortened(name: str) -> str:
    """Shorten a long name in its middle, which is its least telling part.

    >>> shortened("/a/folder/far/away/from/all/others/cat/0.png")
    '/a/folder/f…l/others/cat/0.png'
    """
    if len(name) <= LONGEST_NAME:
        return name
    start = LONGEST_NAME // 3
    return f"{name[: start + 1]}…{name[start - LONGEST_NAME + 2 :]}"


def visible(name: str) -> str:
    r"""Quote a class name that has something invisible in it, such as a blank at its end.

    >>> visible("dog"), visible("dog "), visible("d\tog")
    ('dog', "'dog '", "'d\\tog'")
    """
    return name if name and name.isprintable() and name.strip() == name else repr(name)
