"""Merge fine-tuned vision transformers into one, by weight-ensembling mixtures of experts."""

import sys
from typing import Any

from lazy_loader import attach_stub

from wemoe_pl.system.moved_modules import MovedModules
from wemoe_pl.system.own_packages import OwnPackages
from wemoe_pl.system.quick_imports import quick_imports

__version__ = "0.2.0"

# `__init__.pyi` lists the names a user needs. Each is imported when it is first used, so that the
# command line answers without waiting for torch.
_find_public, __dir__, __all__ = attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    with quick_imports():
        return _find_public(name)


sys.meta_path.insert(0, MovedModules())
sys.meta_path.append(OwnPackages())
