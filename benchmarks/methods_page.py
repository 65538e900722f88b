"""Write the tables of docs/methods.md from the code, the configs, and published and measured means.

    python benchmarks/methods_page.py

The script takes about a minute. It has to be run again when a method, a config, a published figure
or a table of docs/miniature.md changes: a test compares the page with the tables that it makes.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
import yaml
from miniature_tables import insert

import wemoe_pl
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.baselines import Individual
from wemoe_pl.merging.from_samples import SampleMethod
from wemoe_pl.merging.mass import MASS
from wemoe_pl.merging.per_task import PerTaskMethod
from wemoe_pl.merging.smile import SMILE
from wemoe_pl.merging.spelling import spelled
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.model.recipe import read_suite
from wemoe_pl.reporting.analysis import sizes
from wemoe_pl.reporting.families import FAMILIES, UNKNOWN_FAMILY
from wemoe_pl.reporting.markdown import Markdown, grid
from wemoe_pl.reporting.published import PublishedRow, all_rows, published_rows
from wemoe_pl.reporting.results import parameter_counts
from wemoe_pl.system.configs import shipped_configs

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "methods.md"
MEASURED = ROOT / "docs" / "miniature.md"
SUITE = "CLIP ViT-B/32"
SUITES = ("clip-vit-b-32", "clip-vit-b-16", "clip-vit-l-14")
EXPERIMENTS = ("eight tasks", "14 tasks", "20 tasks")
DASH = "–"


class Entry(NamedTuple):
    """An entry is a row of the page: a config, and the names of its method elsewhere.

    Attributes:
        config: the name of the config.
        published: the names of the method in sources of published figures of the same settings.
        measured: a part of the name of its row in the table of docs/miniature.md, which tells it
            from other rows of the same method.
        note: a remark on the published figure.
        name: the name of the row; by default that of its method.
        options: the options of the merge method that replace those of the config.
        source: the source of the row; by default that of its merge method.
    """

    config: str
    published: tuple[str, ...] = ()
    measured: str = ""
    note: str = ""
    name: str = ""
    options: Mapping[str, Any] = MappingProxyType({})
    source: str = ""


BATCH = "routed by batch"
LABELS = "ExpertLabels"
SYMERGE = "arXiv 2412.19098"
FROZEN = MappingProxyType({"trains_heads": False})
ADAM = "by Adam, not in closed form"
ENTRIES = (
    Entry("pretrained", ("Pre-trained",)),
    Entry("simple_average", ("Simple Averaging",)),
    Entry("task_arithmetic", ("Task Arithmetic 0.3", "Task arithmetic")),
    Entry("ties", ("TIES 0.3",), "combine sum"),
    Entry("dare"),
    Entry("model_stock"),
    Entry("consensus", ("Consensus TA",)),
    Entry("lines", ("LiNeS on task arithmetic",)),
    Entry("svc", ("SVC on task arithmetic",)),
    Entry("tsv_m", ("TSV-M",)),
    Entry("core_space", note="for adapters of low rank"),
    Entry("iso_c", ("ISO-C (1.5)", "Iso-C")),
    Entry("iso_cts", ("ISO-CTS (1.5)", "Iso-CTS")),
    Entry("cart", ("CART",)),
    Entry("wudi", ("WUDI-Merging", "WUDI"), note=ADAM),
    Entry("fisher", ("Fisher Merging",), note="of another estimator"),
    Entry("regmean", ("RegMean",)),
    Entry("regmean_plus_plus", ("RegMean++",)),
    Entry("adamerging_task_wise", ("Task-wise AdaMerging 0.3",)),
    Entry("adamerging_layer_wise", ("Layer-wise AdaMerging 0.3",), "Entropy"),
    Entry("symerge", name="SyMerge, heads frozen", measured=LABELS, options=FROZEN, source=SYMERGE),
    Entry("symerge", ("SyMerge",), name="SyMerge", note="a step per task", source=SYMERGE),
    Entry("adapt_vitb32", ("WEMoE (depth 2)",), "router_depth 2, Dense", BATCH),
    Entry("e_wemoe", ("E-WEMoE 90%",), note=BATCH),
    Entry("smile", ("SMILE",)),
    Entry("mass", ("MASS (task unknown)",), note="the task unknown"),
    Entry("emr", ("EMR",)),
    Entry("tall_masks"),
    Entry("t_switch", ("T-Switch",)),
    Entry("individual", ("Fine-tuned (individual, STL)", "Individual")),
)


def main() -> None:
    """Put the tables into the page."""
    DOCUMENT.write_text(filled(DOCUMENT.read_text("utf-8")), encoding="utf-8")


def filled(text: str) -> str:
    """Put the tables between their marks in the text of the page."""
    tables = {
        "methods": methods_table(),
        "families": families_table(),
        "published": "\n".join(map(family_section, [*FAMILIES, UNKNOWN_FAMILY])),
    }
    for name, table in tables.items():
        text = insert(text, name, table)
    return text


def families_table() -> str:
    """Make the table of the families of checkpoints."""
    rows = [[family, about] for family, about in FAMILIES.items()]
    rows.append([UNKNOWN_FAMILY, "the source does not say, or it says several at once"])
    return grid(["family", "checkpoints"], rows, align="---") + "\n"


def methods_table() -> str:
    """Make the table of all methods."""
    rows = methods_rows()
    return grid([*rows[0]], [[*row.values()] for row in rows], align="---") + "\n"


def methods_rows() -> list[dict[str, str]]:
    """Return the rows of the table of all methods, by the titles of its columns."""
    measured = miniature_means(MEASURED.read_text("utf-8"))
    rows = []
    for entry in all_entries():
        method = replace(method_of(entry.config), **entry.options)  # type: ignore[type-var]
        config = f"[{entry.config}](../configs/{entry.config}.yaml){options_of(entry)}"
        rows.append(
            {
                "method": entry.name or spelled(method.label),
                "config": Markdown(config),
                "needs": needs(method),
                "stored": stored(method),
                "forward": forward(method),
                "source": entry.source or source(method),
                "published": published(entry),
                "miniature": measured_mean(entry, spelled(method.label), measured),
            }
        )
    return rows


def options_of(entry: Entry) -> str:
    """Write the options that replace those of the config."""
    return "".join(f", `{name}: {json.dumps(value)}`" for name, value in entry.options.items())


def measured_mean(entry: Entry, method: str, measured: Mapping[str, str]) -> str:
    """Find the mean of a row by the method's name, and by the entry's part of the row's name."""
    others = [row for row in measured if row.startswith(f"{method} (")]
    if not others and not entry.options:
        return measured.get(method, DASH)
    found = [measured[row] for row in others if entry.measured and entry.measured in row]
    return found[0] if len(found) == 1 else DASH


