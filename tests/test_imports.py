"""Imports go one way, from the models to the command line, and plain torch stays plain."""

import ast
from pathlib import Path

import pytest

import wemoe_pl

ORDER = [
    "__init__",
    "errors",
    "files",
    "configs",
    "options",
    "hub",
    "tasks",
    "corruptions",
    "miniature",
    "checkpoints",
    "heads",
    "zero_shot",
    "suites",
    "task_vectors",
    "dictionaries",
    "kernels",
    "moe",
    "merging",
    "recipes",
    "classifier",
    "pixels",
    "data",
    "routing",
    "scores",
    "unknown_task",
    "run_checkpoint",
    "evaluate",
    "finetune",
    "merged",
    "adapt",
    "sample_merging",
    "collapse",
    "prepare",
    "published",
    "plots",
    "report",
    "layouts",
    "tables",
    "analysis",
    "grids",
    "sweep",
    "parsing",
    "jobs",
    "verbs",
    "cli",
    "__main__",
]
PLAIN_TORCH = ORDER[: ORDER.index("classifier") + 1]
NO_TORCH = ["__init__", "errors", "files", "configs", "__main__"]
PACKAGE = Path(wemoe_pl.__file__).parent


def sources(module: str) -> list[Path]:
    """The file of a module, or all files of a package."""
    path = PACKAGE / module
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def imported_names(path: Path) -> set[str]:
    """The dotted names that a file imports anywhere, even inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def libraries(module: str) -> set[str]:
    """The top-level packages that a module imports."""
    return {name.partition(".")[0] for path in sources(module) for name in imported_names(path)}


def siblings(module: str) -> set[str]:
    """The other modules of `wemoe_pl` that a module imports."""
    parts = [name.split(".") for path in sources(module) for name in imported_names(path)]
    named = {name[1] for name in parts if name[0] == "wemoe_pl"} - {module}
    return {name if name in ORDER else "__init__" for name in named}


def test_every_module_has_its_place_in_the_order() -> None:
    modules = {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py")}
    assert {name.removesuffix(".py") for name in modules} == set(ORDER)


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_from_modules_above_it(module: str) -> None:
    above = ORDER[: ORDER.index(module)]
    assert siblings(module) <= set(above)


@pytest.mark.parametrize("module", PLAIN_TORCH)
def test_models_and_their_merging_know_nothing_of_lightning(module: str) -> None:
    assert libraries(module).isdisjoint({"lightning", "pytorch_lightning", "torchmetrics"})


@pytest.mark.parametrize("module", NO_TORCH)
def test_a_config_is_found_and_an_error_raised_without_torch(module: str) -> None:
    assert libraries(module).isdisjoint({"torch", "timm", "lightning", "safetensors"})
