"""Check archives that `torch.save` writes, whose parts are not compressed and have checksums."""

from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile

from wemoe_pl.errors import CheckpointError


def refuse_compressed(path: Path, advice: str) -> None:
    """Raise `CheckpointError` for an archive with a compressed part, before any is unpacked.

    `torch.save` compresses nothing, and a small compressed part could unpack to terabytes. A file
    that is no archive passes.

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


def is_intact(path: Path) -> bool:
    """Return whether all parts of an archive have the checksums that were written with them.

    `torch.load` does not check them.
    """
    try:
        with ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # `zipfile` and `zlib` raise errors of many kinds
        return False
