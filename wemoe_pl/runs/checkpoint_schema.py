"""Define the fields of a run's checkpoint: Lightning's, our callbacks', and the model and run."""

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
    """A `Source` is the source of a frozen part of a model, with its hash."""

    source: str
    sha256: Digest


@with_config(OPEN)
class SuiteRecord(TypedDict):
    """A `SuiteRecord` types the parts of a suite that are compared; `rebuild` checks all parts."""

    backbone: NotRequired[dict[str, Any]]
    experts: NotRequired[dict[str, str]]


@with_config(STRICT)
class ModelRecipe(TypedDict):
    """A `ModelRecipe` has the suite and merge method to rebuild a model; a trained one has none."""

    suite: NotRequired[SuiteRecord]
    merge: NotRequired[dict[str, Any]]


@with_config(STRICT)
class ModelRecord(TypedDict):
    """A `ModelRecord` describes the model that a checkpoint is of."""

    method: str
    sources: dict[str, Source]
    recipe: ModelRecipe
    options: NotRequired[dict[str, Any]]
    seconds: NotRequired[float]


class ProgramRecord(TypedDict):
    """A `ProgramRecord` describes the program that made something, and its allowed packages."""

    code: str
    wemoe_pl: str
    torch: str
    own: NotRequired[dict[str, str]]


@with_config(STRICT)
class RunRecord(TypedDict):
    """A `RunRecord` describes the run that a checkpoint is of; early versions wrote less."""

    command: str
    recipe: dict[str, Any]
    images: dict[str, str]
    history: list[str]
    began_from: NotRequired[str | None]
    program: NotRequired[ProgramRecord]
    code: NotRequired[str]


# --- how far Lightning's loops have come ------------------------------------------------------


class Counts(TypedDict):
    """`Counts` are the numbers of times that something was begun and done."""

    ready: Natural
    completed: Natural
    started: NotRequired[Natural]
    processed: NotRequired[Natural]


@with_config(OPEN)
class Progress(TypedDict):
    """`Progress` counts the progress of a loop, in total and since it last began."""

    total: Counts
    current: Counts


class Steps(TypedDict):
    """`Steps` counts the steps of an optimiser."""

    step: Progress
    zero_grad: dict[str, Any]


class OptimizerProgress(TypedDict):
    """`OptimizerProgress` holds the progress of the optimiser."""

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
    """A `ScoringLoop` is the state of a loop that validates, tests or predicts."""

    state_dict: dict[str, Any]
    batch_progress: Progress


@with_config(OPEN)
class Loops(TypedDict):
    """`Loops` holds the states of Lightning's loops."""

    fit_loop: FitLoop
    validate_loop: ScoringLoop
    test_loop: ScoringLoop
    predict_loop: ScoringLoop


# --- what callbacks go on with ----------------------------------------------------------------


@with_config(STRICT)
class LastCheckpointState(TypedDict):
    """A `LastCheckpointState` is the state of the callback `LastCheckpoint`."""

    rng: dict[str, Tensor]
    validated_step: Natural | None
    ended: NotRequired[bool]


class BestState(TypedDict):
    """A `BestState` is the best state of a model that a guard has seen, by one of two scores."""

    information: NotRequired[float]
    agreement: NotRequired[float]
    step: Natural
    weights: dict[str, Tensor]


@with_config(STRICT)
class GuardState(TypedDict):
    """A `GuardState` is the state of the callback `CollapseGuard`."""

    best: BestState | None
    collapsed: dict[str, Natural]
    histograms: dict[str, Tensor]
    widest: dict[str, float]


@with_config(STRICT)
class DashboardState(TypedDict):
    """A `DashboardState` is the state of the callback `Dashboard`."""

    run_id: str | None
    alerted: list[str]


@with_config(STRICT | {"allow_inf_nan": True})  # a run may go on with an infinite metric
class CurvesState(TypedDict):
    """A `CurvesState` is the state of the callback `Curves`."""

    points: dict[str, dict[Natural, float]]


@with_config(OPEN)
class Callbacks(TypedDict):
    """`Callbacks` holds the states of callbacks, which may include those of other packages."""

    LastCheckpoint: NotRequired[LastCheckpointState]
    CollapseGuard: NotRequired[GuardState]
    Dashboard: NotRequired[DashboardState]
    Curves: NotRequired[CurvesState]


# --- the whole checkpoint ---------------------------------------------------------------------


class OptimizerState(TypedDict):
    """An `OptimizerState` is as torch gives it, and empty if weights are computed in one go."""

    state: NotRequired[dict[int | str, dict[str, Any]]]
    param_groups: NotRequired[list[dict[str, Any]]]


def version_of(text: str) -> str:
    """Return a version number in its normal form, or raise `ValueError` if the text is none."""
    try:
        return str(Version(text))
    except InvalidVersion as error:
        raise ValueError("should be a version number") from error


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
with_config(OPEN)(Checkpoint)  # users' own plugins, data and modules add fields
CHECKPOINT_SCHEMA = Schema(Checkpoint)
