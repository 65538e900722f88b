"""What a job needs, fetched and verified in advance, so that it runs where there is no network."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from wemoe_pl.checkpoints import hub_request
from wemoe_pl.checkpoints.heads import save_head
from wemoe_pl.data.datamodule import VisionData
from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import UNLABELLED
from wemoe_pl.errors import UnreachableError
from wemoe_pl.system.hub import HubFile, HubFiles, check_room, is_blob_intact, size_in_words
from wemoe_pl.training.module import MultiTaskModule


@dataclass(frozen=True)
class Item:
    """Some files that a job needs from the hub.

    Args:
        part: what they are for.
        request: which files.
        announced: what the hub says of them; None if it cannot be reached and they are cached.
    """

    part: str
    request: HubFiles
    announced: list[HubFile] | None

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        if self.announced is not None:
            return sum(file.size for file in self.announced)
        return sum(path.stat().st_size for path in self.request.cached() or [])

    @property
    def missing(self) -> int:
        """Bytes of the files that the cache lacks, or has in another version."""
        there = {path.resolve().name for path in self.request.cached() or []}
        return sum(file.size for file in self.announced or [] if file.digest not in there)

    @property
    def state(self) -> str:
        """Is it there, or must it be fetched?"""
        return "to fetch" if self.missing else "in the cache"


def prepare(module: MultiTaskModule, data: VisionData, console: Console) -> None:
    """Fetch what a job needs, verify it, and build the heads that it will want.

    It asks nothing and can be repeated: what is there is verified and not fetched again.

    Args:
        module: says which models and heads the job needs.
        data: says which images.
        console: where progress is shown.

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
        check_models(suite)
    for each in data.image_sets:
        images = data.load(each).images
        labelled = sum(label != UNLABELLED for label in images.labels)
        console.print(f"{each.task}: {len(images)} {each.split} images, {labelled} with labels")
    if suite := module.frozen_suite:
        for task in (*suite.heads, *suite.tasks_with_made_heads):
            suite.load_head(task)
    total = size_in_words(sum(item.size for item in items)) if items else "nothing"
    console.print(f"All is there, {total} of it from the hub: the job now runs without a network.")


def requests(module: MultiTaskModule, data: VisionData) -> dict[str, HubFiles]:
    """What a job needs of the hub, by what it is for; the same files only once."""
    found: dict[str, HubFiles | None] = {}
    if suite := module.frozen_suite:
        found |= {part: hub_request(*source) for part, source in suite.named_sources().items()}
    for each in data.image_sets:
        found[f"{each.split} images/{each.task}"] = data.task(each).hub_files(each.split)
    return dict(distinct(found))


def distinct(found: Mapping[str, HubFiles | None]) -> Iterator[tuple[str, HubFiles]]:
    """Those that ask for something that none before them asks for."""
    seen = set()
    for part, request in found.items():
        if request is not None and (request.repo, request.wanted) not in seen:
            seen.add((request.repo, request.wanted))
            yield part, request


def look_up(part: str, request: HubFiles) -> Item:
    """Ask the hub about some files; without a network, those in the cache have to do."""
    try:
        return Item(part, request, request.announced())
    except UnreachableError:
        if request.cached() is None:
            raise
        return Item(part, request, None)


def bring(item: Item) -> None:
    """Have the files of an item in the cache, verified."""
    if item.announced is not None:
        item.request.update()
        return
    for path in item.request.cached() or []:
        if not is_blob_intact(path):
            raise UnreachableError(f"{path} is damaged, and the hub cannot be reached.")


def check_models(suite: Suite) -> None:
    """See that all encoders are there with their shards, and fit the backbone."""
    suite.open_pretrained()
    if suite.experts:
        suite.load_experts()


def plan_table(items: list[Item]) -> Table:
    """What comes from the hub, how large it is, and whether it is there."""
    table = Table(title="From the hub", min_width=40)
    for title in ("what for", "repository", "size", ""):
        table.add_column(title, justify="right" if title == "size" else "left", overflow="fold")
    for item in items:
        table.add_row(item.part, str(item.request.repo), size_in_words(item.size), item.state)
    table.add_section()
    table.add_row("to fetch", "", size_in_words(sum(item.missing for item in items)), "")
    return table


def write_heads(suite: Suite, tasks: list[str], out: Path) -> list[Path]:
    """Build zero-shot heads, or take them from the cache, and put them in a folder.

    Returns:
        Their files, `TASK.safetensors`, of the form that `suite.heads` takes.
    """
    written = []
    for task in tasks:
        made_of = suite.zero_shot_head(task)
        path = out / f"{task}.safetensors"
        save_head(path, made_of.load(task), {"identity": made_of.described})
        written.append(path)
    return written
