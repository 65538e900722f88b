"""The references: the methods beside which every table and figure shows a merged model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from wemoe_pl.merging import Individual, MergeMethod, Pretrained, TaskArithmetic


@dataclass(frozen=True)
class Reference:
    """A method that others are compared with.

    Args:
        title: heads its columns and names its bars.
        label: what the method itself is called, as in `results.json`.
        method_for: makes the method with which a given one is compared.
        bar: how matplotlib draws its bars.
        is_ceiling: does it stand behind all merged models, which cannot be expected to reach it?
    """

    title: str
    label: str
    method_for: Callable[[MergeMethod], MergeMethod]
    bar: Mapping[str, str]
    is_ceiling: bool = False


# By their keys in `results.json`, in the order of columns and bars.
REFERENCES = {
    "pretrained": Reference(
        "pretrained", "Pretrained", lambda merge: Pretrained(), {"color": "#DDDDDD"}
    ),
    "task_arithmetic": Reference(
        "task arithmetic",
        "TaskArithmetic",
        lambda merge: TaskArithmetic(merge.start_lambda),
        {"color": "#56B4E9", "hatch": "////"},
    ),
    "individual": Reference(
        "individual",
        "Individual",
        lambda merge: Individual(),
        {"color": "white", "hatch": "...."},
        is_ceiling=True,
    ),
}
