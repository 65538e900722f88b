"""Packages of one's own: found in the current folder, alone, and wrong ones named."""

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from wemoe_pl.data.streams import TaskBatches
from wemoe_pl.errors import ConfigError
from wemoe_pl.system.own_packages import VARIABLE, import_allowed, own_places
from wemoe_pl.system.trust import check_parts, only_allowed

Lay = Callable[[dict[str, str]], Path]
NAMES = ("own_colours", "own_shapes", "own_single")


@pytest.fixture
def lay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lay]:
    """`lay({path: text})`: files of the current folder, which is returned."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "")

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return tmp_path

    yield write
    for name in list(sys.modules):
        if name.partition(".")[0] in NAMES:
            del sys.modules[name]


def test_a_package_is_imported_from_the_current_folder_and_nothing_beside_it(lay: Lay) -> None:
    lay(
        {
            "own_colours/__init__.py": "from own_colours.red import BLUE\nimport torch",
            "own_colours/red.py": "from own_colours.blue import BLUE",
            "own_colours/blue.py": "BLUE = 1",
            "own_shapes.py": "raise SystemExit",
            "torch.py": "raise SystemExit",
        }
    )
    path = list(sys.path)
    import_allowed(["own_colours"])
    module = sys.modules["own_colours"]
    assert (module.BLUE, module.torch) == (1, sys.modules["torch"])
    assert sys.path == path
    with pytest.raises(ModuleNotFoundError, match="own_shapes"):
        import_module("own_shapes")


def test_a_single_file_is_a_package_and_so_is_a_folder_without_init(lay: Lay) -> None:
    folder = lay({"own_single.py": "X = 1", "own_shapes/square.py": "X = 2"})
    import_allowed(["own_single", "own_shapes"])
    assert import_module("own_shapes.square").X == 2
    places = {"own_single": folder / "own_single.py", "own_shapes": folder / "own_shapes"}
    assert own_places() == places


def test_it_is_found_from_another_folder_once_it_is_known(
    lay: Lay, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay({"own_shapes/round.py": "", "own_single.py": ""})
    import_allowed(["own_shapes", "own_single"])
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    import_module("own_shapes.round")
    import_allowed(["own_single"])


@pytest.mark.slow  # it imports torch anew
def test_a_process_that_starts_from_nothing_finds_it_in_what_it_is_given(lay: Lay) -> None:
    lay({"own_single.py": "class Images(list): pass"})
    import_allowed(["own_single"])
    batches = TaskBatches("cars", sys.modules["own_single"].Images([7]))
    process = multiprocessing.get_context("spawn").Process(target=len, args=[batches])
    process.start()
    process.join(120)
    assert process.exitcode == 0


def test_a_name_that_is_nowhere_is_answered_with_the_nearest_one_here(lay: Lay) -> None:
    folder = lay({"own_single.py": "", "own_shapes/__init__.py": ""})
    with pytest.raises(ConfigError) as error:
        import_allowed(["own_singel"])
    assert str(error.value) == (
        f"There is no package 'own_singel', neither installed nor here ({folder}). "
        "Did you mean 'own_single'? Valid names: own_shapes, own_single."
    )


def test_what_is_installed_counts_and_another_of_its_name_is_warned_of(lay: Lay) -> None:
    folder = lay({"calendar.py": "raise SystemExit"})
    (folder / "email").mkdir()  # without code, it is no package that could be meant
    with pytest.warns(UserWarning, match=r"not from here \(.*calendar.py\)") as warned:
        import_allowed(["calendar", "email"])
    assert len(warned) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("\nx = 1 +", "own_shapes/methods.py, line 2, is not valid Python: invalid syntax."),
        ("\n\nx", "own_shapes/methods.py, line 3, cannot be imported: NameError: name 'x' is not"),
        ("def f(): 1 / 0\nf()", "methods.py, line 2, cannot be imported: ZeroDivisionError: "),
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'."),
        (
            "import own_single",
            "line 1, cannot be imported: ModuleNotFoundError: No module named 'own_single'. It "
            "lies here: allow it too, with --allow own_single, or put it into the package.",
        ),
    ],
)
@pytest.mark.parametrize("at_once", [True, False], ids=["package", "module in it"])
def test_what_cannot_be_imported_is_named_with_its_line(
    text: str, sentence: str, at_once: bool, lay: Lay
) -> None:
    package = {"own_shapes/__init__.py": "import own_shapes.methods" if at_once else ""}
    folder = lay(package | {"own_shapes/methods.py": text, "own_single.py": ""})
    with pytest.raises(ConfigError) as error, only_allowed(["own_shapes"]):
        as_jsonargparse_does("own_shapes.methods")
    assert sentence in str(error.value)
    assert str(error.value).startswith(str(folder / "own_shapes/methods.py"))


def as_jsonargparse_does(name: str) -> None:
    try:
        import_module(name)
    except Exception as error:
        raise ValueError("There is no such class.") from error


def test_what_a_block_around_allows_stays_allowed(lay: Lay) -> None:
    lay({"own_single.py": "class Method: pass"})
    settings = {"class_path": "own_single.Method"}
    with only_allowed(["own_single"]), only_allowed():
        check_parts(settings)
    with pytest.raises(ConfigError, match=r"may not name 'own_single.Method'"), only_allowed():
        check_parts(settings)


def test_errors_of_anything_else_stay_as_they_are(lay: Lay) -> None:
    lay({"own_single.py": "def fail(): raise KeyError('x')"})
    with pytest.raises(KeyError), only_allowed(["own_single"]):
        sys.modules["own_single"].fail()
