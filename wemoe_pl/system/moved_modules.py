"""Modules that have moved are still imported by the names under which others know them.

Model cards on the hub and pages of the documentation name a few modules of this package. Their old
names mean the new modules, imported once: not copies of them, whose classes would be others.
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
    """Import a moved module, or one below it, under its old name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer for old names, and for no others."""
        return ModuleSpec(fullname, self) if new_name(fullname) else None

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of the new name in the place of the old one."""
        sys.modules[module.__name__] = import_module(str(new_name(module.__name__)))


def new_name(name: str) -> str | None:
    """The name that a module has today; None if it never had another.

    >>> new_name("wemoe_pl.tasks.folders"), new_name("wemoe_pl.merging")
    ('wemoe_pl.data.tasks.folders', None)
    """
    for old, new in MOVED.items():
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return None
