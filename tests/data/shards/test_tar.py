"""What is in a tar is found by its headers; a damaged or hostile one is refused in a sentence."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.hostile import many, one_sentence
from helpers.mutations import damaged
from helpers.shards import noise, write_tar
from hypothesis import given

from wemoe_pl.data.shards.tar import MOST_OF_A_HEADER, members_of
from wemoe_pl.errors import DataError

LONG = "x" * 300 + ".png"


def test_members_are_found_at_their_bytes_as_the_library_unpacks_them(tmp_path: Path) -> None:
    contents = {"a.png": noise(0), "d/b.png": noise(1), LONG: b"long", "é.png": b"", "c.cls": b"3"}
    path = write_tar(tmp_path / "a.tar", contents)
    found = list(members_of(path))
    whole = path.read_bytes()
    assert {m.name: whole[m.start : m.start + m.size] for m in found} == contents
    assert all(m.fault is None for m in found)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_all_forms_of_tars_are_read_and_folders_are_left_out(form: int, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(noise(0))
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as tar:
        tar.add(tmp_path / "photos", "photos")
    assert [member.name for member in members_of(tmp_path / "a.tar")] == ["photos/a.png"]


def be(kind: bytes) -> Callable[[tarfile.TarInfo], None]:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname, info.size = kind, "/etc/passwd", 0

    return change


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (tarfile.SYMTYPE, "is a link to /etc/passwd in its tar"),
        (tarfile.LNKTYPE, "is a link to /etc/passwd in its tar"),
        (tarfile.FIFOTYPE, "is no regular file in its tar"),
        (tarfile.CHRTYPE, "is no regular file in its tar"),
    ],
)
def test_a_member_that_is_no_file_has_a_fault(kind: bytes, fault: str, tmp_path: Path) -> None:
    [member] = members_of(write_tar(tmp_path / "a.tar", {"a.png": b""}, be(kind)))
    assert fault in str(member.fault)


def test_a_file_with_holes_has_a_fault(tmp_path: Path) -> None:
    def sparse(info: tarfile.TarInfo) -> None:
        info.pax_headers = {"GNU.sparse.map": "0,1,9,1", "GNU.sparse.size": "10"}

    [member] = members_of(write_tar(tmp_path / "a.tar", {"a.png": b"xy"}, sparse))
    assert str(member.fault).startswith("is stored with holes (as a sparse file) in its tar")


def cut(content: bytes) -> bytes:
    return content[:700]


def cut_at_a_member(content: bytes) -> bytes:
    return content[:1536]


def without_end(content: bytes) -> bytes:
    return content[:2048]


def damaged_in_the_middle(content: bytes) -> bytes:
    return content[:1024] + b"\xff" * 512 + content[1536:]


def compressed(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz"):
        pass
    return buffer.getvalue()


def twice(content: bytes) -> bytes:
    return content * 2


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (cut, r"is not a whole uncompressed tar \(.*\): copy or write it again\."),
        (cut_at_a_member, r"is not a whole uncompressed tar \(.*\): copy or write it again\."),
        (without_end, r"is cut off: its end is missing: copy or write it again\."),
        (damaged_in_the_middle, "is damaged at byte 1024, or has another tar behind its end"),
        (twice, "is damaged at byte 2048, or has another tar behind its end"),
        (compressed, "is not a whole uncompressed tar"),
        (lambda content: b"", r"is not a whole uncompressed tar \(empty file\)"),
        (lambda content: b"no tar" * 200, "is not a whole uncompressed tar"),
    ],
)
def test_a_tar_that_is_not_whole_is_refused(
    spoil: Callable[[bytes], bytes], sentence: str, tmp_path: Path
) -> None:
    path = write_tar(tmp_path / "a.tar", {"a.png": b"x" * 500, "b.png": b"y" * 500})
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=rf"^{path} {sentence}"):
        list(members_of(path))


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("size", [-512, -1024, 1 << 40, MOST_OF_A_HEADER * 8])
def test_sizes_that_lead_back_or_fill_the_memory_are_refused(
    kind: bytes, size: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(header("a.png", 0) + header("b.png", size, kind) + bytes(1024))
    with pytest.raises(DataError, match=rf"^{path} is not a whole uncompressed tar"):
        list(members_of(path))


def test_headers_that_nest_without_end_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes((header("x", 1, tarfile.GNUTYPE_LONGNAME) + bytes(512)) * 3000 + bytes(1024))
    with pytest.raises(DataError, match=rf"^{path} is not a whole uncompressed tar"):
        list(members_of(path))


@pytest.fixture(scope="session")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tar") / "a.tar"


def whole_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("a.png", LONG, "é.png"):
            info = tarfile.TarInfo(name)
            info.size = 600
            tar.addfile(info, io.BytesIO(bytes(600)))
    return buffer.getvalue()


@many(4)
@given(content=damaged([whole_tar()]))
def test_whatever_a_stranger_sends_is_read_or_refused(content: bytes, shard: Path) -> None:
    shard.write_bytes(content)
    one_sentence(lambda: list(members_of(shard)))
