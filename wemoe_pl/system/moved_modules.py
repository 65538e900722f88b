"""Import modules that have moved by their old names, under which others still know them.

Model cards on the hub and pages of the documentation name a few modules of this package. An old
name means the new module itself, imported once: a copy of it would have other classes.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "wemoe_pl.architecture": "wemoe_pl.model.architecture",  # on the card of a timm export
    "wemoe_pl.miniature": "wemoe_pl.data.miniature",  # docs/miniature.md
    "wemoe_pl.tasks": "wemoe_pl.data.tasks",  # docs/bring-your-own.md
}


class MovedModules(MetaPathFinder, Loader):
    """`MovedModules` imports a moved module, or one below it, under its old name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for an old name, and None for every other name."""
        return ModuleSpec(fullname, self) if new_name(fullname) else None

    def exec_module(self, module: ModuleType) -> None:
        """Replace the module of the old name by the one of the new name."""
        sys.modules[module.__name__] = import_module(str(new_name(module.__name__)))


def new_name(name: str) -> str | None:
    """Return the name that a module has today, given its old name; None for other names.

    >>> new_name("wemoe_pl.tasks.folders"), new_name("wemoe_pl.merging")
    ('wemoe_pl.data.tasks.folders', None)
    """
    for old, new in MOVED.items():
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return None
