"""Speed up the import of torch, which takes seconds, by leaving out what nobody needs."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

# timm imports these libraries, if they are installed, for functions that are hardly called here.
LATE = ("wandb",)


@contextmanager
def quick_imports() -> Iterator[None]:
    """Suspend the garbage collector while torch is imported, and keep it from the new objects.

    The import makes a million objects, nearly all of which live as long as the program. To go
    through them again and again takes a third of the time of the import, and to do so once more
    when the program ends takes over a second. Libraries that others import only in case they need
    them (`LATE`) are loaded when they are used.
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
    """Register a library as imported, although it is loaded only when it is first used.

    Args:
        name: the name, without dots. Nothing changes if it is imported already or not installed.
    """
    spec = None if name in sys.modules else find_spec(name)
    if spec is not None and spec.loader is not None:
        module = sys.modules[name] = module_from_spec(spec)
        module.__class__ = LateModule
        vars(module).pop("__path__", None)  # so that the import of a part of it loads it


class LateModule(ModuleType):
    """A `LateModule` is a library that is loaded when something of it is first used.

    Python's own `LazyLoader` loads a module as soon as somebody asks for its file, as torch does
    for all modules when it is imported.
    """

    def __getattr__(self, name: str) -> Any:
        """Load the library, since the attribute is not there before, and return the attribute."""
        spec = self.__spec__
        assert spec is not None
        assert spec.loader is not None
        self.__class__ = ModuleType  # type: ignore[assignment]
        if spec.submodule_search_locations is not None:
            self.__path__ = spec.submodule_search_locations
        spec.loader.exec_module(self)
        return getattr(self, name)
