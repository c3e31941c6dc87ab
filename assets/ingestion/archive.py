"""Named members of a ZIP archive, extracted safely.

Only the members asked for are read, each into a file name of ours, so no path in the archive can lead anywhere; a
member larger than published is refused before and while it is unpacked.
"""

import zipfile
import zlib
from pathlib import Path
from typing import IO

from assets.ingestion.errors import IngestionError
from assets.storage import atomic_path

CHUNK_BYTES = 1 << 20


def extract_member(archive: Path, member: str, target: Path, max_bytes: int) -> Path:
    """Write ``member`` of ``archive`` to ``target`` atomically.

    Raises:
        IngestionError: naming archive and member, when the archive is damaged, lacks the member, encrypts it, or the
            member is larger than ``max_bytes``.
    """
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as source, atomic_path(target) as temporary:
            if opened.getinfo(member).file_size > max_bytes:
                raise IngestionError(f"{archive.name}: {member} is larger than the published {max_bytes} bytes")
            with temporary.open("wb") as sink:
                _copy(source, sink, max_bytes, f"{archive.name}: {member}")
    except KeyError as error:
        raise IngestionError(f"{archive.name}: holds no {member}; the archive is not the published one") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise IngestionError(f"{archive.name}: {member} cannot be unpacked: {error}") from error
    return target


def _copy(source: IO[bytes], sink: IO[bytes], max_bytes: int, what: str) -> None:
    written = 0
    while chunk := source.read(CHUNK_BYTES):
        written += len(chunk)
        if written > max_bytes:
            raise IngestionError(f"{what} unpacks to more than the published {max_bytes} bytes")
        sink.write(chunk)
