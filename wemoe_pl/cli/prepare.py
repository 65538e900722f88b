"""Fetch and verify in advance what a job needs, so that it runs where there is no network."""

from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from wemoe_pl.checkpoints import hub_request
from wemoe_pl.checkpoints.heads import save_head
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import UNLABELLED
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.errors import UnreachableError
from wemoe_pl.system.console import Console
from wemoe_pl.system.disk_space import check_room, size_in_words
from wemoe_pl.system.hub import HubFile, HubFiles, is_blob_intact
from wemoe_pl.training.module import MultiTaskModule


@dataclass(frozen=True)
class Item:
    """An `Item` describes files that a job needs from the hub.

    Args:
        part: the part of the job that needs the files.
        request: the repository and the files in it.
        announced: the files as the hub lists them; None if the hub cannot be reached and the files
            are cached.
    """

    part: str
    request: HubFiles
    announced: list[HubFile] | None

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        if self.announced is not None:
            return sum(file.size for file in self.announced)
        return sum(path.stat().st_size for path in self.request.cached() or [])

    @property
    def missing(self) -> int:
        """Return the bytes of the files that the cache lacks, or has in another version."""
        there = {path.resolve().name for path in self.request.cached() or []}
        return sum(file.size for file in self.announced or [] if file.digest not in there)

    @property
    def state(self) -> str:
        """Say whether the files are in the cache, or must be fetched."""
        return "to fetch" if self.missing else "in the cache"


def prepare(module: MultiTaskModule, data: VisionData, console: Console) -> None:
    """Fetch what a job needs, verify it, and build its zero-shot heads.

    This asks no questions and can be repeated: cached files are verified and not fetched again.

    Args:
        module: the job's module, which knows the encoders and heads that the job needs.
        data: the job's images.
        console: the console that progress is printed to.

    Raises:
        WeMoEError: something cannot be fetched, or is not what the job needs.
    """
    items = [look_up(part, request) for part, request in requests(module, data).items()]
    if items:
        console.print(plan_table(items))
        check_room("this job", sum(item.missing for item in items))
    for item in items:
        bring(item)
    if suite := module.frozen_suite:
        suite.open_pretrained()  # raises for missing shards, or for another backbone
        if suite.experts:
            suite.load_experts()
    for wanted in data.sets.all:
        images = data.sets.load(wanted).images
        labelled = sum(label != UNLABELLED for label in images.labels)
        console.print(f"{wanted.task}: {len(images)} {wanted.split} images, {labelled} with labels")
    if suite := module.frozen_suite:
        for task in (*suite.heads, *suite.tasks_with_made_heads):
            suite.load_head(task)
    total = size_in_words(sum(item.size for item in items)) if items else "nothing"
    console.print(f"Everything is here, {total} from the hub: the job now runs without a network.")


def requests(module: MultiTaskModule, data: VisionData) -> dict[str, HubFiles]:
    """Return what a job needs from the hub, by the part that needs it; the same files only once."""
    parts: dict[str, HubFiles | None] = {}
    if suite := module.frozen_suite:
        parts |= {part: hub_request(*source) for part, source in suite.named_sources().items()}
    for images in data.sets.all:
        parts[f"{images.split} images/{images.task}"] = data.sets.task(images).hub_files(
            images.split
        )
    found, known = dict[str, HubFiles](), set()
    for part, request in parts.items():
        if request is not None and (request.repo, request.wanted) not in known:
            known.add((request.repo, request.wanted))
            found[part] = request
    return found


def look_up(part: str, request: HubFiles) -> Item:
    """Ask the hub about files; if it cannot be reached, accept those in the cache.

    Raises:
        UnreachableError: the hub cannot be reached, and the cache lacks some of the files.
    """
    try:
        return Item(part, request, request.announced())
    except UnreachableError:
        if request.cached() is None:
            raise
        return Item(part, request, None)


def bring(item: Item) -> None:
    """Fetch the files of an item that the cache lacks, and verify them."""
    if item.announced is not None:
        item.request.update()
        return
    for path in item.request.cached() or []:
        if not is_blob_intact(path):
            raise UnreachableError(f"{path} is damaged, and the hub cannot be reached.")


def plan_table(items: list[Item]) -> Table:
    """Return a table of what comes from the hub, how large it is, and whether it is cached."""
    table = Table(title="From the hub", min_width=40)
    for title in ("what for", "repository", "size", ""):
        table.add_column(title, justify="right" if title == "size" else "left", overflow="fold")
    for item in items:
        table.add_row(item.part, str(item.request.repo), size_in_words(item.size), item.state)
    table.add_section()
    table.add_row("to fetch", "", size_in_words(sum(item.missing for item in items)), "")
    return table


def write_heads(suite: Suite, tasks: list[str], out: Path) -> list[Path]:
    """Build zero-shot heads, or take them from the cache, and write them to a folder.

    Returns:
        The files that were written, `TASK.safetensors`, of the form that `suite.heads` takes.
    """
    written = []
    for task in tasks:
        made_of = suite.zero_shot_head(task)
        path = out / f"{task}.safetensors"
        save_head(path, made_of.load(task), {"identity": made_of.described})
        written.append(path)
    return written
