"""The bytes of a source file, unpacked where its name ends in ``.gz``, never more than the limits allow.

A gzip file does not say how much it unpacks to in a way one could believe, so bytes are counted as they come.
"""

import gzip
import io
import shutil
from pathlib import Path
from typing import Any, Final

from assets.ingestion.errors import IngestionError
from assets.ingestion.limits import limits, refuse_large, unpacked_allowed

CHUNK_BYTES: Final = 1 << 20


class BoundedReader(io.RawIOBase):
    """A stream that ends with an error after ``allowed`` bytes.

    Args:
        stream: with ``readinto``.
        file: its name, for the message.
        setting: that allows as much.
    """

    def __init__(self, stream: Any, file: str, allowed: int, setting: str) -> None:
        self._stream = stream
        self._file, self._allowed, self._setting = file, allowed, setting
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        count = int(self._stream.readinto(buffer))
        self._read += count
        if self._read > self._allowed:
            raise IngestionError(
                f"{self._file}: unpacks to more than {self._allowed} bytes, which {self._setting} allows for its size;"
                f" unpack it yourself, or raise {self._setting} if you trust it"
            )
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


def opened(path: Path) -> io.BufferedReader:
    """The file's bytes as a stream, unpacked if it is called ``*.gz``.

    Raises:
        IngestionError: when it is larger than the limits allow, here or as it is read.
        OSError: when it cannot be read.
    """
    refuse_large(path, limits().source_bytes, "limits.source_bytes")
    if path.suffix != ".gz":
        return path.open("rb")
    allowed, setting = unpacked_allowed(path.stat().st_size)
    unpacking = BoundedReader(gzip.GzipFile(path), path.name, allowed, setting)
    return io.BufferedReader(unpacking, CHUNK_BYTES)


def read_bytes(path: Path) -> bytes:
    """All of them.

    Raises:
        IngestionError, OSError: as :func:`opened`.
        EOFError, zlib.error: for damaged gzip.
    """
    with opened(path) as stream:
        if path.suffix != ".gz":
            return stream.read()
        whole = io.BytesIO()  # gives its bytes away without a copy, unlike a list that is joined
        shutil.copyfileobj(stream, whole, CHUNK_BYTES)
        return whole.getvalue()
