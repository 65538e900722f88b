"""Replace a run by the one that `--fresh` has built below it, as soon as that has finished."""

import shutil
from pathlib import Path

from wemoe_pl.errors import ConfigError
from wemoe_pl.runs.folder import RunFolder, files_of_others
from wemoe_pl.system.files import told_of
from wemoe_pl.system.folders import exchange

MARK = ".replaces"  # lies in a finished run until it has taken the place of the old one


def check_replaceable(folder: RunFolder) -> None:
    """Raise `ConfigError` if another folder cannot be put in the place of this one."""
    if not folder.can_be_replaced:
        raise ConfigError(
            f"--fresh cannot replace {folder.path}, which is a mount point or lies where nothing "
            f"can be renamed: give a folder below it, such as {folder.path / 'run'}."
        )
    if Path.cwd().is_relative_to(folder.place):
        raise ConfigError(
            f"--fresh cannot replace {folder.place}, because the command was started in it: start "
            "it in another folder, with this one as --out."
        )


def replace_by_next(folder: RunFolder) -> None:
    """Replace a folder, in one rename, by the finished run that was built below it.

    Where the file system can exchange two folders at once, readers see either the old run or the
    new one. Files in the folder that are of no run are kept.

    Raises:
        WeMoEError: the file system does not allow it; the next command there completes it.
    """
    with told_of(folder.path):
        folder = RunFolder(folder.place)  # a path such as ".." changes when the folder moves
        (folder.next.path / MARK).touch()
        folder.next.path.rename(waiting_place(folder))
        put_in_place(folder)


def is_unfinished(folder: RunFolder) -> bool:
    """Return whether a replacement was killed in the middle."""
    places = (waiting_place(folder), old_place(folder), folder.path / MARK)
    return any(place.exists() for place in places)


def recover(folder: RunFolder) -> bool:
    """Complete a replacement that was killed in the middle; return whether there was one."""
    unfinished = is_unfinished(folder)
    if unfinished:
        with told_of(folder.path):
            put_in_place(RunFolder(folder.place))
    return unfinished


def put_in_place(folder: RunFolder) -> None:
    """Go on with a replacement from any of its steps; the path of the folder is resolved."""
    waiting, old = waiting_place(folder), old_place(folder)
    if (waiting / MARK).is_file():
        if folder.path.exists() and not exchange(waiting, folder.path):
            folder.path.rename(old)
        if (waiting / MARK).is_file():
            waiting.rename(folder.path)
    for replaced in (waiting, old):
        if replaced.is_dir():
            keep_others_files(RunFolder(replaced), folder)
            shutil.rmtree(replaced)
    (folder.path / MARK).unlink(missing_ok=True)


def keep_others_files(replaced: RunFolder, folder: RunFolder) -> None:
    """Move the files that are of no run from the replaced folder into the new one."""
    for path in files_of_others(replaced):
        kept = folder.path / path.relative_to(replaced.path)
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True)
            path.rename(kept)


def waiting_place(folder: RunFolder) -> Path:
    """Return the place of the new run before the two are exchanged, and of the old one after."""
    return folder.path.with_name(f".{folder.path.name}.wemoe-next")


def old_place(folder: RunFolder) -> Path:
    """Return the place of the old run on file systems that cannot exchange folders at once."""
    return folder.path.with_name(f".{folder.path.name}.wemoe-old")
