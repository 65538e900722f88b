"""Import from the current folder only the packages that a user allows.

Python itself would put the whole folder on the path of modules, so that a file in it with the name
of a library is imported instead of the library.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from traceback import walk_tb
from types import ModuleType

from wemoe_pl.errors import ConfigError, did_you_mean
from wemoe_pl.system.warn import warn

# This environment variable has the paths of the allowed packages, one a line. Processes that load
# images inherit it.
VARIABLE = "WEMOE_PL_OWN_PACKAGES"


class OwnPackages(MetaPathFinder):
    """`OwnPackages` imports a package from where it was found, unless one is installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for an allowed package, and None for whatever lies next to it."""
        place = own_places().get(fullname)
        return PathFinder.find_spec(fullname, [str(place.parent)]) if place else None


def own_places() -> dict[str, Path]:
    """Return the folders or files of the packages that are allowed in this process, by name."""
    places = map(Path, os.environ.get(VARIABLE, "").splitlines())
    return {place.name.partition(".")[0]: place for place in places if place.exists()}


def import_allowed(names: Iterable[str]) -> None:
    """Import packages; those that are not installed are taken from the current folder.

    Args:
        names: the names of the packages, without dots.

    Raises:
        ConfigError: there is no such package; the message names the nearest one here.
        Exception: whatever a package raises while it is imported.
    """
    for name in names:
        spec = found(name)
        if spec is not None and (place := place_of(spec)):
            places = own_places() | {name: place}
            os.environ[VARIABLE] = "\n".join(map(str, places.values()))
        import_module(name)


def found(name: str) -> ModuleSpec | None:
    """Find a package that is installed, or else one that lies in the current folder.

    It warns if there are both, since the one in the folder is not imported.
    """
    folder = Path.cwd()
    known, here = known_spec(name), PathFinder.find_spec(name, [str(folder)])
    if known is None and here is None:
        raise ConfigError(
            f"There is no package '{name}', neither installed nor here ({folder}). "
            f"{did_you_mean(name, packages_in(folder))}"
        )
    if known and here and here.origin and place_of(here) != place_of(known):
        warn(
            f"'{name}' is imported from {known.origin}, not from here ({here.origin}): give yours "
            "another name if you mean that one."
        )
    return known or here


def known_spec(name: str) -> ModuleSpec | None:
    """Return the spec of the module that a name imports now; None if there is none."""
    try:
        return find_spec(name)
    except ValueError:  # a module that a program has made, and that has no spec
        return None


def place_of(spec: ModuleSpec) -> Path | None:
    """Return the folder of a package or the file of a module; None if there is neither."""
    places = spec.submodule_search_locations or ([spec.origin] if spec.origin else [])
    paths = (Path(place).resolve() for place in places)
    return next((path for path in paths if path.exists()), None)


def packages_in(folder: Path) -> list[str]:
    """Return the names of the packages and modules that lie in a folder."""
    packages = [path.parent.name for path in folder.glob("*/__init__.py")]
    return [*packages, *(path.stem for path in folder.glob("*.py"))]


def fault_of_import(error: BaseException, names: Sequence[str]) -> str | None:
    """Return the message for an error that arose in the import of a package; None for others.

    Args:
        error: the error, which may have been raised because of one in the import.
        names: the names of the packages, without dots.
    """
    for cause in causes(error):
        if isinstance(cause, SyntaxError) and str(cause.filename).endswith(".py"):
            return f"{cause.filename}, line {cause.lineno}, is not valid Python: {cause.msg}."
        ran = [
            f"{frame.f_code.co_filename}, line {line}"
            for frame, line in walk_tb(cause.__traceback__)
            if frame.f_code.co_name == "<module>"
            and str(frame.f_globals.get("__name__")).partition(".")[0] in names
        ]
        if ran:
            return f"{ran[-1]}, cannot be imported: {type(cause).__name__}: {cause}.{hint(cause)}"
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error after those because of which it was raised, the first cause first."""
    if error is not None:
        yield from causes(error.__cause__ or error.__context__)
        yield error


def hint(error: BaseException) -> str:
    """Return the advice about a missing module that lies here; empty for other errors."""
    missing = str(getattr(error, "name", None)) if isinstance(error, ModuleNotFoundError) else ""
    if missing not in packages_in(Path.cwd()):
        return ""
    return f" It lies here: allow it too, with --allow {missing}, or put it into the package."
