"""Speed up the import of torch, which takes seconds, by leaving out what nobody needs."""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any


def hamming(*args: Any, **kwargs: Any) -> Any:
    """Return a Hamming window, as `scipy.signal.windows.hamming` does."""
    from scipy.signal import windows

    return windows.hamming(*args, **kwargs)


# Libraries that timm and torchmetrics import, if they are installed, for functions that are hardly
# called here, and what they have in addition. torchmetrics puts `hamming` into a scipy.signal
# without it, and would load it for that.
LATE: dict[str, dict[str, Callable[..., Any]]] = {"wandb": {}, "scipy.signal": {"hamming": hamming}}


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
        for name, additional in LATE.items():
            import_late(name, **additional)
        yield
    finally:
        gc.freeze()
        gc.enable()


def import_late(name: str, **additional: Any) -> None:
    """Register a library as imported, although it is loaded only when it is first used.

    Args:
        name: the name of a library, or of a part of one, whose parent is then imported. Nothing
            changes if it is imported already or not installed.
        **additional: attributes that it has from the beginning, without being loaded for them.
    """
    if name in sys.modules:
        return
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:  # of the library that it would be a part of
        return
    if spec is not None and spec.loader is not None:
        module = sys.modules[name] = module_from_spec(spec)
        vars(module).update(additional)
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
