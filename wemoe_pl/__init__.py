"""Merge fine-tuned vision transformers into one, by weight-ensembling mixtures of experts."""

import sys

from lazy_loader import attach_stub

from wemoe_pl.system.moved_modules import MovedModules
from wemoe_pl.system.own_packages import OwnPackages

__version__ = "0.1.0"

# `__init__.pyi` lists the names a user needs. Each is imported when it is first used, so that the
# command line answers without waiting for torch.
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)

sys.meta_path.insert(0, MovedModules())
sys.meta_path.append(OwnPackages())
