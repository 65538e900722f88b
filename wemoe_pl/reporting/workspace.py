"""Make a workspace on Weights & Biases: the panels of a run, in sections named by questions."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wandb

from wemoe_pl.errors import ConfigError, WeMoEError
from wemoe_pl.reporting.panels import (
    ADAPTING,
    COLLAPSING,
    FIGURES_PANEL,
    ROUTING,
    ROUTING_PANEL,
    SAMPLES_PANEL,
    STEP,
    WAS_RUN,
)
from wemoe_pl.reporting.wandb_run import PROJECT, environment_of, has_key, one_line
from wemoe_pl.reporting.without_labels import scored_tasks
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.system.near_paths import did_you_mean_path

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

WORKSPACE = "WEMoE"  # the name of the view


def save_workspace(folder: Path, project: str | None, entity: str | None) -> str:
    """Create a workspace for the runs of a project that have the same tasks as one run.

    Args:
        folder: the folder of a finished run, whose tasks have panels.
        project: the project of the runs; by default that of `WANDB_PROJECT`, or "wemoe-pl".
        entity: the user or team; by default that of `WANDB_ENTITY`, or of the API key.

    Returns:
        The address of the workspace.

    Raises:
        ConfigError: there are no results, there is no API key, a package is missing, or the server
            refuses.
    """
    results = RunFolder(folder).read_results()
    if results is None:
        hint = "" if folder.is_dir() else did_you_mean_path(folder)
        raise ConfigError(
            f"{folder} has no results: give the folder of a run that has finished.{hint}"
        )
    if not has_key():
        raise ConfigError(
            "A workspace is made on the server of Weights & Biases, and there is no API key: "
            "`wandb login` stores one."
        )
    project = project or environment_of("project") or PROJECT
    try:
        entity = entity or environment_of("entity") or wandb.Api().default_entity
        # `Workspace.save` has no type annotations.
        view: Any = workspace(str(entity), project, scored_tasks(results))
        return str(view.save().url)
    except WeMoEError:
        raise
    except Exception as error:  # the client's own errors have private classes
        raise ConfigError(
            f"The workspace could not be made in the project {project}: {one_line(error)}."
        ) from error


def workspace(entity: str, project: str, tasks: Sequence[str]) -> "Workspace":
    """Return the workspace for runs with some tasks, which replaces W&B's own choice of panels.

    Args:
        entity: the user or team.
        project: the project of the runs.
        tasks: the tasks; each is a line, a picture or a bar in the panels.

    Raises:
        ConfigError: the package wandb-workspaces is missing.
    """
    try:
        from wandb_workspaces import workspaces as ws
        from wandb_workspaces.reports import v2 as panels
    except ImportError as error:
        raise ConfigError(
            "A workspace needs wandb-workspaces: install it with `pip install "
            "'wemoe_pl[workspace]'`."
        ) from error

    wr: Any = panels  # a type checker cannot see its classes

    def curve(title: str, *keys: str) -> Any:
        return wr.LinePlot(title=title, x=STEP, y=list(keys))

    def by_task(title: str, key: str) -> Any:
        return curve(f"{title} by task", *(f"{key}/{task}" for task in tasks))

    def pictures(title: str, *keys: str) -> Any:
        return wr.MediaBrowser(title=title, media_keys=list(keys))

    sections = {
        ADAPTING: [
            curve("Entropy, nats", "train/entropy"),
            by_task("Entropy", "train/entropy"),
            curve("Accuracy and normalized mean", "val/acc", "val/normalized_mean"),
            by_task("Accuracy", "val/acc"),
            pictures("The run", "media/adaptation"),
        ],
        ROUTING: [
            pictures("Routing weights by block", ROUTING_PANEL),
            pictures("Routing by task", *(f"routing_map/{task}" for task in tasks)),
            pictures("At the end", "media/routing", "media/routing_share"),
            wr.BarPlot(
                title="Weight of the own expert", metrics=[f"routing/{task}" for task in tasks]
            ),
        ],
        COLLAPSING: [
            by_task("Classes predicted", "train/diversity"),
            by_task("Classes predicted, validated", "val/diversity"),
            curve("Information", "val/information"),
            by_task("Information", "val/information"),
            pictures("The task of lowest accuracy", "media/confusion"),
        ],
        WAS_RUN: [
            wr.ScalarChart(title="Mean accuracy", metric="report/mean"),
            wr.ScalarChart(title="Normalized mean", metric="report/normalized_mean"),
            wr.WeavePanelSummaryTable(table_name=FIGURES_PANEL),
            pictures("Accuracy", "media/accuracy"),
            pictures("Samples", SAMPLES_PANEL),
            curve("Gradient norm", "train/gradient_norm"),
            curve("Learning rate", "train/learning_rate"),
            curve("Images per second", "train/images_per_second"),
        ],
    }
    shown = [
        ws.Section(name=question, panels=panels, is_open=True)
        for question, panels in sections.items()
    ]
    return ws.Workspace(entity=entity, project=project, name=WORKSPACE, sections=shown)
