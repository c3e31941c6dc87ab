import struct
import zipfile
from pathlib import Path

import pytest

from assets.config import LimitsConfig
from assets.ingestion.archive import _directory, extract_member
from assets.ingestion.errors import IngestionError
from assets.ingestion.limits import within


def _archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return path


def test_only_the_named_member_is_written(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "a.zip", **{"set/u.data": b"content", "../evil": b"x", "/etc/evil": b"x"})
    target = extract_member(archive, "set/u.data", tmp_path / "out" / "u.data", max_bytes=7)
    assert target.read_bytes() == b"content"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip", "out", "u.data"]


def test_a_member_outside_the_folder_lands_at_the_target(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "a.zip", **{"../../evil": b"x"})
    assert extract_member(archive, "../../evil", tmp_path / "in" / "here", 10) == tmp_path / "in" / "here"
    assert not (tmp_path.parent / "evil").exists()


@pytest.mark.parametrize(
    ("member", "max_bytes", "message"),
    [("set/none", 99, "holds no set/none"), ("set/u.data", 6, "larger than the published 6 bytes")],
)
def test_refusals_leave_nothing(tmp_path: Path, member: str, max_bytes: int, message: str) -> None:
    archive = _archive(tmp_path / "a.zip", **{"set/u.data": b"content"})
    with pytest.raises(IngestionError, match=message):
        extract_member(archive, member, tmp_path / "u.data", max_bytes)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_header_that_understates_the_size_is_refused(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "a.zip", bomb=b"0" * 1_000_000)
    content = archive.read_bytes().replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    archive.write_bytes(content)
    with pytest.raises(IngestionError, match="bomb"):
        extract_member(archive, "bomb", tmp_path / "bomb", 10)
    assert not (tmp_path / "bomb").exists()


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "a.zip", **{"u.data": b"content" * 100})
    damaged = bytearray(archive.read_bytes())
    damaged[40:60] = b"\xff" * 20
    archive.write_bytes(damaged)
    with pytest.raises(IngestionError, match=r"a\.zip: u\.data cannot be unpacked"):
        extract_member(archive, "u.data", tmp_path / "u.data", 700)
    archive.write_bytes(b"no zip")
    with pytest.raises(IngestionError, match=r"a\.zip: u\.data cannot be unpacked"):
        extract_member(archive, "u.data", tmp_path / "u.data", 700)


def _spelling(mark: bytes) -> int:
    return int.from_bytes(mark, "little")


def _end(members: int, size: int, comment: bytes = b"") -> bytes:
    return struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, members, members, size, 0, len(comment)) + comment


def _end64(members: int, size: int, place: int, follow: int = 44) -> bytes:
    """The record that lies at ``place``, and what points to it."""
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", follow, 45, 45, 0, 0, members, members, size, 0)
    return record + struct.pack("<4sLQL", b"PK\6\7", 0, place, 1)


def _sparse(path: Path, size: int, end: bytes) -> Path:
    with path.open("wb") as handle:
        handle.truncate(size)  # holds nothing on disk
        handle.seek(0, 2)
        handle.write(end)
    return path


def test_an_end_record_whose_field_spells_its_signature_is_read_as_python_reads_it(tmp_path: Path) -> None:
    size = _spelling(b"PK\5\6")
    archive = _sparse(tmp_path / "a.zip", size, _end(1, size))
    with pytest.raises(IngestionError, match=rf"directory of {size} bytes, limits\.archive_members allows 10000"):
        extract_member(archive, "u.data", tmp_path / "u.data", 10)


@pytest.mark.parametrize("comment", [b"", b"c" * 60])
def test_a_zip64_locator_that_spells_a_signature_hides_nothing(tmp_path: Path, comment: bytes) -> None:
    place = _spelling(b"PK\6\6")
    archive = _sparse(tmp_path / "a.zip", place, _end64(10_001, 46, place) + _end(1, 46, comment))
    with pytest.raises(IngestionError, match=r"10001 members .* limits\.archive_members allows 10000"):
        extract_member(archive, "u.data", tmp_path / "u.data", 10)


@pytest.mark.parametrize(
    "end",
    [
        _end64(1, 46, 99) + _end(1, 46),
        _end64(1, 46, 100, follow=60) + _end(1, 46),
        _end64(1, 46, 100)[56:] + _end(1, 46),
    ],
    ids=["elsewhere", "longer", "missing"],
)
def test_a_zip64_end_that_readers_would_look_for_in_different_places_is_refused(tmp_path: Path, end: bytes) -> None:
    archive = _sparse(tmp_path / "a.zip", 100, end)
    with pytest.raises(IngestionError, match=r"a\.zip: its ZIP64 end record is not where the archive says"):
        extract_member(archive, "u.data", tmp_path / "u.data", 10)


def test_entries_are_counted_whatever_the_end_record_says(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "a.zip", **{f"{number}": b"" for number in range(7)})
    lying = bytearray(archive.read_bytes())
    lying[-14:-10] = struct.pack("<HH", 1, 1)
    archive.write_bytes(lying)
    with within(LimitsConfig(archive_members=5)), pytest.raises(IngestionError, match="has 7 members"):
        extract_member(archive, "0", tmp_path / "0", 10)
    with within(LimitsConfig(archive_members=7)):
        assert extract_member(archive, "0", tmp_path / "0", 10).read_bytes() == b""


def _endings(plain: bytes) -> dict[str, bytes]:
    """Archives with ends of all kinds, from one of two members."""
    size = struct.unpack_from("<L", plain, len(plain) - 10)[0]
    inner = _end(1, 46) + b"c" * 30
    return {
        "plain": plain,
        "behind other bytes": b"#!/bin/sh\n" + plain,
        "before other bytes": plain + b"trailing",
        "comment": plain[:-2] + struct.pack("<H", 5) + b"hello",
        "longest comment": plain[:-2] + struct.pack("<H", 65535) + b"c" * 65535,
        "comment with a signature near its end": plain[:-2] + struct.pack("<H", 9) + b"PK\5\6 last",
        "comment with an end record": plain[:-2] + struct.pack("<H", len(inner)) + inner,
        "comment that ends like a record": plain[:-2] + struct.pack("<H", 22) + _end(2, size),
        "64": plain[:-22] + _end64(2, size, len(plain) - 22) + plain[-22:],
        "64 and a comment": plain[:-22] + _end64(2, size, len(plain) - 22) + plain[-22:-2] + b"\5\0hello",
        "cut off": plain[:-1],
        "short": b"PK\5\6",
        "empty": b"",
    }


@pytest.mark.parametrize("kind", _endings(_end(0, 0)))
def test_the_directory_that_is_judged_is_the_one_that_python_reads(tmp_path: Path, kind: str) -> None:
    plain = _archive(tmp_path / "plain.zip", a=b"one", b=b"two").read_bytes()
    path = tmp_path / "a.zip"
    path.write_bytes(_endings(plain)[kind])
    with path.open("rb") as handle:
        found = _directory(handle, path.name)
        try:
            read = zipfile.ZipFile(handle).start_dir
        except (zipfile.BadZipFile, ValueError, OSError):
            assert kind in {
                "comment with a signature near its end",
                "comment with an end record",
                "comment that ends like a record",
                "cut off",
                "short",
                "empty",
            }
            return
    assert found is not None
    assert read == found.end - found.size
