"""Limit the configs of strangers to plain YAML, and to classes of a few packages.

Code runs when a module is imported or a function is called: a config must choose neither.
"""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from os import PathLike
from pkgutil import resolve_name
from typing import Any

import yaml
from jsonargparse import Namespace, get_loader, set_loader, set_parsing_settings

from wemoe_pl.errors import ConfigError
from wemoe_pl.system.configs import ALLOW, find_suite, shipped_suites
from wemoe_pl.system.jsonargparse_private import deny_programs, is_program, restored_settings
from wemoe_pl.system.own_packages import fault_of_import, import_allowed
from wemoe_pl.system.plain_yaml import load_plain
from wemoe_pl.system.public_names import with_public_names

# The mode of a parser that does not trust the YAML that it reads.
PLAIN_YAML = "plain_yaml"


def load_settings(text: str) -> Any:
    """Read a config, and replace its classes by their public names and its suite by a path.

    A shipped suite may be named without its path, as on the command line. The path of a suite is
    written so that it is never taken for a module.
    """
    settings = with_public_names(load_plain(text, get_loader("yaml")))
    if isinstance(settings, dict) and isinstance(suite := settings.get("suite"), str):
        path = find_suite(suite) if suite in shipped_suites() else suite
        return settings | {"suite": no_module(path)}
    return settings


def no_module(path: str) -> str:
    """Return a path in a form that jsonargparse cannot take for the dotted name of a class.

    >>> no_module("suite.yaml"), no_module("suites/mine.yaml")
    ('./suite.yaml', 'suites/mine.yaml')
    """
    return path if "/" in path or "." not in path else f"./{path}"


set_loader(PLAIN_YAML, load_settings, (yaml.YAMLError,))


ALLOWED_AROUND: ContextVar[tuple[str, ...]] = ContextVar("ALLOWED_AROUND", default=())
ALLOWED = ("wemoe_pl", "lightning", "torch", "torchmetrics", "timm", "wandb")
# These modules have the functions that Lightning's classes take as arguments.
FUNCTIONS = (
    "lightning.pytorch.callbacks",
    "torch.distributed.algorithms",
    "torch.distributed.fsdp",
)
# The keys of objectives, whose classes have `__call__`, and are none the less classes.
OBJECTIVES = ("objective", "objectives", "teacher", "otherwise")
DENIED = re.compile(r"Importing '([\w.]+)' is not allowed")  # the message of jsonargparse


@contextmanager
def only_allowed(packages: Sequence[str] = ()) -> Iterator[None]:
    """Make parsers in a block import only from `ALLOWED` and these packages, and read only files.

    Packages that are not installed are imported from the current folder, and nothing else is
    imported from there. Whatever a block around this one allows stays allowed.

    Raises:
        ConfigError: a name is not that of a package, or there is no such package, or it cannot be
            imported.
    """
    packages = (*ALLOWED_AROUND.get(), *packages)
    with restored_settings():
        try:
            set_parsing_settings(
                import_path_denylist=["*"],
                import_path_allowlist=[*ALLOWED, *packages],
                instantiate_subclass_spec_in_any=False,
                config_read_mode_fsspec_enabled=False,  # Lightning has switched it on
            )
        except ValueError as error:
            raise ConfigError(
                f"{ALLOW} {' '.join(packages)}: give the name of a package, such as my_package; "
                "repeat the option for another."
            ) from error
        deny_programs()
        named = {package.partition(".")[0] for package in packages}
        names = sorted(named.difference(ALLOWED))
        token = ALLOWED_AROUND.set(packages)
        try:
            import_allowed(names)
            yield
        except Exception as error:
            if fault := fault_of_import(error, names):
                raise ConfigError(fault) from error
            raise
        finally:
            ALLOWED_AROUND.reset(token)


def check_parts(settings: Any, allowed: Sequence[str] = (), key: str = "") -> None:
    """Raise `ConfigError` for a part of a parsed config that would be called instead of built.

    If a class expects a function, a config could name any function, and even give its arguments.

    Args:
        settings: the parsed config, or a part of it.
        allowed: packages that the user trusts.
        key: the dotted key of the part.
    """
    if isinstance(settings, Namespace | Mapping):
        parts = vars(settings) if isinstance(settings, Namespace) else settings
        if isinstance(path := parts.get("class_path"), str):
            check_class(path, allowed, key)
        for name, part in parts.items():
            check_parts(part, allowed, f"{key}.{name}".lstrip("."))
    elif isinstance(settings, list | tuple | set):
        for part in settings:
            check_parts(part, allowed, key)
    elif callable(settings) and not isinstance(settings, type | PathLike):
        named = settings if inspect.isroutine(settings) else type(settings)
        path = f"{named.__module__}.{named.__qualname__}"
        if not is_within(path, [*FUNCTIONS, *allowed, *ALLOWED_AROUND.get()]):
            raise ConfigError(f"{key}: {no_function(path)}")


def check_class(path: str, allowed: Sequence[str], key: str) -> None:
    """Raise `ConfigError` unless a path is of an allowed class whose instances are not called."""
    allowed = [*allowed, *ALLOWED_AROUND.get()]
    if is_program(path) or not is_within(path, [*ALLOWED, *allowed]):
        raise ConfigError(f"{key}: {not_allowed(path)}")
    try:
        named = resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{key}: There is no class '{path}'.") from error
    has = set(dir(named))
    is_module = "training_step" in has  # Lightning calls its methods instead
    is_objective = key.rpartition(".")[2] in OBJECTIVES and is_within(path, ["wemoe_pl"])
    is_called = "__call__" in has and not (is_module or is_objective)
    if (is_called or not inspect.isclass(named)) and not is_within(path, allowed):
        raise ConfigError(f"{key}: {no_function(path)}")


def is_within(path: str, packages: Sequence[str]) -> bool:
    """Return whether a dotted name is that of one of these packages, or of something in one."""
    return any(path == name or path.startswith(f"{name}.") for name in packages)


def not_allowed(path: str) -> str:
    """Return the error message for an import that a config may not cause.

    >>> not_allowed("evil.Logger").partition(":")[0]
    "A config may not name 'evil.Logger'"
    """
    if is_program(path):
        return f"A config may not name '{path}': it is a program, which would run, and not a class."
    package = path.partition(".")[0]
    return (
        f"A config may not name '{path}': it is not from {', '.join(ALLOWED)}. If you trust that "
        f"package, give allow=['{package}'] in Python, or allow it on the command line with "
        f"{ALLOW} {package}."
    )


def no_function(path: str) -> str:
    """Return the error message for a function in a config, which may only name classes."""
    return (
        f"A config may not call '{path}': it may name classes, not functions. If you trust it, "
        f"allow it on the command line with {ALLOW} {path}."
    )
