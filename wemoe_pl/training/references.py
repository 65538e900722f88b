"""The references: the methods beside which every table and figure shows a merged model."""

from collections.abc import Mapping
from dataclasses import dataclass

from wemoe_pl.merging import Individual, MergeMethod, Pretrained, TaskArithmetic
from wemoe_pl.merging.spelling import spelled


@dataclass(frozen=True)
class Reference:
    """A method that others are compared with.

    Args:
        kind: the class of the method.
        bar: how matplotlib draws its bars.
        is_ceiling: does it stand behind all merged models, which are not expected to reach it?
    """

    kind: type[MergeMethod]
    bar: Mapping[str, str]
    is_ceiling: bool = False

    @property
    def title(self) -> str:
        """Return what heads its columns and names its rows and bars."""
        return spelled(self.label)

    @property
    def label(self) -> str:
        """Return the name of the method itself, as in `results.json`."""
        return self.kind.__name__

    def method_for(self, merge: MergeMethod) -> MergeMethod:
        """Make the method with which a given one is compared."""
        return TaskArithmetic(merge.scaling) if self.kind is TaskArithmetic else self.kind()


EXPERTS = "individual"  # the key of the experts, each on its own task
# By their keys in `results.json`, in the order of columns and bars.
REFERENCES = {
    "pretrained": Reference(Pretrained, {"color": "#DDDDDD"}),
    "task_arithmetic": Reference(TaskArithmetic, {"color": "#56B4E9", "hatch": "////"}),
    EXPERTS: Reference(Individual, {"color": "white", "hatch": "...."}, is_ceiling=True),
}
