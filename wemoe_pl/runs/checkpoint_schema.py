"""The fields of a run's checkpoint: Lightning's, our callbacks', and what it belongs to."""

from typing import Annotated, Any, NotRequired

from packaging.version import InvalidVersion, Version
from pydantic import AfterValidator, Field, with_config
from torch import Tensor
from typing_extensions import TypedDict

from wemoe_pl.system.schema import OPEN, STRICT, Schema

Natural = Annotated[int, Field(ge=0)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]  # a SHA-256


# --- what a checkpoint belongs to, in our own fields ------------------------------------------


class Source(TypedDict):
    """The source of a frozen part of a model."""

    source: str
    sha256: Digest


@with_config(OPEN)
class SuiteRecord(TypedDict):
    """The parts of a suite that are compared; `rebuild` looks at all of them."""

    backbone: NotRequired[dict[str, Any]]
    experts: NotRequired[dict[str, str]]


@with_config(STRICT)
class ModelRecipe(TypedDict):
    """The suite and the merge method that a model is rebuilt from; neither for a trained one."""

    suite: NotRequired[SuiteRecord]
    merge: NotRequired[dict[str, Any]]


@with_config(STRICT)
class ModelRecord(TypedDict):
    """The model that a checkpoint is of."""

    method: str
    sources: dict[str, Source]
    recipe: ModelRecipe
    options: NotRequired[dict[str, Any]]
    seconds: NotRequired[float]


class ProgramRecord(TypedDict):
    """The program that has made something, and by their names the packages that it was allowed."""

    code: str
    wemoe_pl: str
    torch: str
    own: NotRequired[dict[str, str]]


@with_config(STRICT)
class RunRecord(TypedDict):
    """The run that a checkpoint is of; those of early versions say less."""

    command: str
    recipe: dict[str, Any]
    images: dict[str, str]
    history: list[str]
    began_from: NotRequired[str | None]
    program: NotRequired[ProgramRecord]
    code: NotRequired[str]


# --- how far Lightning's loops have come ------------------------------------------------------


class Counts(TypedDict):
    """The number of times that something was begun and done."""

    ready: Natural
    completed: Natural
    started: NotRequired[Natural]
    processed: NotRequired[Natural]


@with_config(OPEN)
class Progress(TypedDict):
    """The progress of a loop, in all and since it last began."""

    total: Counts
    current: Counts


class Steps(TypedDict):
    """The number of steps of an optimiser."""

    step: Progress
    zero_grad: dict[str, Any]


class OptimizerProgress(TypedDict):
    """The progress of the optimiser."""

    optimizer: Steps


FitLoop = TypedDict(
    "FitLoop",
    {
        "epoch_loop.automatic_optimization.optim_progress": OptimizerProgress,
        "epoch_loop.manual_optimization.optim_step_progress": Progress,
        "state_dict": dict[str, Any],
        "epoch_progress": NotRequired[Progress],
        "epoch_loop.state_dict": NotRequired[dict[str, Any]],
        "epoch_loop.batch_progress": NotRequired[Progress],
        "epoch_loop.scheduler_progress": NotRequired[Progress],
        "epoch_loop.automatic_optimization.state_dict": NotRequired[dict[str, Any]],
        "epoch_loop.manual_optimization.state_dict": NotRequired[dict[str, Any]],
        "epoch_loop.val_loop.state_dict": NotRequired[dict[str, Any]],
        "epoch_loop.val_loop.batch_progress": NotRequired[Progress],
    },
)
with_config(OPEN)(FitLoop)


@with_config(OPEN)
class ScoringLoop(TypedDict):
    """A loop that validates, tests or predicts."""

    state_dict: dict[str, Any]
    batch_progress: Progress


@with_config(OPEN)
class Loops(TypedDict):
    """Lightning's loops."""

    fit_loop: FitLoop
    validate_loop: ScoringLoop
    test_loop: ScoringLoop
    predict_loop: ScoringLoop


# --- what callbacks go on with ----------------------------------------------------------------


@with_config(STRICT)
class LastCheckpointState(TypedDict):
    """The state of `LastCheckpoint`."""

    rng: dict[str, Tensor]
    validated_step: Natural | None
    ended: NotRequired[bool]


class BestState(TypedDict):
    """The best state of a model that a guard has seen, by one of two scores."""

    information: NotRequired[float]
    agreement: NotRequired[float]
    step: Natural
    weights: dict[str, Tensor]


@with_config(STRICT)
class GuardState(TypedDict):
    """The state of `CollapseGuard`."""

    best: BestState | None
    collapsed: dict[str, Natural]
    histograms: dict[str, Tensor]
    widest: dict[str, float]


@with_config(STRICT)
class DashboardState(TypedDict):
    """The state of `Dashboard`."""

    run_id: str | None
    alerted: list[str]


@with_config(STRICT | {"allow_inf_nan": True})  # a metric may be infinite, and a run go on
class CurvesState(TypedDict):
    """The state of `Curves`."""

    points: dict[str, dict[Natural, float]]


@with_config(OPEN)
class Callbacks(TypedDict):
    """The states of callbacks, among which may be others' own."""

    LastCheckpoint: NotRequired[LastCheckpointState]
    CollapseGuard: NotRequired[GuardState]
    Dashboard: NotRequired[DashboardState]
    Curves: NotRequired[CurvesState]


# --- all of it --------------------------------------------------------------------------------


class OptimizerState(TypedDict):
    """The state of an optimiser, as torch gives it; empty where weights are computed in one go."""

    state: NotRequired[dict[int | str, dict[str, Any]]]
    param_groups: NotRequired[list[dict[str, Any]]]


def version_of(text: str) -> str:
    """A text that is the number of a version; `ValueError` if it is none."""
    try:
        return str(Version(text))
    except InvalidVersion as error:
        raise ValueError("should be the number of a version") from error


Checkpoint = TypedDict(
    "Checkpoint",
    {
        "wemoe_pl": ModelRecord,
        "run": NotRequired[RunRecord],
        "epoch": Natural,
        "global_step": Natural,
        "pytorch-lightning_version": Annotated[str, AfterValidator(version_of)],
        "state_dict": dict[str, Tensor],
        "loops": Loops,
        "callbacks": Callbacks,
        "optimizer_states": list[OptimizerState],
        "lr_schedulers": list[dict[str, Any]],
    },
)
with_config(OPEN)(Checkpoint)  # plugins, data and modules of one's own add theirs
CHECKPOINT_SCHEMA = Schema(Checkpoint)
