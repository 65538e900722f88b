"""A file is whole or not there, and a folder that cannot be written to is named."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from helpers.process_groups import ended_process

from wemoe_pl.errors import WeMoEError
from wemoe_pl.system import files
from wemoe_pl.system.files import (
    SHIPPED,
    atomic_rewrite,
    atomic_write,
    cache_folder,
    digest,
    locate,
    make_folder,
    remove_leftovers,
    remove_leftovers_of,
    sha256,
)


def test_a_source_is_a_path_or_shipped_with_the_package() -> None:
    assert locate("weights/vit.safetensors") == Path("weights/vit.safetensors")
    assert locate("~/vit.safetensors") == Path.home() / "vit.safetensors"
    assert locate("shipped:miniature/heads") == SHIPPED / "miniature" / "heads"


# --- folders ---------------------------------------------------------------------------------


def test_a_folder_is_made_with_its_parents_and_left_empty(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "latest"
    assert make_folder(folder) == folder
    assert make_folder(folder) == folder
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("below", "said"),
    [("", r"file is a file, not a folder\."), ("runs", r"Cannot write to the folder .*file.runs")],
)
def test_a_folder_in_whose_place_a_file_lies_is_refused_by_name(
    below: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeMoEError, match=f"{said}.* another with --out"):
        make_folder(tmp_path / "file" / below)


def test_a_folder_that_exists_but_is_read_only_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(dir: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), dir)

    monkeypatch.setattr(
        "wemoe_pl.system.files.TemporaryFile", refuse
    )  # root, as in a container, may write anywhere
    with pytest.raises(WeMoEError, match=r"folder .*: Permission denied\. Choose another"):
        make_folder(tmp_path)


# --- files -----------------------------------------------------------------------------------


@pytest.fixture(params=["new", "existing"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "results.json"
    if request.param == "existing":
        path.write_text("before")
    return path


def contents(folder: Path) -> dict[str, str]:
    """Every file of a folder, hidden ones too."""
    return {path.name: path.read_text() for path in folder.iterdir()}


def write_half(target: Path, error: BaseException) -> None:
    with atomic_write(target) as temporary:
        temporary.write_text("hal")
        raise error


def test_the_target_appears_when_the_block_ends(target: Path) -> None:
    before = contents(target.parent)
    with atomic_write(target) as temporary:
        temporary.write_text("after")
        assert contents(target.parent) == {**before, temporary.name: "after"}
    assert contents(target.parent) == {"results.json": "after"}


def test_missing_folders_are_made(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a" / "b" / "note.txt") as temporary:
        temporary.write_text("here")
    assert contents(tmp_path / "a" / "b") == {"note.txt": "here"}


def test_a_full_disk_leaves_the_folder_as_it_was(target: Path) -> None:
    before = contents(target.parent)
    complaint = r"Cannot write .*results\.json: No space left on device\. Free some space"
    with pytest.raises(WeMoEError, match=complaint):
        write_half(target, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert contents(target.parent) == before


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    kept = [tmp_path / name for name in (".hidden", ".film.partial", "a.part.json", "last.ckpt")]
    for path in kept:
        path.touch()
    with atomic_write(tmp_path / "results.json") as temporary:
        temporary.touch()
        shutil.copy(temporary, temporary.with_name(temporary.name.replace(".part", "7.part")))
    (tmp_path / "results.json").unlink()
    assert len(list(tmp_path.glob(".*.part.*"))) == 1
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_only_processes_that_are_gone_leave_something(tmp_path: Path) -> None:
    gone = ended_process()
    kept = [
        f".table.{os.getpid()}.part.md", f".other.{gone}.part.md",
        f".table.{gone}.part.csv",
        ".table.99999999999999999999.part.md", "table.md",
    ]  # fmt: skip
    for name in (*kept, f".table.{gone}.part.md"):
        (tmp_path / name).touch()
    remove_leftovers_of(tmp_path / "table.md")
    assert {path.name for path in tmp_path.iterdir()} == set(kept)


def test_a_file_of_one_process_is_written_where_killed_ones_have_left_theirs(
    target: Path,
) -> None:
    gone = ended_process()
    target.with_name(f".{target.stem}.{gone}.part{target.suffix}").write_text("hal")
    with atomic_rewrite(target) as temporary:
        temporary.write_text("whole")
    assert contents(target.parent) == {target.name: "whole"}


def test_what_is_written_is_on_the_disk_before_it_is_in_place(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk may say that it is full only then."""

    def refuse(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = contents(target.parent)
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(WeMoEError, match="No space left"), atomic_write(target) as temporary:
        temporary.write_text("after")
    assert contents(target.parent) == before


def test_an_interruption_leaves_the_folder_as_it_was(target: Path) -> None:
    before = contents(target.parent)
    with pytest.raises(KeyboardInterrupt):
        write_half(target, KeyboardInterrupt())
    assert contents(target.parent) == before


def test_a_target_below_a_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(WeMoEError, match=r"Cannot write .*note\.txt: .*choose another folder"),
        atomic_write(tmp_path / "file" / "note.txt") as temporary,
    ):
        temporary.write_text("never")


def test_a_temporary_file_that_cannot_be_removed_does_not_hide_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(WeMoEError, match="No space left on device"):
        write_half(tmp_path / "note.txt", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))


def test_the_identity_of_a_file_is_the_sha256_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# --- caches ----------------------------------------------------------------------------------

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "abc")
    assert digest(tmp_path / "abc") == digest(tmp_path / "link") == ABC


def test_a_file_that_is_named_by_its_digest_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the hub's cache names large files, to which its snapshots link."""
    (tmp_path / ABC).write_bytes(b"abc")
    (tmp_path / "model.safetensors").symlink_to(tmp_path / ABC)
    monkeypatch.setattr(files, "sha256", None)
    assert digest(tmp_path / "model.safetensors") == ABC


@pytest.mark.parametrize("name", [ABC[:40], ABC[1:], ABC + "0", ABC.upper(), f"{ABC}.bin"])
def test_a_name_that_is_no_sha256_says_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")
    assert digest(tmp_path / name) == sha256(tmp_path / name) != ABC


def test_the_cache_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEMOE_PL_CACHE", str(tmp_path / "mine"))
    assert cache_folder("heads") == tmp_path / "mine" / "heads"
    assert (tmp_path / "mine" / "heads").is_dir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WEMOE_PL_CACHE", "~/kept")
    assert cache_folder("pixels") == tmp_path / "home" / "kept" / "pixels"


@pytest.mark.parametrize("value", [None, ""])
def test_the_cache_is_where_the_system_keeps_caches_otherwise(
    value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "user_cache_path", lambda name: tmp_path / name)
    if value is None:
        monkeypatch.delenv("WEMOE_PL_CACHE")
    else:
        monkeypatch.setenv("WEMOE_PL_CACHE", value)
    assert cache_folder("heads") == tmp_path / "wemoe_pl" / "heads"


def test_a_cache_that_cannot_be_written_to_says_how_to_choose_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WEMOE_PL_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeMoEError, match=r"folder .*file.*heads: .* Set WEMOE_PL_CACHE to a fold"):
        cache_folder("heads")
