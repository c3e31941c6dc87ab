import zipfile
from pathlib import Path

import pytest

from assets.ingestion.archive import extract_member
from assets.ingestion.errors import IngestionError


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
