"""A package that a user allows is found in the folder that she stands in, and nothing else is.

Python itself would put all of the folder on the path of modules, so that whatever lies in it under
the name of a library is imported instead of the library.
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

# The places of the packages that are allowed, one a line. Processes that load images inherit it.
VARIABLE = "WEMOE_PL_OWN_PACKAGES"


class OwnPackages(MetaPathFinder):
    """Import a package from the place where it was found, if nothing installed has its name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer for these packages, and for nothing that lies beside them."""
        place = own_places().get(fullname)
        return PathFinder.find_spec(fullname, [str(place.parent)]) if place else None


def own_places() -> dict[str, Path]:
    """The folders or files of the packages that are allowed in this process, by their names."""
    places = map(Path, os.environ.get(VARIABLE, "").splitlines())
    return {place.name.partition(".")[0]: place for place in places if place.exists()}


def import_allowed(names: Iterable[str]) -> None:
    """Import packages, those that are not installed from the current folder.

    Args:
        names: of packages, without dots.

    Raises:
        ConfigError: there is no such package; names the nearest one here.
        Exception: whatever a package raises while it is imported.
    """
    for name in names:
        spec = found(name)
        if spec is not None and (place := place_of(spec)):
            places = own_places() | {name: place}
            os.environ[VARIABLE] = "\n".join(map(str, places.values()))
        import_module(name)


def found(name: str) -> ModuleSpec | None:
    """Find a package: one that is installed, else the one that lies in the current folder.

    If there are both, the one here is warned of, as it is not imported.
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
            f"'{name}' is imported from {known.origin}, and not from here ({here.origin}): give "
            "yours another name if it is meant."
        )
    return known or here


def known_spec(name: str) -> ModuleSpec | None:
    """Find what is imported under a name now; None if nothing is."""
    try:
        return find_spec(name)
    except ValueError:  # a module that a program has made, which comes from nowhere
        return None


def place_of(spec: ModuleSpec) -> Path | None:
    """The folder of a package or the file of a module; None if it is neither."""
    places = spec.submodule_search_locations or ([spec.origin] if spec.origin else [])
    paths = (Path(place).resolve() for place in places)
    return next((path for path in paths if path.exists()), None)


def packages_in(folder: Path) -> list[str]:
    """List the names of the packages and modules that lie in a folder."""
    packages = [path.parent.name for path in folder.glob("*/__init__.py")]
    return [*packages, *(path.stem for path in folder.glob("*.py"))]


def fault_of_import(error: BaseException, names: Sequence[str]) -> str | None:
    """The sentence for an error that comes from a package as it was imported; None for others.

    Args:
        error: which may have been raised because of that one.
        names: of the packages, without dots.
    """
    for cause in causes(error):
        if isinstance(cause, SyntaxError) and str(cause.filename).endswith(".py"):
            return f"{cause.filename}, line {cause.lineno}, is no Python: {cause.msg}."
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
    """Yield an error and those because of which it was raised, the first of them first."""
    if error is not None:
        yield from causes(error.__cause__ or error.__context__)
        yield error


def hint(error: BaseException) -> str:
    """Say what to do about a module that lies here and was not allowed; nothing of other errors."""
    missing = str(getattr(error, "name", None)) if isinstance(error, ModuleNotFoundError) else ""
    if missing not in packages_in(Path.cwd()):
        return ""
    return f" It lies here: allow it too, with --allow {missing}, or put it into the package."
