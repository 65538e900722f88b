"""Read grids of settings, as in `--grid KEY=A,B,C`, and name their points."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import yaml

from wemoe_pl.errors import ConfigError

LONGEST_VALUE = 60  # characters of a value in the name of a folder


def parse_grid(items: Sequence[str]) -> dict[str, list[str]]:
    """Read the values of every key, as text for the command line.

    Values are YAML: `tasks=[mnist,dtd],[svhn]` has two.

    Raises:
        ConfigError: an item is not of the form `KEY=A,B,C`, or a key comes twice.

    >>> parse_grid(["seed_everything=0,1", "tasks=[mnist,dtd],[svhn]"])
    {'seed_everything': ['0', '1'], 'tasks': ['[mnist, dtd]', '[svhn]']}
    """
    grid: dict[str, list[str]] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise ConfigError(f"--grid {item}: write KEY=A,B,C, such as seed_everything=0,1,2.")
        if key in grid:
            raise ConfigError(f"--grid {key} is given twice: list all its values in one.")
        grid[key] = parse_values(key, text)
    return grid


def parse_values(key: str, text: str) -> list[str]:
    """Read the values that a key takes, each as it would be written on the command line."""
    try:
        # Read as text: YAML would make 0.3 of 0.30, and takes only some forms of 1e-3 for a number.
        values = yaml.load(f"[{text}]", Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"--grid {key}: '{text}' is not a list of values, such as A,B,C."
        ) from error
    if not values:
        raise ConfigError(f"--grid {key} has no values: write {key}=A,B,C.")
    return [flow(value) for value in values]


def flow(value: Any) -> str:
    """Return a value as text in one line, as the command line takes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    return json.dumps(value)


def combinations(grid: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """List all combinations of values; the last key changes fastest."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Shorten every key to its last part, unless two keys would get the same name.

    >>> short_names(["model.merge.router_depth"])
    {'model.merge.router_depth': 'router_depth'}
    >>> short_names(["data.seed", "model.seed"])
    {'data.seed': 'data.seed', 'model.seed': 'model.seed'}
    """
    last = [key.rpartition(".")[2] for key in keys]
    return {k: k if last.count(name) > 1 else name for k, name in zip(keys, last, strict=True)}


def folder_name(point: Mapping[str, str]) -> str:
    """Return the name of the folder of a point.

    >>> folder_name({"model.merge.router_depth": "1", "tasks": "[mnist, dtd]"})
    'router_depth=1,tasks=mnist+dtd'
    """
    names = short_names(list(point))
    return ",".join(f"{names[key]}={as_file_name(value)}" for key, value in point.items())


def as_file_name(value: str) -> str:
    """Return a value as part of a file name: short, and without characters that do not suit one."""
    plain = re.sub(r"[^\w.+-]+", "+", value).strip("+")
    if len(plain) <= LONGEST_VALUE and plain:
        return plain
    return f"{plain[:LONGEST_VALUE]}-{hashlib.sha256(value.encode()).hexdigest()[:8]}"
