"""Replace a folder by a complete one in one step, and read folders that may be replaced."""

import ctypes
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from wemoe_pl.errors import WeMoEError
from wemoe_pl.system.files import told_of
from wemoe_pl.system.signals import REQUEST, undone

T = TypeVar("T")

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # see <fcntl.h> and <linux/fs.h> of Linux
# The errors of kernels and file systems that cannot exchange two folders.
NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
FOLDER_PART = ".wemoe-part"  # part of the names of folders that are being written
REPLACED = ".replaced"  # ends the name of an old folder that is replaced in two steps
ATTEMPTS = 5  # reads that are repeated if the folder was replaced meanwhile


@contextmanager
def atomic_folder(path: Path, ours: str) -> Iterator[Path]:
    """Yield a temporary folder next to `path`; it is moved there only if the block succeeds.

    Args:
        path: the folder.
        ours: the name of a file that a folder must have if it is to be replaced.

    Raises:
        WeMoEError: something else is there, the disk is full or the path cannot be written to.
    """
    if path.exists() and not (path / ours).is_file() and (path.is_file() or any(path.iterdir())):
        raise WeMoEError(
            f"{path} exists already, and is not a folder of this kind: choose another --out."
        )
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.{os.getpid()}{FOLDER_PART}")
    replaced = temporary.with_name(f"{temporary.name}{REPLACED}")
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
    """Remove the folders that killed processes left in `atomic_folder`; none may be running still.

    On a file system that cannot exchange folders, a folder is replaced in two steps. A process that
    was killed between them has left the old folder under another name: it is put back.
    """
    path = path.resolve()
    left = re.compile(rf"\.{re.escape(path.name)}\.\d+\{FOLDER_PART}(\{REPLACED})?")
    parent = path.parent
    found = [f for f in parent.iterdir() if left.fullmatch(f.name)] if parent.is_dir() else []
    for folder in sorted(found, reverse=True):  # replaced folders come first
        if folder.name.endswith(REPLACED) and not path.exists():
            folder.rename(path)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def read_unchanged(folder: Path, read: Callable[[], T]) -> T:
    """Read a folder, and read it again if another has taken its place meanwhile.

    A reader that opens one file after another could find some files of the old folder and some of
    the new one.

    Args:
        folder: the folder.
        read: the function that reads it.

    Raises:
        WeMoEError: `read` raised it for a folder that was not replaced.
    """
    for _ in range(ATTEMPTS):
        before = inode_of(folder)
        try:
            result = read()
        except (WeMoEError, OSError):
            if inode_of(folder) == before:
                raise
            continue
        if inode_of(folder) == before:
            return result
    return read()


def inode_of(folder: Path) -> tuple[int, int] | None:
    """Return the numbers that identify a folder, whatever its name; None if it is not there."""
    try:
        facts = folder.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; return False if the system cannot do that.

    Raises:
        OSError: the system can do that, but it failed.
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
