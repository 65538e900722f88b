"""Archives that are compressed, wherever they are read, and those that are no archives."""

from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile

import numpy as np
import pytest
import torch

from wemoe_pl.checkpoints import load_encoder
from wemoe_pl.checkpoints.archives import check_archive, is_intact
from wemoe_pl.data.suite import Suite
from wemoe_pl.errors import CheckpointError
from wemoe_pl.export.loading import load
from wemoe_pl.runs.checkpoint import read_checkpoint


@pytest.mark.parametrize("method", [ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA])
def test_a_compressed_archive_is_refused_before_anything_is_unpacked(
    method: int, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = tmp_path / "packed.ckpt"
    with ZipFile(checkpoint) as plain, ZipFile(packed, "w") as archive:
        for number, part in enumerate(plain.infolist()):
            kind = method if number else ZIP_STORED  # one compressed part is enough
            archive.writestr(part.filename, plain.read(part), compress_type=kind)
    monkeypatch.setattr(ZipFile, "open", lambda *_, **__: pytest.fail("a part was opened"))
    for read in (read_checkpoint, load):
        with pytest.raises(CheckpointError, match=r"packed\.ckpt is a compressed archive, in whi"):
            read(packed)


def test_compressed_arrays_are_refused_as_weights(tiny_suite: Suite, tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    np.savez_compressed(path, weight=np.zeros((1000, 1000)))
    with pytest.raises(CheckpointError, match=r"weights\.npz is a compressed archive"):
        load_encoder(str(path), tiny_suite.backbone)


def test_a_part_that_is_marked_as_a_folder_is_refused(
    checkpoint: Path, tiny_suite: Suite, tmp_path: Path
) -> None:
    """A flipped bit is enough for that, and torch would read memory instead of the part."""
    marked = tmp_path / "marked.pt"
    with ZipFile(checkpoint) as plain, ZipFile(marked, "w") as archive:
        for part in plain.infolist():
            part.external_attr |= 0x10 if part.filename.endswith("/data/1") else 0
            archive.writestr(part, plain.read(part))
    with ZipFile(marked) as archive:
        assert archive.testzip() is None
    assert torch.load(marked, weights_only=True).keys() == read_checkpoint(checkpoint).keys()
    complaint = r"marked\.pt is damaged or not a checkpoint: its part '\w+/data/1' is marked as"
    for read in (read_checkpoint, load, lambda path: load_encoder(str(path), tiny_suite.backbone)):
        with pytest.raises(CheckpointError, match=complaint):
            read(marked)


def test_what_is_no_archive_passes_and_is_not_intact(tmp_path: Path) -> None:
    path = tmp_path / "text.pt"
    for content in (b"", b"text", b"PK\x03\x04" + bytes(50)):
        path.write_bytes(content)
        check_archive(path, "give another")
        assert not is_intact(path)
    torch.save({"w": torch.ones(2)}, path)
    check_archive(path, "give another")
    assert is_intact(path)
