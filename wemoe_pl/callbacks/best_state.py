"""Keep the best state of a model that adapts, by a score that needs no labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from wemoe_pl.checkpoints import first_difference, shapes_of
from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.metrics import mean
from wemoe_pl.training.shown_metrics import CHOSEN_BY, LabelFreeScore


@dataclass(frozen=True)
class Best:
    """A `Best` holds the state of a model, its mean score over tasks, and the step of the state."""

    value: float
    step: int
    weights: dict[str, Tensor]

    def check(self, module: TestTimeAdaptation) -> None:
        """Raise `CheckpointError`, naming the first wrong weight, for a state of another model."""
        own = shapes_of(module.trained_parameters())
        if difference := first_difference(shapes_of(self.weights), own):
            raise CheckpointError(
                f"The best state in the checkpoint is damaged or belongs to another model: "
                f"{difference}. Go on from another checkpoint, or begin anew with --fresh."
            )

    def saved(self, score: LabelFreeScore) -> dict[str, Any]:
        """Return the entry of a checkpoint, which has the value under the name of the score."""
        return {score: self.value, "step": self.step, "weights": self.weights}


def better(best: Best | None, module: TestTimeAdaptation, score: LabelFreeScore, step: int) -> Best:
    """Return the best state so far: `best`, or a copy of the module's state if it scored higher.

    Raises:
        ConfigError: no task has the score.
    """
    value = mean(CHOSEN_BY[score].of(module.scores))
    if value is None and score == "agreement":
        raise ConfigError(
            "guard.score is agreement, and no task that is validated has an expert: set "
            "guard.score to information."
        )
    if best is not None and (value or 0.0) <= best.value:
        return best
    weights = module.trained_parameters().items()
    copies = {name: weight.detach().cpu().clone() for name, weight in weights}
    return Best(value or 0.0, step, copies)


def recalled(saved: Mapping[str, Any] | None, score: LabelFreeScore) -> Best | None:
    """Rebuild a best state from the entry of a checkpoint; return None if there is none.

    Raises:
        CheckpointError: it was chosen by another score.
    """
    if saved is None:
        return None
    if score not in saved:
        raise CheckpointError(
            f"guard.score is {score}, but another score chose the best state in the checkpoint: "
            "set guard.score to what it was, or begin anew with --fresh."
        )
    return Best(saved[score], saved["step"], saved["weights"])
