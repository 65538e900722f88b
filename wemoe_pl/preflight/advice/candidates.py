"""Find the experts of a suite that can be merged, and say of each other one why it cannot."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from wemoe_pl.checkpoints import LazyState
from wemoe_pl.data.model_suite import as_lazy
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError, MergeError, WeMoEError, sentence_of
from wemoe_pl.merging.base import fitting
from wemoe_pl.merging.expert_check import remark
from wemoe_pl.moe.task_vectors import check_compatible
from wemoe_pl.preflight.models import distance

OTHER_START = (
    "Two models that were trained independently differ by about 141%, and adding their weights "
    "fails (arXiv 2209.04836)."
)


@dataclass(frozen=True)
class Candidates:
    """`Candidates` are the experts that can be merged, and the reasons against all others.

    Args:
        pretrained: the weights of the pretrained encoder.
        experts: the weights of each expert that can be merged, by task.
        distances: ‖θ − θ₀‖ ÷ ‖θ₀‖ of each of them.
        left_out: a sentence on each expert that cannot be merged, by task.
    """

    pretrained: LazyState
    experts: Mapping[str, LazyState]
    distances: Mapping[str, float]
    left_out: Mapping[str, str]


def find_candidates(suite: Suite) -> Candidates:
    """Read all encoders of a suite once, a tensor at a time.

    Raises:
        CheckpointError: the pretrained encoder cannot be read.
        ConfigError: fewer than two experts can be merged.
    """
    pretrained = suite.open_pretrained()
    experts: dict[str, LazyState] = {}
    distances: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for task in suite.experts:
        try:
            experts[task], distances[task] = examined(suite, task, pretrained)
        except (WeMoEError, OSError) as error:
            left_out[task] = sentence_of(error)
    check_enough_experts(suite, len(distances), left_out)
    return Candidates(pretrained, {task: experts[task] for task in distances}, distances, left_out)


def examined(suite: Suite, task: str, pretrained: LazyState) -> tuple[LazyState, float]:
    """Return the weights of an expert and their distance from the pretrained ones.

    Raises:
        WeMoEError: the expert cannot be read, or cannot be merged.
    """
    alone = replace(suite, experts={task: suite.experts[task]})
    expert = as_lazy(fitting(alone.load_experts()[task], pretrained))
    check_compatible(pretrained, expert, "The expert")
    apart = distance(expert, pretrained)
    if not math.isfinite(apart):
        raise MergeError("Its weights are not all finite numbers: fine-tune it anew.")
    if sentence := remark("It", apart):
        raise MergeError(sentence if apart == 0 else f"{sentence} {OTHER_START}")
    return expert, apart


def check_enough_experts(suite: Suite, count: int, left_out: Mapping[str, str]) -> None:
    """Raise `ConfigError` if fewer than two experts can be merged."""
    if count >= 2:
        return
    reasons = "; ".join(f"'{task}': {why.rstrip('.')}" for task, why in left_out.items())
    raise ConfigError(
        f"Advice is about two experts or more, and of the {len(suite.experts)} of '{suite.name}' "
        f"only {count} can be merged{f' ({reasons})' if reasons else ''}: list others under "
        "`suite.experts`."
    )
