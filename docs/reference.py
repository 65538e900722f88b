"""Write the pages of the reference: one for each merge method, each objective, and each room.

The names are those of `wemoe_pl/__init__.pyi`, so that no public name can be missing. `conf.py`
runs this before a build; the pages lie in `docs/reference/`, which is no part of the repository.
"""

import ast
import inspect
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plots
import yaml

import wemoe_pl
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.model.recipe import describe
from wemoe_pl.training.objectives.base import Objective

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "reference"
FORMULAE = yaml.safe_load((ROOT / "docs" / "formulae.yaml").read_text("utf-8"))
PICTURES = yaml.safe_load((ROOT / "docs" / "pictures.yaml").read_text("utf-8"))
ROOMS = {
    "errors": "Errors",
    "data": "Tasks, suites and images",
    "checkpoints": "Encoders and heads",
    "moe": "Task vectors, dictionaries and routers",
    "merging": "Merging",
    "model": "The merged model",
    "training": "Training",
    "export": "Models in Python",
    "callbacks": "Callbacks",
    "reporting": "Loggers",
    "preflight": "Advice before merging",
}

# The facts of the table in docs/methods.md, in the words of a page about one method.
FACTS = {
    "needs": "What it needs besides weights",
    "stored": "Parameters stored beside one model, in models",
    "forward": "What a forward pass computes",
    "source": "Source",
    "published": "Published mean, CLIP ViT-B/32, eight tasks (family of checkpoints)",
    "miniature": "Mean on the miniature, rendered images",
}


def write_pages() -> None:
    """Write all pages anew; a page that has not changed keeps its time, and is not built again."""
    homes = public_names()
    pages = dict(method_pages(homes)) | dict(objective_pages(homes)) | dict(room_pages(homes))
    pages["index"] = index_of(pages)
    PAGES.mkdir(exist_ok=True)
    plots.write_plots(PAGES / "plots")
    for old in PAGES.glob("*.md"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        path = PAGES / f"{name}.md"
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, encoding="utf-8")


def public_names() -> dict[str, str]:
    """Return the room of every public name, in the order of the stub."""
    stub = ast.parse(Path(wemoe_pl.__file__).with_suffix(".pyi").read_text("utf-8"))
    imports = (node for node in stub.body if isinstance(node, ast.ImportFrom) and node.level)
    return {
        alias.name: str(node.module).partition(".")[0] for node in imports for alias in node.names
    }


def is_a(name: str, base: type) -> bool:
    """Return whether a public name is a class that can be chosen for a base class."""
    found = getattr(wemoe_pl, name)
    return inspect.isclass(found) and issubclass(found, base) and not inspect.isabstract(found)


def method_pages(homes: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the names and texts of the pages of merge methods, in the order of docs/methods.md."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    table = runpy.run_path(str(ROOT / "benchmarks" / "methods_page.py"))
    rows = table["methods_rows"]()
    shown = set()
    for entry, row in zip(table["all_entries"](), rows, strict=True):
        name = type(table["method_of"](entry.config)).__name__
        if name in shown or name not in homes:
            continue
        shown.add(name)
        facts = "\n".join(f"| {FACTS[key]} | {cell} |" for key, cell in row.items() if key in FACTS)
        config = f"../../configs/{entry.config}.yaml"
        yield (
            name,
            page(name)
            + f"""
| | |
|---|---|
{facts}

```{{literalinclude}} {config}
:language: yaml
```
""",
        )


def objective_pages(homes: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the names and texts of the pages of objectives."""
    for name in homes:
        if is_a(name, Objective):
            kind = getattr(wemoe_pl, name)
            example = kind([wemoe_pl.Entropy()]) if name == "WeightedSum" else kind()
            setting: dict[str, Any] = {"model": {"init_args": {"objective": describe(example)}}}
            text = yaml.safe_dump(setting, sort_keys=False)
            yield (
                name,
                page(name)
                + f"""
In a config:

```yaml
{text}```
""",
            )


def room_pages(homes: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the names and texts of the pages of all other public names, by room."""
    for room, title in ROOMS.items():
        names = [
            name
            for name, home in homes.items()
            if home == room and not is_a(name, MergeMethod) and not is_a(name, Objective)
        ]
        if names:
            yield room, f"# {title}\n\n" + "\n".join(map(entry_of, names))


def page(name: str) -> str:
    """Return the beginning of the page of a class: its formula if it has one, and its docstring."""
    parts = (part.strip(" ,\n") for part in FORMULAE.get(name, "").split(r"\qquad"))
    formulae = "\n\n".join(f"$$\n{part}\n$$" for part in parts if part)
    return f"# {name}\n\n{formulae}\n\n{entry_of(name)}"


def entry_of(name: str) -> str:
    """Return the block that has autodoc describe a public name, and that of its picture."""
    found = getattr(wemoe_pl, name)
    kind = "class" if inspect.isclass(found) else "function"
    has_page = is_a(name, MergeMethod) or is_a(name, Objective)
    options = "   :members:\n" if kind == "class" and not has_page else ""
    described = f"```{{eval-rst}}\n.. auto{kind}:: wemoe_pl.{name}\n{options}```\n"
    return described + (picture_of(name) if name in PICTURES else "")


def picture_of(name: str) -> str:
    """Return the block that shows the picture of a class."""
    picture = PICTURES[name]
    return f"""
```{{figure}} {picture.get("file", f"plots/{name}.svg")}
:alt: {picture["instead"]}

{picture["caption"]}
```
"""


def index_of(pages: dict[str, str]) -> str:
    """Return the page that lists the others."""
    methods = [name for name in pages if name in FORMULAE and is_a(name, MergeMethod)]
    objectives = [name for name in pages if name in FORMULAE and is_a(name, Objective)]
    rooms = [name for name in pages if name in ROOMS]
    parts = {"Merge methods": methods, "Objectives": objectives, "Everything else": rooms}
    trees = "\n".join(
        f"```{{toctree}}\n:caption: {title}\n\n" + "\n".join(names) + "\n```\n"
        for title, names in parts.items()
    )
    return f"# Reference\n\nThis is every public name of `wemoe_pl`.\n\n{trees}"
