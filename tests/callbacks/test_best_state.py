"""The best state of a run is kept whole, and taken up again by the score that chose it."""

from typing import Any

import pytest
import torch

from wemoe_pl.callbacks.best_state import Best, better, recalled
from wemoe_pl.callbacks.collapse_guard import CollapseGuard
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.merging.wemoe import WEMoE
from wemoe_pl.runs.checkpoint_schema import GuardState
from wemoe_pl.system.schema import Schema
from wemoe_pl.training.adapt import TestTimeAdaptation
from wemoe_pl.training.metrics import TaskScores
from wemoe_pl.training.shown_metrics import LabelFreeScore

WEIGHTS = {"router": torch.ones(2)}
EARLIER = {"information": 0.4, "step": 20, "weights": WEIGHTS}


@pytest.fixture
def module(tiny_suite: Suite) -> TestTimeAdaptation:
    """A module that was validated on ten images of a task, of which the expert agrees on four."""
    built = TestTimeAdaptation(tiny_suite, WEMoE())
    built.configure_model()
    built.scores = TaskScores({"mnist": 10})
    built.scores.update(
        "mnist", 9 * torch.eye(10), torch.arange(10), torch.tensor([0, 1, 2, 3] + [0] * 6)
    )
    return built


@pytest.mark.parametrize(
    ("score", "value"), [("agreement", 0.4), ("information", pytest.approx(1.0, abs=0.01))]
)
def test_a_state_is_copied_with_its_score(
    module: TestTimeAdaptation, score: LabelFreeScore, value: Any
) -> None:
    best = better(None, module, score, 7)
    assert (best.value, best.step) == (value, 7)
    for name, weight in module.trained_parameters().items():
        assert torch.equal(best.weights[name], weight)
        weight.data += 1
        assert not torch.equal(best.weights[name], weight)
    best.check(module)
    saved = best.saved(score)
    assert recalled(saved, score) == best
    known: dict[str, Any] = {"collapsed": {}, "histograms": {}, "widest": {}}
    assert not Schema(GuardState).faults({"best": saved, **known}).wrong


def test_tasks_without_experts_have_nothing_to_agree_with(module: TestTimeAdaptation) -> None:
    module.scores = TaskScores({"mnist": 10})
    with pytest.raises(ConfigError, match="no task that is validated has an expert"):
        better(None, module, "agreement", 0)
    assert better(None, module, "information", 0).value == 0


def test_the_best_state_of_an_earlier_version_is_one_by_information() -> None:
    assert recalled(EARLIER, "information") == Best(0.4, 20, WEIGHTS)
    assert recalled(None, "agreement") is None
    with pytest.raises(
        CheckpointError, match=r"^guard\.score is agreement, but another score chose the best "
    ):
        recalled(EARLIER, "agreement")
    guard = CollapseGuard("restore")
    guard.load_state_dict({"best": EARLIER, "collapsed": {}, "histograms": {}, "widest": {}})
    assert guard.best == Best(0.4, 20, WEIGHTS)


def test_a_state_of_another_model_is_refused(module: TestTimeAdaptation) -> None:
    with pytest.raises(CheckpointError, match="damaged or belongs to another model"):
        Best(0.4, 20, WEIGHTS).check(module)
