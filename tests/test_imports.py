"""Imports go one way, from the models to the command line, and plain torch stays plain."""

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import wemoe_pl

# The folders of the package, each a stage that imports only from those above it.
STAGES = [
    "__init__", "errors", "system", "checkpoints", "data", "moe", "merging", "model", "runs",
    "training", "callbacks", "reporting", "export", "bench", "preflight", "cli", "__main__",
]  # fmt: skip
PLAIN_TORCH = ("moe", "merging", "model")
# What the command line needs for its help, for completion and for most mistakes.
WITHOUT_TORCH = [
    "__init__", "__main__", "bench.__init__", "bench.names", "cli.__init__", "cli.completion",
    "cli.help", "cli.launchers", "cli.main", "cli.options", "cli.verb_parsers", "errors",
    "export.__init__", "export.names", "moe.__init__", "moe.precision", "reporting.__init__",
    "reporting.families", "reporting.markdown", "reporting.table", "runs.__init__",
    "runs.settings", "system.__init__", "system.address_space", "system.configs",
    "system.files", "system.moved_modules", "system.near_paths", "system.own_packages",
    "system.plain_yaml", "system.public_names", "system.quick_imports", "system.signals",
    "system.spreadsheets", "system.terminal", "system.warn", "system.yaml_names",
]  # fmt: skip
QUICK = {"wemoe_pl", "lazy_loader", "platformdirs", "yaml", *sys.stdlib_module_names}
PACKAGE = Path(wemoe_pl.__file__).parent


def module_of(path: Path) -> str:
    """The dotted name of a file below the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def stage_of(module: str) -> str:
    """The folder, or the file at the top, that a module is in."""
    return module.split(".")[0]


def parts(node: ast.AST, at_once: bool) -> Iterator[ast.AST]:
    """A piece of a program and all its parts; without what only runs in a call, if `at_once`."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (at_once and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)):
            yield from parts(child, at_once)


def imported_names(path: Path, at_once: bool = False) -> set[str]:
    """The dotted names that a file imports: anywhere, or when it is imported itself."""
    names = set()
    for node in parts(ast.parse(path.read_text()), at_once):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def libraries(path: Path, at_once: bool = False) -> set[str]:
    """The top-level packages that a file imports."""
    return {name.split(".")[0] for name in imported_names(path, at_once)}


def siblings(path: Path, at_once: bool = False) -> set[str]:
    """The modules of the package that a file imports."""
    names = (name for name in imported_names(path, at_once) if name.split(".")[0] == "wemoe_pl")
    return {module_named(name) for name in names} - {module_of(path)}


def module_named(name: str) -> str:
    """The module that a dotted name is, or that it is in."""
    inner = name.split(".")[1:]
    ends = (".".join(inner[:end]) for end in range(len(inner), 0, -1))
    found = (end if end in MODULES else f"{end}.__init__" for end in ends)
    return next((module for module in found if module in MODULES), "__init__")


def test_every_file_is_in_a_stage() -> None:
    assert {stage_of(module) for module in MODULES} == set(STAGES)


@pytest.mark.parametrize("module", [m for m in MODULES if m != "__init__"])
def test_a_file_imports_only_from_its_own_stage_and_those_above(module: str) -> None:
    below = STAGES[STAGES.index(stage_of(module)) + 1 :]
    assert {stage_of(name) for name in siblings(MODULES[module])}.isdisjoint(below)


def test_the_package_itself_imports_nothing_but_what_imports_others() -> None:
    assert siblings(MODULES["__init__"]) == {
        "system.moved_modules", "system.own_packages", "system.quick_imports",
    }  # fmt: skip


def test_no_two_files_import_each_other() -> None:
    # The package itself is left out: whoever asks it for a name waits until that is imported.
    imports = {module: siblings(path) - {"__init__"} for module, path in MODULES.items()}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(f"They import each other: {error.args[1]}")


@pytest.mark.parametrize("module", [m for m in MODULES if stage_of(m) in PLAIN_TORCH])
def test_models_and_their_merging_know_nothing_of_lightning(module: str) -> None:
    lightning = {"lightning", "pytorch_lightning", "torchmetrics"}
    assert libraries(MODULES[module]).isdisjoint(lightning)
    for name in siblings(MODULES[module]):
        assert libraries(MODULES[name], at_once=True).isdisjoint(lightning), name


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_what_is_answered_without_torch_imports_only_what_is_quick(module: str) -> None:
    assert siblings(MODULES[module], at_once=True) <= set(WITHOUT_TORCH)
    assert libraries(MODULES[module], at_once=True) <= QUICK


def test_only_the_command_line_waits_with_an_import_until_something_must_run() -> None:
    late = {m: siblings(MODULES[m]) - set(WITHOUT_TORCH) for m in WITHOUT_TORCH}
    assert {m: names for m, names in late.items() if names} == {
        "cli.main": {"cli.predict", "cli.serve", "cli.verbs"}
    }
