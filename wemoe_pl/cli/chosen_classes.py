"""List the keys whose values are classes, and the classes that each of them can take."""

from lightning import Callback
from lightning.pytorch.loggers import Logger

from wemoe_pl.data.tasks import VisionTask
from wemoe_pl.data.vision_data import VisionData
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.moe.compression import Compression
from wemoe_pl.training.module import MultiTaskModule
from wemoe_pl.training.objectives.base import Objective

# The last part of each key, and the base that its classes must be derived from.
CHOSEN_BY_KEY: dict[str, type] = {
    "model": MultiTaskModule,
    "data": VisionData,
    "merge": MergeMethod,
    "compression": Compression,
    "objective": Objective,
    "objectives": Objective,
    "teacher": Objective,
    "otherwise": Objective,
    "tasks": VisionTask,
    "logger": Logger,
    "callbacks": Callback,
}


def choices_of(base: type) -> dict[str, type]:
    """Return the concrete classes that are derived from a base and were imported, by name."""
    found: dict[str, type] = {}
    children: list[type] = base.__subclasses__()
    for child in children:
        found |= choices_of(child)
        members = (getattr(child, name, None) for name in dir(child))
        if not any(getattr(member, "__isabstractmethod__", False) for member in members):
            found[child.__name__] = child
    return found
