"""Importing torch and all that comes with it takes seconds: what nobody needs is left out of it."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

# Libraries that timm imports, where they are installed, for what is rarely or never called here.
LATE = ("wandb",)


@contextmanager
def quick_imports() -> Iterator[None]:
    """Look for no garbage while torch and all that comes with it is imported, nor ever in that.

    There is none: a million objects are made, nearly all of which live as long as the program.
    To go through them again and again takes a third of the time of the import, and to do so once
    more when the program ends takes over a second. A library that others import only in case it is
    called is loaded when it is.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        for name in LATE:
            import_late(name)
        yield
    finally:
        gc.freeze()
        gc.enable()


def import_late(name: str) -> None:
    """Put a library among the imported ones which is loaded as soon as anything of it is used.

    Args:
        name: without dots. Where it is imported already, or not installed, nothing changes.
    """
    spec = None if name in sys.modules else find_spec(name)
    if spec is not None and spec.loader is not None:
        module = sys.modules[name] = module_from_spec(spec)
        module.__class__ = LateModule
        vars(module).pop("__path__", None)  # which the import of a part of it asks for


class LateModule(ModuleType):
    """A library of which nothing was used yet.

    Python's own `LazyLoader` loads a module as soon as somebody asks for its file, as torch does of
    all modules when it is imported.
    """

    def __getattr__(self, name: str) -> Any:
        """Load it, since something is asked for that it does not have before."""
        spec = self.__spec__
        assert spec is not None
        assert spec.loader is not None
        self.__class__ = ModuleType  # type: ignore[assignment]
        if spec.submodule_search_locations is not None:
            self.__path__ = spec.submodule_search_locations
        spec.loader.exec_module(self)
        return getattr(self, name)
