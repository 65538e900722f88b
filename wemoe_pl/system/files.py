"""Files are written under a temporary name and moved into place: none is ever half there."""

import ctypes
import errno
import hashlib
import os
import re
import shutil
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
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux: <fcntl.h> and <linux/fs.h>
# How kernels and file systems say that they cannot exchange two folders.
NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
PART = ".part"  # in the names of files that are being written
FOLDER_PART = ".wemoe-part"  # the same of folders
LEFTOVER = re.compile(rf"\..+\.\d+\{PART}(\.\w+)?")


def locate(source: str) -> Path:
    """The path that a source in a config means: `shipped:miniature/…` is inside the package."""
    if source.startswith(SHIPPED_PREFIX):
        return SHIPPED / source.removeprefix(SHIPPED_PREFIX)
    return Path(source).expanduser()


def expanded(path: str) -> str:
    """A path in which `~` is the home folder, which shells write out in some places only.

    Raises:
        ConfigError: there is no such home.
    """
    try:
        return str(Path(path).expanduser())
    except RuntimeError as error:
        raise ConfigError(
            f"There is no home folder for the ~ in '{path}': write the path in full."
        ) from error


def make_folder(path: Path, instead: str = "Choose another with --out.") -> Path:
    """Create a folder that can be written to, or raise `WeMoEError` that says why not.

    Args:
        path: the folder.
        instead: what a user can do about it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise WeMoEError(
            f"Cannot write to the folder {path}: {error.strerror}. {instead}"
        ) from error
    return path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, moved to `path` only when the block succeeds.

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
            os.fsync(file.fileno())  # else a power cut may leave the name without content
        temporary.replace(path)


def remove(path: Path) -> None:
    """Remove a file, if it is there: where nothing could be written, nothing can be removed."""
    with suppress(OSError):
        path.unlink()


@contextmanager
def told_of(path: Path) -> Iterator[None]:
    """Tell in one sentence what keeps a block from writing a file or folder."""
    try:
        yield
    except OSError as error:
        raise WeMoEError(
            f"Cannot write {path}: {error.strerror or error}. "
            "Free some space or choose another folder; nothing was left half-written."
        ) from error


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process was writing into a folder."""
    for path in folder.glob(f".*{PART}*"):
        if LEFTOVER.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, ours: str) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, moved there only when the block succeeds.

    Args:
        path: the folder.
        ours: a file by which a folder is known that may be replaced.

    Raises:
        WeMoEError: something else is there, the disk is full or nothing can be written there.
    """
    if path.exists() and not (path / ours).is_file() and (path.is_file() or any(path.iterdir())):
        raise WeMoEError(f"{path} is there already, and not such a folder: choose another --out.")
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.{os.getpid()}{FOLDER_PART}")
    replaced = temporary.with_name(f"{temporary.name}.replaced")
    REQUEST.obey_if_due()
    with undone(partial(shutil.rmtree, temporary, ignore_errors=True)):
        with told_of(path):
            temporary.mkdir(parents=True)
            yield temporary
            if not (path.exists() and exchange(temporary, path)):
                if path.exists():
                    path.replace(replaced)
                temporary.replace(path)
        shutil.rmtree(replaced, ignore_errors=True)


def remove_folders_left(path: Path) -> None:
    """Remove what killed processes were writing by `atomic_folder`, of which none runs any more."""
    path = path.resolve()
    left = re.compile(rf"\.{re.escape(path.name)}\.\d+{re.escape(FOLDER_PART)}(\.replaced)?")
    for folder in path.parent.iterdir() if path.parent.is_dir() else ():
        if left.fullmatch(folder.name):
            shutil.rmtree(folder, ignore_errors=True)


def exchange(one: Path, other: Path) -> bool:
    """Let two folders change places at once; false if the system cannot do that.

    Raises:
        OSError: it can, and it failed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    names = os.fsencode(one.absolute()), os.fsencode(other.absolute())
    if libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number))


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal: its identity in checkpoints and results."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(path: Path) -> str:
    """The SHA-256 of a file; one that the hub's cache names by its own, need not be read."""
    resolved = path.resolve()
    if SHA256.fullmatch(resolved.name):
        return resolved.name
    facts = resolved.stat()
    return _sha256_as_of(resolved, facts.st_size, facts.st_mtime_ns)


@cache
def _sha256_as_of(path: Path, size: int, changed: int) -> str:
    """One model makes eight zero-shot heads, and is half a gigabyte to read."""
    return sha256(path)


def cache_folder(part: str) -> Path:
    """Return the folder where things of a kind are kept that can be made again, such as heads.

    `WEMOE_PL_CACHE` names another place than the system's.
    """
    chosen = os.environ.get("WEMOE_PL_CACHE")
    folder = Path(chosen).expanduser() if chosen else user_cache_path("wemoe_pl")
    return make_folder(folder / part, "Set WEMOE_PL_CACHE to a folder that can be written to.")
