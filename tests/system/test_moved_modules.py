"""Old names of modules mean the new modules, and import nothing twice."""

import importlib
import subprocess
import sys

import pytest

from wemoe_pl.system.moved_modules import MOVED


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_an_old_name_means_the_module_of_the_new_one(old: str, new: str) -> None:
    assert importlib.import_module(old) is importlib.import_module(new)


def test_what_lies_below_a_moved_package_is_the_same_too() -> None:
    old = importlib.import_module("wemoe_pl.tasks.folders")
    new = importlib.import_module("wemoe_pl.data.tasks.folders")
    assert old is new
    assert old.__name__ == "wemoe_pl.data.tasks.folders"


@pytest.mark.slow
def test_timm_knows_the_architecture_after_the_import_that_cards_name() -> None:
    program = (
        "import wemoe_pl.architecture, timm; assert timm.is_model('wemoe'); "
        "from wemoe_pl.tasks import path_of, ImageFolderTask; import wemoe_pl; "
        "assert wemoe_pl.ImageFolderTask is ImageFolderTask"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("name", ["wemoe_pl.architectures", "wemoe_pl.tasksy", "wemoe_pl.nowhere"])
def test_other_names_are_no_modules(name: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=name):
        importlib.import_module(name)
