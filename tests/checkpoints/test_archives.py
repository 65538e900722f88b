"""Archives that are compressed, wherever they are read, and those that are no archives."""

from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile

import numpy as np
import pytest
import torch

from wemoe_pl.checkpoints import load_encoder
from wemoe_pl.checkpoints.archives import is_intact, refuse_compressed
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


def test_what_is_no_archive_passes_and_is_not_intact(tmp_path: Path) -> None:
    path = tmp_path / "text.pt"
    for content in (b"", b"text", b"PK\x03\x04" + bytes(50)):
        path.write_bytes(content)
        refuse_compressed(path, "give another")
        assert not is_intact(path)
    torch.save({"w": torch.ones(2)}, path)
    refuse_compressed(path, "give another")
    assert is_intact(path)
