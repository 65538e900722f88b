"""Write files under a temporary name and move them into place, so that none is incomplete."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryFile

from platformdirs import user_cache_path

from wemoe_pl.errors import ConfigError, WeMoEError
from wemoe_pl.system.signals import REQUEST, undone

SHIPPED = Path(__file__).parents[1] / "assets"
SHIPPED_PREFIX = "shipped:"
SHA256 = re.compile(r"[0-9a-f]{64}")
PART = ".part"  # part of the names of files that are being written
LEFTOVER = re.compile(rf"\..+\.\d+\{PART}(\.\w+)?")


def locate(source: str) -> Path:
    """Return the path that a source in a config means; `shipped:…` is inside the package."""
    if source.startswith(SHIPPED_PREFIX):
        return SHIPPED / source.removeprefix(SHIPPED_PREFIX)
    return Path(source).expanduser()


def expanded(path: str) -> str:
    """Return a path with `~` replaced by the home folder, which shells do in some places only.

    Raises:
        ConfigError: there is no such home folder.
    """
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        raise ConfigError(
            f"There is no home folder for the ~ in '{path}': write the path in full."
        ) from None


def make_folder(path: Path, instead: str = "Choose another with --out (in Python: out).") -> Path:
    """Create a folder, or raise `WeMoEError` that says why it cannot be made or written to.

    Args:
        path: the folder.
        instead: the advice to the user, with which the error message ends.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path):
            pass
    except FileExistsError:
        raise WeMoEError(f"{path} is a file, not a folder. {instead}") from None
    except OSError as error:
        raise WeMoEError(
            f"Cannot write to the folder {path}: {error.strerror}. {instead}"
        ) from None
    return path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; it is moved to `path` only if the block succeeds.

    Raises:
        WeMoEError: the disk is full or the folder cannot be written to; nothing is left behind.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with atomic_write(target) as temporary:
    ...     _ = temporary.write_text("whole or not at all")
    >>> target.read_text()
    'whole or not at all'
    """
    REQUEST.obey_if_due()
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{PART}{path.suffix}")
    with undone(partial(remove, temporary)), told_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # otherwise a power cut may leave an empty file
        temporary.replace(path)


@contextmanager
def atomic_rewrite(path: Path) -> Iterator[Path]:
    """Write a file that only one process writes, as `atomic_write` does, and tidy up before it.

    If earlier processes were killed while they wrote the file, their temporary files are removed.

    Raises:
        WeMoEError: as by `atomic_write`.
    """
    remove_leftovers_of(path)
    with atomic_write(path) as temporary:
        yield temporary


def remove(path: Path) -> None:
    """Remove a file, and ignore errors: if nothing could be written, nothing can be removed."""
    with suppress(OSError):
        path.unlink()


@contextmanager
def told_of(path: Path) -> Iterator[None]:
    """Turn an `OSError` in a block into a `WeMoEError` that says why a path cannot be written."""
    try:
        yield
    except OSError as error:
        raise WeMoEError(
            f"Cannot write {path}: {error.strerror or error}. "
            "Free some space or choose another folder; nothing was left half-written."
        ) from None


def remove_leftovers_of(path: Path) -> None:
    """Remove the temporary files for a path that were left by processes that no longer run."""
    named = re.compile(rf"\.{re.escape(path.stem)}\.(\d+)\{PART}{re.escape(path.suffix)}")
    for other in path.parent.glob(f".*{PART}*"):
        if (found := named.fullmatch(other.name)) and not runs(int(found[1])):
            remove(other)


def runs(pid: int) -> bool:
    """Return whether a process with this number runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a killed process has left in a folder."""
    for path in folder.glob(f".*{PART}*"):
        if LEFTOVER.fullmatch(path.name):
            path.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, its identity in checkpoints and results."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, from its name in the hub's cache or else from its content."""
    resolved = path.resolve()
    if SHA256.fullmatch(resolved.name):
        return resolved.name
    facts = resolved.stat()
    return _sha256_as_of(resolved, facts.st_size, facts.st_mtime_ns)


@cache
def _sha256_as_of(path: Path, size: int, changed: int) -> str:
    """Return a file's SHA-256, cached: one model of half a gigabyte makes eight zero-shot heads."""
    return sha256(path)


def cache_folder(part: str) -> Path:
    """Create and return the folder of the cache for things of one kind, such as heads.

    Whatever is in the cache can be made again. `WEMOE_PL_CACHE` names another place than the
    system's cache.
    """
    chosen = os.environ.get("WEMOE_PL_CACHE")
    folder = Path(chosen).expanduser() if chosen else user_cache_path("wemoe_pl")
    return make_folder(folder / part, "Set WEMOE_PL_CACHE to a folder that can be written to.")
