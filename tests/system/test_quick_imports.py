"""What is imported quickly is looked at no more, and a library that nobody calls is not loaded."""

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wemoe_pl.system.quick_imports import quick_imports


@pytest.fixture
def collecting() -> Iterator[None]:
    """Garbage is collected as before when a test has ended."""
    yield
    gc.enable()


def test_what_is_imported_first_is_never_looked_at_again() -> None:
    program = """
import gc
from wemoe_pl.system.quick_imports import quick_imports

with quick_imports():
    assert not gc.isenabled()
    import decimal
assert gc.isenabled()
assert gc.get_freeze_count() > 1000
assert not any(each is decimal.__dict__ for each in gc.get_objects())
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_garbage_is_collected_after_an_import_that_fails() -> None:
    program = """
import gc
from wemoe_pl.system.quick_imports import quick_imports

try:
    with quick_imports():
        import no_such_module
except ModuleNotFoundError:
    assert gc.isenabled()
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_program_that_has_torch_already_keeps_its_garbage_collector_as_it_is() -> None:
    assert "torch" in sys.modules
    frozen = gc.get_freeze_count()
    with quick_imports():
        assert gc.isenabled()
    assert gc.get_freeze_count() == frozen


def test_so_does_one_that_collects_none(collecting: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    frozen = gc.get_freeze_count()
    gc.disable()
    with quick_imports():
        assert not gc.isenabled()
    assert not gc.isenabled()
    assert gc.get_freeze_count() == frozen


def test_a_late_library_is_loaded_when_something_of_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "late_one.py").write_text("said = 'loaded'")
    (tmp_path / "late_other").mkdir()
    (tmp_path / "late_other/__init__.py").write_text("said = 'loaded'")
    (tmp_path / "late_other/part.py").write_text("from late_other import said\ntold = [said]")
    program = """
import inspect, sys
from wemoe_pl.system.quick_imports import import_late

sys.path.insert(0, sys.argv[1])
import_late("late_one")
import late_one
inspect.getmodule(inspect.currentframe())  # which asks every module for its file
assert "said" not in vars(late_one)
assert late_one.said == "loaded"
import_late("late_one")
assert sys.modules["late_one"] is late_one

import_late("late_other")
from late_other.part import told
assert told == ["loaded"]
import_late("late_that_is_not_there")
assert "late_that_is_not_there" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60)


def test_a_part_of_a_library_can_be_late_and_have_attributes_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "late_whole").mkdir()
    (tmp_path / "late_whole/__init__.py").write_text("")
    (tmp_path / "late_whole/part.py").write_text("said = 'loaded'\ntaught = 'by itself'")
    program = """
import sys
from wemoe_pl.system.quick_imports import import_late

sys.path.insert(0, sys.argv[1])
import_late("late_whole.part", taught="by us", other="by us")
import late_whole.part
from late_whole import part
assert (part.taught, part.other, "said" in vars(part)) == ("by us", "by us", False)
assert part.said == "loaded"
assert (part.taught, part.other) == ("by itself", "by us")
import_late("late_that_is_not_there.part")
assert "late_that_is_not_there.part" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60)


def test_the_command_line_does_not_load_what_torchmetrics_never_calls_here() -> None:
    program = """
import sys
from wemoe_pl.system.quick_imports import quick_imports

with quick_imports():
    import wemoe_pl.cli.verbs
assert "torchmetrics" in sys.modules
assert "scipy.signal" in sys.modules and "scipy.signal.windows" not in sys.modules
import numpy, scipy.signal
numpy.testing.assert_allclose(scipy.signal.hamming(3), [0.08, 1.0, 0.08])
assert len(scipy.signal.find_peaks([0, 1, 0])[0]) == 1
assert "scipy.signal.windows" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