def all_entries() -> list[Entry]:
    """Return the rows, with one for every method that only a config knows, before the experts."""
    *entries, experts = ENTRIES
    known = {type(method_of(entry.config)) for entry in ENTRIES}
    for name in shipped_configs():
        config = name.removesuffix(".yaml")
        merge = job_of(config).get("init_args", {}).get("merge", {})
        if "class_path" in merge and type(built(merge)) not in known:
            entries.append(Entry(config))
    return [*entries, experts]


def job_of(config: str) -> dict[str, Any]:
    """Return the module of a config, as plain values."""
    text = (ROOT / "configs" / f"{config}.yaml").read_text("utf-8")
    return dict(yaml.safe_load(text).get("model", {}))


def method_of(config: str) -> MergeMethod:
    """Make the merge method of a config."""
    method = built(job_of(config)["init_args"]["merge"])
    assert isinstance(method, MergeMethod)
    return method


def built(described: Any) -> Any:
    """Make the object that a config describes by class and arguments; return other values as is."""
    if not isinstance(described, Mapping):
        return described
    arguments = {name: built(value) for name, value in described.get("init_args", {}).items()}
    return getattr(wemoe_pl, described["class_path"])(**arguments)


def needs(method: MergeMethod) -> str:
    """Say what a method needs in addition to weights."""
    if isinstance(method, PerTaskMethod | Individual):
        return "the task of every image"
    if isinstance(method, SampleMethod):
        return "training images" + (", labelled" if method.needs_labels else ", no labels")
    return "nothing" if method.is_static else "test images, no labels"


