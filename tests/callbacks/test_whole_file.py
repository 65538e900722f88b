"""Lightning's checkpoints, written whole or not at all."""

import errno
import io
from pathlib import Path
from typing import Any

import pytest
import torch

from wemoe_pl.callbacks.whole_file import WholeFile
from wemoe_pl.errors import CheckpointError, WeMoEError


def test_it_says_what_was_written_once_it_is_in_place(tmp_path: Path) -> None:
    told: list[tuple[Path, dict[str, Any]]] = []
    path, content = tmp_path / "last.ckpt", {"step": 3}
    WholeFile(lambda path, content: told.append((path, torch.load(path)))).save_checkpoint(
        content, path
    )
    assert told == [(path, content)]
    assert [*tmp_path.iterdir()] == [path]


def test_a_full_disk_is_named_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            raise RuntimeError("PytorchStreamWriter failed writing file") from None

    told: list[Path] = []
    path = tmp_path / "last.ckpt"
    path.write_bytes(b"before")
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(WeMoEError, match=r"No space left on device\. Free some space"):
        WholeFile(lambda path, _: told.append(path)).save_checkpoint({}, path)
    assert (told, path.read_bytes(), [*tmp_path.iterdir()]) == ([], b"before", [path])


def test_it_reads_only_checkpoints_of_this_program(tmp_path: Path) -> None:
    content = io.BytesIO()
    torch.save({"state_dict": {}}, content)
    (tmp_path / "last.ckpt").write_bytes(content.getvalue())
    with pytest.raises(CheckpointError, match=r"last\.ckpt was not written by wemoe-pl"):
        WholeFile(lambda *_: None).load_checkpoint(tmp_path / "last.ckpt")
