"""Finished runs, found in folders and read again: what they scored, and by which settings."""

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
    """A scored run, as it is read back from its folder.

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
        """The name of its merge method."""
        return str(self.results["method"])

    @property
    def is_told_task(self) -> bool:
        """Is its model told the task of every image, of which it keeps the expert?"""
        # Results of an earlier version do not say it.
        return bool(self.results.get("told_task", self.method == REFERENCES[EXPERTS].label))

    @property
    def experiment(self) -> tuple[Any, ...]:
        """Return the key that runs of one table share: they are scored on the same, labels too."""
        results = self.results
        images = [results.get("corruption"), results.get("render")]
        tasks = tuple(scored_tasks(results))
        experts = tuple(results.get("experts", tasks))
        unlabelled = tuple(unlabelled_tasks(results))
        return results["suite"], tasks, unlabelled, experts, json.dumps(images, sort_keys=True)


def read_experiments(folders: Iterable[str]) -> list[list[ScoredRun]]:
    """Read the runs in, and below, some folders, those of one experiment together.

    Raises:
        ConfigError: there is no such folder, or no run in it.
        CheckpointError: a `results.json` or `config.yaml` is damaged or not ours.
    """
    groups: dict[tuple[Any, ...], list[ScoredRun]] = {}
    for run in read_runs(folders):
        groups.setdefault(run.experiment, []).append(run)
    return list(groups.values())


def read_runs(folders: Iterable[str]) -> list[ScoredRun]:
    """Read the runs in, and below, some folders, each once; raises as `read_experiments` does."""
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
    """Does a file lie in a hidden folder, as runs do that are not finished?"""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def read_run(folder: RunFolder) -> ScoredRun:
    """Read the run of a folder with results, and its config if that is there."""
    results = folder.read_results()
    assert results is not None, "Who calls this has seen the file."
    options = read_options(folder.config) if folder.config.is_file() else {}
    return ScoredRun(folder.path, results, options)


def read_options(config: Path) -> dict[str, str]:
    """Read what makes the method of a run, by dotted keys.

    Raises:
        CheckpointError: the config is damaged.
    """
    settings = relevant_settings(read_run_config(config), Effect.METHOD)
    return {name: as_text(name, value) for name, value in settings}


def as_text(name: str, value: Any) -> str:
    """Write a setting as text; a class, which has a long and a short form, by its short one."""
    if name.rpartition(".")[2] == "class_path" and isinstance(value, str):
        return str(value.rpartition(".")[2])
    return value if isinstance(value, str) else json.dumps(value)