def stored(method: MergeMethod) -> str:
    """Return the stored size in addition to one model, in models."""
    if isinstance(method, PerTaskMethod | Individual):
        # The share is the same for every architecture; masks cannot be made without weights.
        suite = read_suite("miniature")
        encoder, experts = suite.load_pretrained(), suite.load_experts()
        total = parameter_counts(method.merge(encoder, experts))["total"]
    elif isinstance(method, WEMoE | SMILE | MASS):
        encoder = read_suite("clip_vitb32").backbone.skeleton()
        total, _ = sizes(method, encoder, tasks=8)
    else:
        return "0"
    return f"{total / parameter_counts(encoder)['total'] - 1:.2f}"


def forward(method: MergeMethod) -> str:
    """Say what the forward pass of an image costs."""
    if isinstance(method, PerTaskMethod | Individual):
        return "one model, unpacked when the task changes"
    if isinstance(method, WEMoE):
        return "one model, routers, and its MLPs merged per image"
    if isinstance(method, MASS):
        return "two models, of which one is merged for what the other has chosen"
    if isinstance(method, SMILE):
        return "one model, and low-rank factors of all experts per token"
    return "one model"


def source(method: MergeMethod) -> str:
    """Find the source of a method in the docstring of its class, or else of its file."""
    kind = type(method)
    texts = (kind.__doc__ or "", sys.modules[kind.__module__].__doc__ or "")
    found = (re.search(r"arXiv (\d{4}\.\d{5})", text) for text in texts)
    first = next(filter(None, found), None)
    return first[0] if first else DASH


def published(entry: Entry) -> str:
    """List the published means of a row, each with its family."""
    figures = []
    for family in (*FAMILIES, UNKNOWN_FAMILY):
        rows = published_rows(SUITE, EXPERIMENTS[0], family)
        named = [row for row in rows if row.method in entry.published]
        figures += [f"{mean_of(row)} ({family})" for row in named]
    note = f"; {entry.note}" if entry.note else ""
    return ", ".join(figures) + note if figures else DASH


def mean_of(row: PublishedRow) -> str:
    """Write a published mean, marked if it is quoted by others."""
    assert row.mean is not None
    mark = "" if row.seen == "source" else " †"
    return f"{100 * row.mean:.1f}{mark}"


def miniature_means(document: str) -> dict[str, str]:
    """Read the column of means of the first table of docs/miniature.md, by row."""
    _, _, rest = document.partition("<!-- table: methods -->")
    lines = [line.strip("| ").split(" | ") for line in rest.partition("<!-- end")[0].splitlines()]
    header, _, *rows = (line for line in lines if len(line) > 1)
    place = header.index("mean")
    return {spelled(row[0]): row[place].strip("*") for row in rows}


def family_section(family: str) -> str:
    """Make the section of a family: its rows by method and source, a column per architecture."""
    titles = ["method", "B/32: 8, 14, 20", "B/16: 8, 14, 20", "L/14: 8, 14, 20", "source"]
    rows = [row for row in all_rows() if row.checkpoint_family == family and size_of(row)]
    lines: dict[tuple[str, str], list[PublishedRow]] = {}
    for row in rows:
        lines.setdefault((row.method, row.source), []).append(row)
    cells = [
        [method, *(means_of(s, found) for s in SUITES), origin]
        for (method, origin), found in lines.items()
    ]
    return f"### Family {family}\n\n{grid(titles, cells, align='---')}\n"


def size_of(row: PublishedRow) -> str | None:
    """Return the experiment of a row, if it is of all eight, 14 or 20 tasks, and not corrupted."""
    return next((e for e in EXPERIMENTS if row.experiment.partition(" with")[0] == e), None)


def means_of(suite: str, rows: Iterable[PublishedRow]) -> str:
    """Write the means of one architecture for 8, 14 and 20 tasks."""
    means = {size_of(row): mean_of(row) for row in rows if row.suite == suite}
    return ", ".join(means.get(e, DASH) for e in EXPERIMENTS) if means else DASH


if __name__ == "__main__":
    torch.manual_seed(0)  # routers get random weights, but are only counted
    main()
