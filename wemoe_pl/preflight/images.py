"""The images that a job would read: which classes in which order, and how many of each."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.table import Table

from wemoe_pl.data.tasks import UNLABELLED, Images, Split, name_some
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.preflight.findings import Findings

MOST_ROWS = 10  # of a task's classes, unless all are asked for
LAST_ROWS = 2  # of these, how many are the last classes
WIDEST_CLASS = 22  # columns, in which a longer name takes several lines
LONGEST_NAME = 30  # of an image, unless whole names are asked for


@dataclass(frozen=True)
class Counted:
    """The images of a split, counted.

    Args:
        counts: by label, how many there are.
        first: by label, the name of the first.
    """

    counts: Counter[int]
    first: dict[int, str]

    @classmethod
    def of(cls, images: Images) -> "Counted":
        """Count images; none is decoded."""
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
    """The images of a task that a job would read, counted.

    Args:
        classes: their names in label order; none if only the head knows them.
        splits: those that the job reads.
        to_fetch: bytes of the splits that are on the hub and not here.
    """

    classes: tuple[str, ...] = ()
    splits: dict[Split, Counted] = field(default_factory=dict)
    to_fetch: dict[Split, int] = field(default_factory=dict)


def look_at_images(
    data: VisionData, needs_labels: bool, findings: Findings
) -> dict[str, CountedTask]:
    """Read the lists of images that a job reads, by task; nothing is fetched from the hub.

    Args:
        data: the job's images.
        needs_labels: must all images that it learns from have labels?
        findings: where problems and warnings go.
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
    """Warn of classes that a labelled split has no image of."""
    missing = [f"'{name}'" for i, name in enumerate(classes) if not counted.counts[i]]
    if missing and not counted.counts[UNLABELLED]:
        findings.warning(task, f"No {split} images are of class {name_some(missing)}.")


def class_table(images: CountedTask, classes: Sequence[str], full: bool) -> Table:
    """A table with a row per class in label order: its images of each split, and the first.

    Args:
        images: the task's images.
        classes: their names, which may be the head's.
        full: show all classes, and all of a name.
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
    """Shorten a long name in its middle, which tells least.

    >>> shortened("/a/folder/far/away/from/all/others/cat/0.png")
    '/a/folder/f…l/others/cat/0.png'
    """
    if len(name) <= LONGEST_NAME:
        return name
    start = LONGEST_NAME // 3
    return f"{name[: start + 1]}…{name[start - LONGEST_NAME + 2 :]}"


def visible(name: str) -> str:
    r"""Put a class name in quotes where something in it is not seen, such as a blank at its end.

    >>> visible("dog"), visible("dog "), visible("d\tog")
    ('dog', "'dog '", "'d\\tog'")
    """
    return name if name and name.isprintable() and name.strip() == name else repr(name)
