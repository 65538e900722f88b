"""The archives that `torch.save` writes: their parts lie there as they are, and have checksums."""

from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile

from wemoe_pl.errors import CheckpointError


def refuse_compressed(path: Path, advice: str) -> None:
    """Raise `CheckpointError` for an archive with a compressed part, before any is unpacked.

    `torch.save` writes none, and a small one could be of terabytes. What is no archive passes.

    Args:
        path: the file.
        advice: what to do about it, as the end of the sentence.
    """
    try:
        with ZipFile(path) as archive:
            parts = archive.infolist()
    except (BadZipFile, NotImplementedError, OSError, ValueError):  # whoever reads it says so
        return
    for part in parts:
        if part.compress_type != ZIP_STORED:
            raise CheckpointError(
                f"{path} is a compressed archive, in which a small file can stand for any number "
                f"of bytes ('{part.filename}'): {advice}."
            )


def is_intact(path: Path) -> bool:
    """Do all parts of an archive have the checksums that were written with them?

    `torch.load` does not look at them.
    """
    try:
        with ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # `zipfile` and `zlib` raise many kinds
        return False
