"""Named members of a ZIP archive, extracted safely.

Only the members asked for are read, each into a file name of ours, so no path in the archive can lead anywhere. An
archive with too many members is refused before its directory is read, a member that is larger than published, or that
unpacks to many times its size, before and while it is unpacked.
"""

import errno
import lzma
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Final

from assets.ingestion.errors import IngestionError
from assets.ingestion.limits import limits, too_much, unpacked_allowed
from assets.storage import atomic_path

CHUNK_BYTES = 1 << 20

DIRECTORY_BYTES: Final = 1024
"""Of an archive's directory per member allowed: an entry takes 46 and its name."""

_END: Final = b"PK\x05\x06"
_END64: Final = b"PK\x06\x06"
_TAIL: Final = (1 << 16) + 22 + 20 + 56
"""The end record, the longest comment behind it, and before it what archives beyond 4 GiB have."""


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
    _refuse_crowded(archive)
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as source, atomic_path(target) as temporary:
            info, what = opened.getinfo(member), f"{archive.name}: {member}"
            allowed, why = _allowed(info.compress_size, max_bytes)
            if info.file_size > allowed:
                raise IngestionError(f"{what} is larger than {why}")
            with temporary.open("wb") as sink:
                _copy(source, sink, allowed, f"{what} unpacks to more than {why}")
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


def _allowed(packed_bytes: int, published: int) -> tuple[int, str]:
    """Bytes that a member may have, and what allows them."""
    unpacked, setting = unpacked_allowed(packed_bytes)
    if published <= unpacked:
        return published, f"the published {published} bytes"
    return unpacked, f"the {unpacked} bytes that {setting} allows for its packed size"


def _refuse_crowded(archive: Path) -> None:
    """Believe the end record only where it says too much: Python reads as much of a directory as it says."""
    with archive.open("rb") as handle:
        handle.seek(max(0, handle.seek(0, 2) - _TAIL))
        tail = handle.read()
    at, at64 = tail.rfind(_END), tail.rfind(_END64)
    if at < 0 or len(tail) < at + 22:
        return  # no archive at all, which opening it says
    _, members, directory = struct.unpack_from("<HHI", tail, at + 8)
    if at64 >= 0 and len(tail) >= at64 + 56:
        members64, directory64 = struct.unpack_from("<QQ", tail, at64 + 32)
        members, directory = max(members64, members % 0xFFFF), max(directory64, directory % 0xFFFFFFFF)
    most = limits().archive_members
    if members > most or directory > most * DIRECTORY_BYTES:
        found = f"{members} members in a directory of {directory} bytes"
        raise too_much(archive.name, found, most, "limits.archive_members")


def _read(source: IO[bytes]) -> bytes:
    try:
        return source.read(CHUNK_BYTES)
    except OSError as error:  # as bz2 says that its bytes are damaged
        raise zipfile.BadZipFile(str(error)) from error


def _copy(source: IO[bytes], sink: IO[bytes], max_bytes: int, complaint: str) -> None:
    written = 0
    while chunk := _read(source):
        written += len(chunk)
        if written > max_bytes:
            raise IngestionError(complaint)
        sink.write(chunk)
