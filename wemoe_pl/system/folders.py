"""A folder is replaced at once by a whole one, and is read as one even while that happens."""

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

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux: <fcntl.h> and <linux/fs.h>
# How kernels and file systems say that they cannot exchange two folders.
NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
FOLDER_PART = ".wemoe-part"  # in the names of folders that are being written
REPLACED = ".replaced"  # ends the name of a folder whose place is taken in two steps
ATTEMPTS = 5  # to read a folder that is replaced again and again


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
    """Remove what killed processes were writing by `atomic_folder`, of which none runs any more.

    One that was killed between the two steps in which a folder takes the place of another, on a
    file system that cannot exchange them, has left the old one under another name: it is put back.
    """
    path = path.resolve()
    left = re.compile(rf"\.{re.escape(path.name)}\.\d+\{FOLDER_PART}(\{REPLACED})?")
    parent = path.parent
    found = [f for f in parent.iterdir() if left.fullmatch(f.name)] if parent.is_dir() else []
    for folder in sorted(found, reverse=True):  # old ones first
        if folder.name.endswith(REPLACED) and not path.exists():
            folder.rename(path)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def read_unchanged(folder: Path, read: Callable[[], T]) -> T:
    """Read a folder, and again where another has taken its place meanwhile.

    A reader that opens one file after another would find some of the old folder and some of the
    new one.

    Args:
        folder: the folder.
        read: reads it.

    Raises:
        WeMoEError: what `read` says of a folder that stays where it is.
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
    """Return the numbers that tell a folder from another of its name; None if there is none."""
    try:
        facts = folder.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


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
