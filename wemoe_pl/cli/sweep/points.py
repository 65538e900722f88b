"""Make the points of a sweep: the command and folder of each, and what it has left there."""

import json
from argparse import Namespace
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from wemoe_pl.cli.chosen_classes import choices_of
from wemoe_pl.cli.options import CONFIG, flatten, values_of
from wemoe_pl.cli.sweep.grid import folder_name
from wemoe_pl.cli.sweep.records import CommandRecord, read_command
from wemoe_pl.errors import CheckpointError, ConfigError
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.runs.checkpoint import read_checkpoint
from wemoe_pl.runs.folder import RunFolder, RunState
from wemoe_pl.runs.identity import program_change
from wemoe_pl.runs.results_schema import read_results_file
from wemoe_pl.runs.settings import read_settings
from wemoe_pl.system.configs import ALLOW, find_config
from wemoe_pl.system.files import atomic_rewrite, digest
from wemoe_pl.system.trust import is_within
from wemoe_pl.system.warn import warn


@dataclass(frozen=True)
class Point:
    """A `Point` of a grid has its settings, its folder, and the command that runs it."""

    settings: dict[str, str]
    folder: Path
    command: tuple[str, ...]

    @property
    def record(self) -> Path:
        """Return the file that the command is recorded in."""
        return self.folder / "command.json"

    @property
    def log(self) -> Path:
        """Return the file of the command's output."""
        return self.folder / "log.txt"

    @property
    def run(self) -> RunFolder:
        """Return the folder as a `RunFolder`."""
        return RunFolder(self.folder)

    @property
    def results(self) -> dict[str, Any] | None:
        """Return the results of the point; None if it has not finished or its files are damaged."""
        try:
            return self.run.read_results() if self.run.state is RunState.FINISHED else None
        except CheckpointError:
            return None

    @property
    def files(self) -> dict[str, str]:
        """Return the SHA-256 of every file that the command names, by the name."""
        words = [word.rpartition("=")[2] for word in self.command]
        names = [find_config(name) for name in values_of(self.command, *CONFIG)] + words
        return {name: digest(Path(name)) for name in names if Path(name).is_file()}

    def write_down(self, is_done: bool = False) -> None:
        """Record the command and, when it is done, the hashes of the files that it names."""
        record = {"command": self.command, "files": self.files if is_done else None}
        with atomic_rewrite(self.record) as temporary:
            temporary.write_text(json.dumps(record))

    @property
    def recorded(self) -> CommandRecord:
        """Return the record of the point's last run; its command is empty if it was never run.

        Raises:
            CheckpointError: the record is damaged.
        """
        return read_command(self.record)

    @property
    def known_command(self) -> list[str] | None:
        """Return the command that was run here: [] if none was, None if its record is damaged."""
        try:
            return self.recorded["command"]
        except CheckpointError:
            return None

    @property
    def is_of_command(self) -> bool:
        """Return whether the command that was run in the folder is this very one."""
        return self.known_command == list(self.command)

    @property
    def is_done(self) -> bool:
        """Return whether this very command has finished, with the files that it names unchanged.

        If a config has changed, the command is run: the job itself knows whether that matters.
        """
        if not self.is_of_command or self.results is None:
            return False
        return self.recorded["files"] == self.files

    def let_go_of_damage(self) -> None:
        """Remove damaged files of this very command's run, with a warning, so that it runs again.

        The results are removed together with a damaged checkpoint that they belong to.
        """
        run, damage = self.run, []
        try:
            _ = self.recorded
        except CheckpointError as error:
            damage.append(error)
        for path, read in (
            (run.results, read_results_file),
            (run.last_checkpoint, read_checkpoint),
        ):
            try:
                if self.is_of_command and path.is_file():
                    read(path)
            except CheckpointError as error:
                damage.append(error)
                path.unlink()
                run.results.unlink(missing_ok=True)
        for found in damage:
            warn(f"{found} The point is run again.")


def make_point(
    settings: dict[str, str], options: Namespace, passed_on: list[str], out: Path
) -> Point:
    """Make the point of some settings, with its command and its folder."""
    configs = [*options.config, *([settings["config"]] if "config" in settings else [])]
    folder = out / folder_name(settings)
    values = (f"--{key}={value}" for key, value in settings.items() if key != "config")
    arguments = (*passed_on, *values)
    command = options.command if options.command != "auto" else command_for(configs, arguments)
    named = (part for config in configs for part in ("--config", config))
    return Point(settings, folder, (command, *named, *arguments, "--out", str(folder)))


def command_for(configs: Sequence[str], arguments: Sequence[str]) -> str:
    """Return "test" for a job whose merge is static, with nothing to fit, otherwise "fit".

    Args:
        configs: the configs of the job; later ones take precedence.
        arguments: the other arguments of the job, which take precedence over the configs.

    Raises:
        ConfigError: there is no such config.
    """
    settings: dict[str, str] = {}
    for config in configs:
        settings |= flatten(read_settings(Path(find_config(config))) or {})
    merge = [settings.get("model.merge", ""), *values_of(arguments, "--model.merge")][-1]
    method = named_method(merge, values_of(arguments, ALLOW))
    return "test" if getattr(method, "is_static", False) else "fit"


def named_method(name: str, allowed: Sequence[str]) -> Any:
    """Return the merge method that a config names, from this package or an allowed one.

    The result is None if there is none of this name: the job itself has the better error.
    """
    if not is_within(name, ["wemoe_pl", *allowed]):
        return choices_of(MergeMethod).get(name)
    with suppress(ImportError, AttributeError, ValueError):
        return resolve_name(name)
    return None


def check_points(all_points: Iterable[Point], fresh: bool) -> None:
    """Raise `ConfigError` if a folder holds the results of another command, or of other code."""
    for point in all_points:
        results = point.results
        if results is not None and point.known_command not in (None, list(point.command)):
            raise ConfigError(
                f"{point.folder} holds the results of another command: choose another --out, or "
                "delete it."
            )
        if results is not None and not fresh and (change := program_change(results)):
            raise ConfigError(
                f"{point.folder} was finished before {change} was changed: give --fresh to run "
                "all points anew, or another --out."
            )


def last_words(point: Point) -> str:
    """Return the last line of a point's log, which is the error if the point has failed."""
    lines = point.log.read_text().strip().splitlines() if point.log.is_file() else []
    return lines[-1].removeprefix("wemoe-pl: ") if lines else "it left no log."
