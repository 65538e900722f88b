"""Suites and merge methods as plain values, as a YAML or a checkpoint holds them, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from wemoe_pl.data.suite import Suite
from wemoe_pl.data.tasks import VisionTask
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging import MergeMethod
from wemoe_pl.moe.compression import Compression
from wemoe_pl.system.public_names import public_name, with_public_names
from wemoe_pl.system.trust import (
    DENIED,
    PLAIN_YAML,
    check_parts,
    no_module,
    not_allowed,
    only_allowed,
)


def describe(value: Any) -> Any:
    """Plain values for a suite, a merge method, or anything inside one.

    What can be chosen by class is described as `class_path`, its public name, and `init_args`.

    >>> from wemoe_pl.merging import TaskArithmetic
    >>> describe(TaskArithmetic(0.2))["init_args"]
    {'scaling': 0.2}
    """
    if is_dataclass(value) and not isinstance(value, type):
        kept = [field.name for field in fields(value) if field.metadata.get("plain", True)]
        options = {name: describe(getattr(value, name)) for name in kept}
        if isinstance(value, MergeMethod | VisionTask | Compression):
            return {"class_path": public_name(type(value)), "init_args": options}
        return options
    if isinstance(value, Mapping):
        return {key: describe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    return value


def read_suite(path: str) -> Suite:
    """The suite of a YAML file, as `--suite` takes it.

    Raises:
        ConfigError: it is not one.
    """
    parser = ArgumentParser(exit_on_error=False, parser_mode=PLAIN_YAML)
    parser.add_argument("--suite", type=Suite)
    try:
        with only_allowed():
            parsed = parser.instantiate(parser.parse_args([f"--suite={no_module(path)}"]))
    except (ArgumentError, ImportError) as error:
        raise ConfigError(f"{path} is no suite: {error}") from error
    return parsed.suite


def rebuild(recipe: Mapping[str, Any], allow: Sequence[str] = ()) -> tuple[Suite, MergeMethod]:
    """The suite and the merge method of a recipe `{"suite": …, "merge": …}`.

    Only sub-classes of `VisionTask`, `MergeMethod` and `Compression` are instantiated, from plain
    values.

    Args:
        recipe: what `describe` gave.
        allow: packages of which it may name classes; see `only_allowed`.

    Raises:
        ConfigError: the recipe is not one.
    """
    parser = ArgumentParser(exit_on_error=False, parser_mode=PLAIN_YAML)
    parser.add_argument("--suite", type=Suite)
    parser.add_argument("--merge", type=MergeMethod)
    try:
        with only_allowed(allow):
            parsed = parser.parse_object(with_public_names(recipe))
            check_parts(parsed, allow)
            built = parser.instantiate(parsed)
    except ConfigError:
        raise
    except Exception as error:  # jsonargparse raises many kinds
        if found := DENIED.search(str(error)):
            raise ConfigError(not_allowed(found[1])) from error
        raise ConfigError(f"This is no recipe of a suite and a merge method: {error}") from error
    return built.suite, built.merge
