"""Check archives that `torch.save` writes, whose parts are not compressed and have checksums."""

from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile

from wemoe_pl.errors import CheckpointError

FOLDER = 0x10  # the attribute of MS-DOS that marks a part of an archive as a folder


def check_archive(path: Path, advice: str) -> None:
    """Raise `CheckpointError` for an archive that `torch.save` has not written, before it is read.

    `torch.save` compresses nothing, and a small compressed part could unpack to terabytes. It
    writes no folders either, and `torch.load` would take what lies in memory for the contents of
    one. A file that is no archive passes.

    Args:
        path: the file.
        advice: the end of the error message, which says what to do.
    """
    try:
        with ZipFile(path) as archive:
            parts = archive.infolist()
    except (BadZipFile, NotImplementedError, OSError, ValueError):  # its reader reports it
        return
    for part in parts:
        if part.compress_type != ZIP_STORED:
            raise CheckpointError(
                f"{path} is a compressed archive, in which a small file can stand for any number "
                f"of bytes ('{part.filename}'): {advice}."
            )
        if part.external_attr & FOLDER and not part.is_dir():  # it is not named as one
            raise CheckpointError(
                f"{path} is damaged or not a checkpoint: its part '{part.filename}' is marked as a "
                "folder. Copy or download it again."
            )


def is_intact(path: Path) -> bool:
    """Return whether all parts of an archive have the checksums that were written with them.

    `torch.load` does not check them.
    """
    try:
        with ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # `zipfile` and `zlib` raise errors of many kinds
        return False
