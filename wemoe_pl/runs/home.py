"""The folder in which a run was begun: the paths in its config count from there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.runs.run_config import read_run_config

PATHS_OF_TASKS = ("train", "test", "dataset", "source")  # arguments of tasks that may be paths


def home_of(folder: RunFolder) -> Path | None:
    """Find where a run was begun: above its folder, by the `out` of its config.

    So a project that was moved as a whole is still found. None if `out` was no relative path, or
    the folder was moved by itself.

    Raises:
        CheckpointError: the config is damaged.
    """
    if not folder.config.is_file():
        return None
    out = Path(read_run_config(folder.config)["out"])
    place = folder.path.expanduser().absolute()
    if out.is_absolute() or not out.parts or place.parts[-len(out.parts) :] != out.parts:
        return None
    return place.parents[len(out.parts) - 1]


def seen_from(home: Path, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe `{"suite": …, …}` whose relative paths lead to what is there below a home.

    What is not there stays as it is: it may be meant from here, or be on the hub.

    >>> seen_from(Path("/nowhere"), {"suite": {"pretrained": "lab/vit"}})
    {'suite': {'pretrained': 'lab/vit'}}
    """
    suite = dict(recipe["suite"])
    if home == Path.cwd():
        return {**recipe, "suite": suite}
    if "pretrained" in suite:
        suite["pretrained"] = path_below(home, suite["pretrained"])
    for part in ("experts", "heads"):
        if suite.get(part):
            suite[part] = {task: path_below(home, source) for task, source in suite[part].items()}
    if suite.get("tasks"):
        suite["tasks"] = {name: task_seen_from(home, task) for name, task in suite["tasks"].items()}
    return {**recipe, "suite": suite}


def task_seen_from(home: Path, task: Any) -> Any:
    """Return the record of a task, a class and its arguments, with paths that lead below a home."""
    if not isinstance(task, Mapping) or not isinstance(task.get("init_args"), Mapping):
        return task
    arguments = {
        name: path_below(home, value) if name in PATHS_OF_TASKS else value
        for name, value in task["init_args"].items()
    }
    return {**task, "init_args": arguments}


def path_below(home: Path, source: Any) -> Any:
    """Return where a source is below a home, if it is a relative path to what is there."""
    if not isinstance(source, str) or not source or not (home / source).exists():
        return source
    return str(home / source)
