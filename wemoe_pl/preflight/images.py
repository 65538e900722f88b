"""The images that a job would read: which classes in which order, and how many of each."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.markup import escape
from rich.table import Table

from wemoe_pl.data import ImageSet, VisionData
from wemoe_pl.preflight.findings import Findings
from wemoe_pl.tasks import UNLABELLED, Images, Split

MOST_ROWS = 10  # of a task's classes, unless all are asked for
LAST_ROWS = 2  # of these, how many are the last classes
LONGEST_NAME = 36  # of an image, which is cut at its beginning


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
class TaskImages:
    """What a job would read of a task's images.

    Args:
        classes: their names in label order; none if only the head knows them.
        splits: those that the job reads.
        to_fetch: the splits that are on the hub and not here.
    """

    classes: tuple[str, ...] = ()
    splits: dict[Split, Counted] = field(default_factory=dict)
    to_fetch: list[Split] = field(default_factory=list)


def look_at_images(data: VisionData, findings: Findings) -> dict[str, TaskImages]:
    """Read the lists of images that a job reads, by task; nothing is fetched from the hub."""
    found = {task: TaskImages() for task in data.suite.tasks}
    for each in data.image_sets:
        with findings.listed(each.task):
            read_split(data, each, found[each.task])
    for name, task in found.items():
        for split, counted in task.splits.items():
            missing = [c for i, c in enumerate(task.classes) if not counted.counts[i]]
            if missing and not counted.counts[UNLABELLED]:
                some = ", ".join(f"'{each}'" for each in missing[:3])
                more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
                findings.warning(name, f"No {split} images are of class {some}{more}.")
    return found


def read_split(data: VisionData, wanted: ImageSet, found: TaskImages) -> None:
    """Count the images of a split as the job would read them."""
    task = data.task(wanted)
    request = task.hub_files(wanted.split)
    if request is not None and request.cached() is None:
        found.to_fetch.append(wanted.split)
        return
    images = task.images(wanted.split)
    found.splits[wanted.split] = Counted.of(images)
    found.classes = tuple(task.classes)


def class_table(found: TaskImages, classes: Sequence[str], full: bool) -> Table:
    """A row per class in label order: its images of each split, and the first of them.

    Args:
        found: the task's images.
        classes: their names, which may be the head's.
        full: show all classes, and all of a name.
    """
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("label", justify="right")
    table.add_column("class", overflow="fold")
    for split in found.splits:
        table.add_column(split, justify="right")
    table.add_column("first image", overflow="fold")
    labels = list(range(len(classes)))
    labels += [UNLABELLED] if any(s.counts[UNLABELLED] for s in found.splits.values()) else []
    cut = not full and len(labels) > MOST_ROWS
    for label in [*labels[: MOST_ROWS - LAST_ROWS], *labels[-LAST_ROWS:]] if cut else labels:
        if cut and label == labels[-LAST_ROWS]:
            table.add_row("…", f"{len(labels) - MOST_ROWS} more", *["…"] * len(found.splits), "…")
        name = classes[label] if label != UNLABELLED else "(no label)"
        counts = (f"{counted.counts[label]:,}" for counted in found.splits.values())
        firsts = (counted.first.get(label) for counted in found.splits.values())
        first = next(filter(None, firsts), "–")
        shown = first if full else end_of(first)
        number = "" if label == UNLABELLED else str(label)
        table.add_row(number, escape(visible(name)), *counts, escape(shown))
    return table


def end_of(name: str) -> str:
    """The end of a long name, which tells more than its beginning.

    >>> end_of("/a/folder/far/away/from/all/others/cat/0.png")
    '…/far/away/from/all/others/cat/0.png'
    """
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"


def visible(name: str) -> str:
    """A class name with quotes around it where it begins or ends in what is not seen."""
    return name if name.strip() == name and name else repr(name)
