"""Turn suites and merge methods into plain values, which YAML and checkpoints hold, and back."""

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from wemoe_pl.data.corruptions.task import CorruptedTask
from wemoe_pl.data.miniature import MiniatureTask
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import ConfigError
from wemoe_pl.merging.base import MergeMethod
from wemoe_pl.system.configs import find_suite
from wemoe_pl.system.public_names import public_name, with_public_names
from wemoe_pl.system.trust import (
    DENIED,
    PLAIN_YAML,
    check_parts,
    no_module,
    not_allowed,
    only_allowed,
)

# These are imported since a suite may name a class by its last part alone only after that.
TASKS = (CorruptedTask, MiniatureTask)


def describe(value: Any) -> Any:
    """Return plain values for a suite, a merge method, or anything inside one.

    An object whose class can be chosen has a `class_path`, the public name, and `init_args`.

    >>> from wemoe_pl import TaskArithmetic
    >>> describe(TaskArithmetic(0.2))["init_args"]
    {'scaling': 0.2}
    """
    if ABC in type(value).__mro__:  # `isinstance` holds for numbers if a library registers them
        return {"class_path": public_name(type(value)), "init_args": plain_fields(value)}
    if is_dataclass(value):
        return plain_fields(value)
    if isinstance(value, Mapping):
        return {key: describe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    return value


def plain_fields(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as plain values, except those that no file can hold."""
    if not is_dataclass(value):
        return {}
    kept = [field.name for field in fields(value) if field.metadata.get("plain", True)]
    return {name: describe(getattr(value, name)) for name in kept}


def read_suite(name: str | Path, allow: Sequence[str] = ()) -> Suite:
    """Read a suite, as `--suite` does.

    Args:
        name: the path of a YAML, or the name of a shipped one, such as "miniature".
        allow: the packages whose classes it may name; see `only_allowed`.

    Raises:
        ConfigError: there is no such suite, or the file is none.
    """
    path = find_suite(str(name))
    parser = ArgumentParser(exit_on_error=False, parser_mode=PLAIN_YAML)
    parser.add_argument("--suite", type=Suite)
    try:
        with only_allowed(allow):
            parsed = parser.parse_args([f"--suite={no_module(path)}"])
            check_parts(parsed, allow)
            return parser.instantiate(parsed).suite
    except (ArgumentError, ImportError) as error:
        raise ConfigError(f"{path} is not a suite: {error}") from None


def rebuild_options(
    kind: type, options: Mapping[str, Any], allow: Sequence[str] = ()
) -> dict[str, Any]:
    """Rebuild the options of a class from plain values, as `describe` gives them.

    Args:
        kind: the class.
        options: the values for some of its arguments.
        allow: the packages whose classes they may name; see `only_allowed`.

    Raises:
        ConfigError: the class has no such option, or a value is of another type.
    """
    parser = ArgumentParser(exit_on_error=False, parser_mode=PLAIN_YAML)
    parser.add_class_arguments(kind, skip={"suite", "merge"}, instantiate=False)
    try:
        with only_allowed(allow):
            parsed = parser.parse_object(with_public_names(dict(options)))
            check_parts(parsed, allow, "model")
            built = vars(parser.instantiate(parsed))
    except ConfigError:
        raise
    except Exception as error:  # jsonargparse raises many kinds
        if found := DENIED.search(str(error)):
            raise ConfigError(not_allowed(found[1])) from None
        raise ConfigError(f"The options do not fit {kind.__name__}: {error}") from None
    return {option: built[option] for option in options}


def rebuild(recipe: Mapping[str, Any], allow: Sequence[str] = ()) -> tuple[Suite, MergeMethod]:
    """Rebuild the suite and the merge method of a recipe `{"suite": …, "merge": …}`.

    Only sub-classes of `VisionTask`, `MergeMethod` and `Compression` are instantiated, from plain
    values.

    Args:
        recipe: the plain values that `describe` gave.
        allow: the packages whose classes it may name; see `only_allowed`.

    Raises:
        ConfigError: the values are no recipe.
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
            raise ConfigError(not_allowed(found[1])) from None
        raise ConfigError(f"This is not a recipe of a suite and a merge method: {error}") from None
    return built.suite, built.merge
