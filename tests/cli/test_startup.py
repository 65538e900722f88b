"""Large libraries are imported without a look at garbage, and are none later on."""

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from wemoe_pl.cli.startup import quick_imports


@pytest.fixture
def collecting() -> Iterator[None]:
    """Garbage is collected as before when a test has ended."""
    yield
    gc.enable()


def test_what_is_imported_first_is_never_looked_at_again() -> None:
    program = """
import gc
from wemoe_pl.cli.startup import quick_imports

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
from wemoe_pl.cli.startup import quick_imports

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
