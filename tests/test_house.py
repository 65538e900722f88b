"""The house stays one in which a stranger finds the way: small files, and a name for one thing."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest
from helpers.first_sentences import described, faults_in, reason_against

import wemoe_pl

PACKAGE = Path(wemoe_pl.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LINES_OF_A_FILE = 300
LINES_OF_A_CLASS = 150
NAMES_AT_THE_TOP = 16
OF_EVERY_FILE = {"__all__", "T", "log", "logger"}


def defined_names(tree: ast.Module) -> set[str]:
    """The classes, functions and constants at the top level of a file."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {
                part.id
                for target in targets
                for part in ast.walk(target)
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
            }
    return names - OF_EVERY_FILE


def place(path: Path) -> str:
    """The path of a file below the package."""
    return path.relative_to(PACKAGE).as_posix()


def test_few_names_lie_at_the_top_of_the_package() -> None:
    beside = {"__init__.py", "__init__.pyi", "__main__.py", "__pycache__", "py.typed"}
    assert len({path.name for path in PACKAGE.iterdir()} - beside) <= NAMES_AT_THE_TOP


@pytest.mark.parametrize("path", FILES, ids=place)
def test_files_and_classes_are_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LINES_OF_A_FILE
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            assert (node.end_lineno or 0) - node.lineno < LINES_OF_A_CLASS, node.name


def test_no_name_is_defined_in_two_files() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        for name in defined_names(ast.parse(path.read_text())):
            homes[name].append(place(path))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def test_the_page_on_the_architecture_names_every_folder_and_only_files_that_exist() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    folders = re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE)
    assert set(folders) == {p.name for p in PACKAGE.iterdir() if p.is_dir()} - {"__pycache__"}
    known = {place(path) for path in FILES}
    for name in re.findall(r"`([\w/]+\.py)`", page.replace("tests/test_imports.py", "")):
        assert any(path == name or path.endswith(f"/{name}") for path in known), name


def test_every_docstring_begins_with_a_sentence() -> None:
    assert not [str(fault) for path in FILES for fault in faults_in(path)]


@pytest.mark.parametrize(
    ("first", "is_function", "reason"),
    [
        ("Of each timing, of which the median counts.", False, "a fragment"),
        ("What every LightningModule of a merge method is.", False, "a fragment"),
        ("A router computes one weight per expert.", False, ""),
        ("The median of all timings.", True, 'a function says what it does, such as "Return …"'),
        ("Is there a router?", True, 'a function says what it does, such as "Return …"'),
        ("(B, N, D) → (B, T).", True, 'a function says what it does, such as "Return …"'),
        ("Return the median of all timings.", True, ""),
    ],
)
def test_what_a_first_sentence_may_not_be(first: str, is_function: bool, reason: str) -> None:
    assert reason_against(first, is_function) == reason


def test_arguments_are_found_whose_description_is_a_fragment(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text(
        '"""Do something."""\n\n\ndef f(a, b):\n    """Do it.\n\n    Args:\n'
        "        a: of the run.\n"
        '        b: the name of the run,\n            of which there is one.\n    """\n'
    )
    [fault] = faults_in(source)
    assert (fault.line, fault.name, fault.text) == (4, "f", "of the run.")
    assert [*described("Do it.\n\nArgs:\n    a: the b.\n\nOf: no argument")] == [("a", "the b.")]
