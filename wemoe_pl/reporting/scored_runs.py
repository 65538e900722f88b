"""Find finished runs in folders, and read their scores and settings."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wemoe_pl.errors import ConfigError
from wemoe_pl.reporting.without_labels import scored_tasks, unlabelled_tasks
from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.runs.run_config import read_run_config
from wemoe_pl.runs.settings import Effect, relevant_settings
from wemoe_pl.system.near_paths import did_you_mean_path
from wemoe_pl.training.references import EXPERTS, REFERENCES


@dataclass(frozen=True)
class ScoredRun:
    """A `ScoredRun` holds the results and settings of a run, as they are read from its folder.

    Attributes:
        folder: the folder of the run.
        results: the contents of its `results.json`.
        options: the settings that make its method what it is, by dotted key.
    """

    folder: Path
    results: dict[str, Any]
    options: dict[str, str]

    @property
    def method(self) -> str:
        """Return the name of the run's merge method."""
        return str(self.results["method"])

    @property
    def is_told_task(self) -> bool:
        """Return whether the run's model is told the task of every image, to use its expert."""
        # Results of earlier versions lack `told_task`.
        return bool(self.results.get("told_task", self.method == REFERENCES[EXPERTS].label))

    @property
    def experiment(self) -> tuple[Any, ...]:
        """Return the key that runs of a table share: suite, tasks, experts, labels and images."""
        results = self.results
        images = [results.get("corruption"), results.get("render")]
        tasks = tuple(scored_tasks(results))
        experts = tuple(results.get("experts", tasks))
        unlabelled = tuple(unlabelled_tasks(results))
        return results["suite"], tasks, unlabelled, experts, json.dumps(images, sort_keys=True)


def read_experiments(folders: Iterable[str]) -> list[list[ScoredRun]]:
    """Read the runs in and below some folders, grouped by experiment.

    Raises:
        ConfigError: a folder does not exist, or has no run.
        CheckpointError: a `results.json` or `config.yaml` is damaged, or from another program.
    """
    groups: dict[tuple[Any, ...], list[ScoredRun]] = {}
    for run in read_runs(folders):
        groups.setdefault(run.experiment, []).append(run)
    return list(groups.values())


def read_runs(folders: Iterable[str]) -> list[ScoredRun]:
    """Read the runs in and below some folders, each once; raise as `read_experiments` does."""
    runs: dict[Path, ScoredRun] = {}
    for name in folders:
        folder = Path(name)
        if not folder.is_dir():
            hint = did_you_mean_path(folder)
            raise ConfigError(f"There is no folder {folder}: give the folder of a run.{hint}")
        results = RunFolder(folder).results.name
        found = sorted(folder.rglob(results))
        paths = [path for path in found if not is_in_hidden_folder(path, folder)]
        if not paths:
            raise ConfigError(
                f"No {results} lies in {folder} or below it: run `wemoe-pl fit` or `test` first."
            )
        for path in paths:
            runs.setdefault(path.resolve(), read_run(RunFolder(path.parent)))
    return list(runs.values())


def is_in_hidden_folder(path: Path, folder: Path) -> bool:
    """Return whether a file lies in a hidden folder, as unfinished replacements of runs do."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def read_run(folder: RunFolder) -> ScoredRun:
    """Read the results of a run, and its config if there is one."""
    results = folder.read_results()
    assert results is not None, "The caller has checked that the file exists."
    options = read_options(folder.config) if folder.config.is_file() else {}
    return ScoredRun(folder.path, results, options)


def read_options(config: Path) -> dict[str, str]:
    """Read the settings that make the method of a run, by dotted keys.

    Raises:
        CheckpointError: the config is damaged.
    """
    settings = relevant_settings(read_run_config(config), Effect.METHOD)
    return {name: as_text(name, value) for name, value in settings}


def as_text(name: str, value: Any) -> str:
    """Return a setting as text; the name of a class is given without its module."""
    if name.rpartition(".")[2] == "class_path" and isinstance(value, str):
        return str(value.rpartition(".")[2])
    return value if isinstance(value, str) else json.dumps(value)
