"""Find the folder in which a run was begun, from which the paths in its config count."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wemoe_pl.runs.folder import RunFolder
from wemoe_pl.runs.run_config import read_run_config
from wemoe_pl.runs.settings import is_place


def home_of(folder: RunFolder) -> Path | None:
    """Find the folder in which a run was begun: above its own, by the `out` of its config.

    A project that was moved as a whole is still found. The result is None if there is no config,
    if `out` was no relative path, or if the folder was moved by itself.

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
    """Return a recipe `{"suite": …, …}` whose relative paths are replaced by those below a home.

    A path to nothing there stays as it is: it may count from the current folder, or be on the hub.

    >>> seen_from(Path("/nowhere"), {"suite": {"pretrained": "lab/vit"}})
    {'suite': {'pretrained': 'lab/vit'}}
    """
    return dict(recipe) if home == Path.cwd() else with_paths_below(home, recipe)


def with_paths_below(home: Path, settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return settings with all paths of files below a home; `above` begins their dotted keys."""
    moved: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            moved[key] = with_paths_below(home, value, f"{name}.")
        else:
            moved[key] = path_below(home, value) if is_place(name, value) else value
    return moved


def path_below(home: Path, source: str) -> str:
    """Return the path of a source below a home if it exists there, or the source as it is."""
    return str(home / source) if source and (home / source).exists() else source
