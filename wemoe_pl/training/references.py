"""Define the references: the methods that tables and figures compare a merged model with."""

from collections.abc import Mapping
from dataclasses import dataclass

from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.merging.baselines import Individual, Pretrained
from wemoe_pl.merging.spelling import spelled
from wemoe_pl.merging.task_arithmetic import TaskArithmetic


@dataclass(frozen=True)
class Reference:
    """A reference is a method that merged models are compared with.

    Args:
        kind: the class of the method.
        bar: the matplotlib properties of its bars.
        is_ceiling: True if merged models are not expected to reach it; it then comes last.
    """

    kind: type[MergeMethod]
    bar: Mapping[str, str]
    is_ceiling: bool = False

    @property
    def title(self) -> str:
        """Return the title of its columns, rows and bars."""
        return spelled(self.label)

    @property
    def label(self) -> str:
        """Return the name of the method, as in `results.json`."""
        return self.kind.__name__

    def method_for(self, merge: MergeMethod) -> MergeMethod:
        """Make the method that a given one is compared with."""
        return TaskArithmetic(merge.scaling) if self.kind is TaskArithmetic else self.kind()


EXPERTS = "individual"  # the key of the experts, each on its own task
# The keys are those in `results.json`; the order is that of columns and bars.
REFERENCES = {
    "pretrained": Reference(Pretrained, {"color": "#DDDDDD"}),
    "task_arithmetic": Reference(TaskArithmetic, {"color": "#56B4E9", "hatch": "////"}),
    EXPERTS: Reference(Individual, {"color": "white", "hatch": "...."}, is_ceiling=True),
}
