"""Named members of a ZIP archive, extracted safely.

Only the members asked for are read, each into a file name of ours, so no path in the archive can lead anywhere. An
archive with too many members is refused before its directory is parsed, a member that is larger than published, or that
unpacks to many times its size, before, while and after it is unpacked.
"""

import errno
import lzma
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from assets.ingestion.errors import IngestionError
from assets.ingestion.limits import limits, too_much, unpacked_allowed
from assets.storage import atomic_path

CHUNK_BYTES: Final = 1 << 16
"""Unpacked at a time, and about as far as the packed bytes are read ahead."""

DIRECTORY_BYTES: Final = 1024
"""Of an archive's directory per member allowed: an entry takes 46 and its name."""

_ENTRY: Final = b"PK\x01\x02"
_END: Final = struct.Struct("<4s4H2LH")
"""Signature, disks, members here and in all, bytes of the directory, its place, bytes of the comment behind."""
_END_MARK: Final = b"PK\x05\x06"
_LOCATOR: Final = struct.Struct("<4sLQL")
"""Signature, disk, place of the ZIP64 end record, disks: right before the end record, if at all."""
_LOCATOR_MARK: Final = b"PK\x06\x07"
_END64: Final = struct.Struct("<4sQ2H2L4Q")
"""Signature, bytes that follow, versions, disks, members here and in all, bytes of the directory, its place."""
_END64_MARK: Final = b"PK\x06\x06"
_COMMENT: Final = 1 << 16
_TAIL: Final = _END64.size + _LOCATOR.size + _END.size + _COMMENT


@dataclass(frozen=True)
class _Directory:
    """What an archive's end says of its directory: members, bytes, and where in the file it ends."""

    members: int
    size: int
    end: int


_DAMAGED: Final = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    RuntimeError,
    NotImplementedError,
    ValueError,
)


def extract_member(archive: Path, member: str, target: Path, max_bytes: int) -> Path:
    """Write ``member`` of ``archive`` to ``target`` atomically.

    Raises:
        IngestionError: naming archive and member, when the archive is damaged, lacks the member, encrypts it, or has
            more members than the limits allow, or the member is larger than ``max_bytes`` or than the limits allow.
    """
    try:
        with archive.open("rb") as handle:
            _refuse_crowded(handle, archive.name)
            _unpack(handle, archive.name, member, target, max_bytes)
    except KeyError as error:
        raise IngestionError(f"{archive.name}: holds no {member}; the archive is not the published one") from error
    except IngestionError:
        raise
    except _DAMAGED as error:
        raise IngestionError(f"{archive.name}: {member} cannot be unpacked: {error}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # that is a place before the beginning of the file; others are the disk's
            raise
        raise IngestionError(f"{archive.name}: {member} cannot be unpacked: {error}") from error
    return target


def _unpack(handle: IO[bytes], archive: str, member: str, target: Path, max_bytes: int) -> None:
    """Write one member, within what its packed bytes allow: by the directory, then by what was read of them.

    The directory may say anything of the packed size. So it is believed up to the archive's own size, and a stream that
    ended long before is held to the bytes that it took.
    """
    size = handle.seek(0, 2)
    with zipfile.ZipFile(handle) as opened, opened.open(member) as source, atomic_path(target) as temporary:
        info, what, begin = opened.getinfo(member), f"{archive}: {member}", handle.tell()
        allowed, why = _allowed(min(info.compress_size, size), max_bytes)
        if info.file_size > allowed:
            raise IngestionError(f"{what} is larger than {why}")
        with temporary.open("wb") as sink:
            written = _copy(source, sink, allowed, f"{what} unpacks to more than {why}")
        allowed, why = _allowed(handle.tell() - begin, max_bytes)
        if written > allowed:
            raise IngestionError(f"{what} unpacks to more than {why}")


def _allowed(packed_bytes: int, published: int) -> tuple[int, str]:
    """Bytes that a member may have, and what allows them."""
    unpacked, setting = unpacked_allowed(packed_bytes)
    if published <= unpacked:
        return published, f"the published {published} bytes"
    return unpacked, f"the {unpacked} bytes that {setting} allows for its packed size"


def _refuse_crowded(handle: IO[bytes], name: str) -> None:
    """Refuse a directory that is too long or holds too many entries: Python parses all of it, whatever it says.

    Raises:
        IngestionError: naming the figure and the setting, or where readers would differ in which directory they take.
    """
    found = _directory(handle, name)
    if found is None:
        return  # no archive at all, which opening it says
    most, members = limits().archive_members, found.members
    if members <= most and found.size <= min(found.end, most * DIRECTORY_BYTES):
        handle.seek(found.end - found.size)
        members = max(members, handle.read(found.size).count(_ENTRY))
    if members > most or found.size > most * DIRECTORY_BYTES:
        said = f"{members} members in a directory of {found.size} bytes"
        raise too_much(name, said, most, "limits.archive_members")


def _directory(handle: IO[bytes], name: str) -> _Directory | None:
    """The directory that :mod:`zipfile` will read; None where it will find none.

    Raises:
        IngestionError: where the end of a ZIP64 archive is not the one that it points to: Python's versions differ.
    """
    size = handle.seek(0, 2)
    handle.seek(max(0, size - _TAIL))
    tail = handle.read()
    at = _end_record(tail)
    if at is None:
        return None
    _, _, _, _, members, length, _, _ = _END.unpack_from(tail, at)
    place = size - len(tail) + at
    if tail[max(0, at - _LOCATOR.size) : at][:4] != _LOCATOR_MARK:
        return _Directory(members, length, place)
    before, place = at - _LOCATOR.size - _END64.size, place - _LOCATOR.size - _END64.size
    _, _, pointed, _ = _LOCATOR.unpack_from(tail, at - _LOCATOR.size)
    if before >= 0 and pointed == place and tail[before : before + 4] == _END64_MARK:
        _, follow, _, _, _, _, _, members64, length64, _ = _END64.unpack_from(tail, before)
        if follow == _END64.size - 12:  # bytes after that field: readers look for longer records in different places
            return _Directory(max(members64, members % 0xFFFF), length64, place)
    raise IngestionError(f"{name}: its ZIP64 end record is not where the archive says, so it is refused as damaged")


def _end_record(tail: bytes) -> int | None:
    """Where the end record begins, found as :mod:`zipfile` finds it; None where it finds none that is whole.

    The last bytes of the file are the record, if they look like one without a comment. Only otherwise is it searched
    from behind: its own fields may spell its signature.
    """
    last = len(tail) - _END.size
    if last >= 0 and tail[last : last + 4] == _END_MARK and tail[-2:] == b"\0\0":
        return last
    at = tail.rfind(_END_MARK, max(0, last - _COMMENT))
    return at if 0 <= at <= last else None


def _read(source: IO[bytes]) -> bytes:
    try:
        return source.read(CHUNK_BYTES)
    except OSError as error:  # as bz2 says that its bytes are damaged
        raise zipfile.BadZipFile(str(error)) from error


def _copy(source: IO[bytes], sink: IO[bytes], max_bytes: int, complaint: str) -> int:
    """Bytes copied; refused as soon as there are more than ``max_bytes``."""
    written = 0
    while chunk := _read(source):
        written += len(chunk)
        if written > max_bytes:
            raise IngestionError(complaint)
        sink.write(chunk)
    return written
