"""Imports go one way, from the models to the command line, and plain torch stays plain."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wemoe_pl

ORDER = [
    "__init__",
    "errors",
    "public_names",
    "signals",
    "files",
    "configs",
    "precisions",
    "layouts",
    "yaml_events",
    "yaml_names",
    "plain_yaml",
    "parser_policy",
    "provenance",
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
    "stopwatch",
    "kernels",
    "moe",
    "merging",
    "architecture",
    "recipes",
    "entropy",
    "task_inference",
    "pixels",
    "classifier",
    "streams",
    "contents",
    "data",
    "scores",
    "routing",
    "unknown_task",
    "runs",
    "last_checkpoint",
    "processes",
    "evaluate",
    "predictions",
    "results",
    "curves",
    "finetune",
    "merged",
    "adapt",
    "sample_merging",
    "sharding",
    "export",
    "loading",
    "collapse",
    "preflight",
    "published",
    "plots",
    "report",
    "analysis",
    "page",
    "tables",
    "pictures",
    "loggers",
    "dashboard",
    "bench",
    "startup",
    "launchers",
    "commands",
    "options",
    "completion",
    "prepare",
    "grids",
    "sweep",
    "parsing",
    "job_config",
    "jobs",
    "verbs",
    "faults",
    "running",
    "cli",
    "__main__",
]
PLAIN_TORCH = ORDER[: ORDER.index("classifier") + 1]
COMMAND_LINE = ORDER[ORDER.index("startup") :]
# Of packages that need torch, the files that do not.
NAMES = ["bench/names", "export/names"]
NO_TORCH = [
    *ORDER[: ORDER.index("parser_policy")],
    *NAMES,
    *COMMAND_LINE[: COMMAND_LINE.index("completion") + 1],
    *("cli", "__main__"),
]
PACKAGE = Path(wemoe_pl.__file__).parent


def sources(module: str) -> list[Path]:
    """The file of a module, or all files of a package."""
    path = PACKAGE / module
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def parts(node: ast.AST, at_once: bool) -> Iterator[ast.AST]:
    """A piece of a program and all its parts; without what only runs in a call, if `at_once`."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (at_once and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)):
            yield from parts(child, at_once)


def imported_names(path: Path, at_once: bool) -> set[str]:
    """The dotted names that a file imports: anywhere, or when it is imported itself."""
    names = set()
    for node in parts(ast.parse(path.read_text()), at_once):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def names_in(module: str, at_once: bool = False) -> list[list[str]]:
    """The names that a module imports, cut at their dots."""
    found = [name for path in sources(module) for name in imported_names(path, at_once)]
    return [name.split(".") for name in found]


def libraries(module: str, at_once: bool = False) -> set[str]:
    """The top-level packages that a module imports."""
    return {name[0] for name in names_in(module, at_once)}


def siblings(module: str, at_once: bool = False) -> set[str]:
    """The other modules of `wemoe_pl` that a module imports."""
    own = [name[1:3] for name in names_in(module, at_once) if name[0] == "wemoe_pl"]
    named = {path if (path := "/".join(name)) in NAMES else name[0] for name in own} - {module}
    return {name if name in (*ORDER, *NAMES) else "__init__" for name in named}


def test_every_module_has_its_place_in_the_order() -> None:
    modules = {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py")}
    assert {name.removesuffix(".py") for name in modules} == set(ORDER)


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_from_modules_above_it(module: str) -> None:
    above = ORDER[: ORDER.index(module)]
    assert {name.partition("/")[0] for name in siblings(module)} - {module} <= set(above)


@pytest.mark.parametrize("module", PLAIN_TORCH)
def test_models_and_their_merging_know_nothing_of_lightning(module: str) -> None:
    assert libraries(module).isdisjoint({"lightning", "pytorch_lightning", "torchmetrics"})


@pytest.mark.parametrize("module", NO_TORCH)
def test_what_is_answered_without_torch_imports_only_what_is_quick(module: str) -> None:
    assert siblings(module, at_once=True) <= set(NO_TORCH)
    quick = {"wemoe_pl", "platformdirs", "yaml", *sys.stdlib_module_names}
    assert libraries(module, at_once=True) <= quick


def test_only_the_command_line_waits_with_an_import_until_something_must_run() -> None:
    late = {module for module in NO_TORCH if siblings(module) - set(NO_TORCH)}
    assert late == {"cli"}
    assert siblings("cli") - set(NO_TORCH) == {"running"}
