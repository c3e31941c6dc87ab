"""The text of a source file as UTF-8 bytes, whatever its encoding; a file called ``*.gz`` is unpacked first."""

import codecs
import zlib
from pathlib import Path

from assets.ingestion.errors import IngestionError
from assets.ingestion.source_bytes import read_bytes

BLANK_BYTES = 4096
VALIDATED_BYTES = 1 << 24


def read_text(path: Path, encoding: str) -> bytes:
    """The file as UTF-8 bytes, without byte order mark and trailing blank lines.

    Raises:
        IngestionError: when the file is missing, unreadable, empty, larger than the limits allow, or not in
            ``encoding``, naming the line.
    """
    data = _read_bytes(path)
    if b"\x00" in data[:4096]:
        raise IngestionError(f"{path.name}: holds NUL bytes, so it is binary or UTF-16; {_instead(encoding)}")
    if encoding.lower() in {"latin-1", "iso-8859-1"}:
        _refuse_utf8(path, data, encoding)
    try:
        content = _as_utf8(data, encoding).rstrip(b"\r\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise IngestionError(
            f"{path.name}, line {line}: byte 0x{data[error.start]:02x} is not valid {encoding}; "
            f"save the file as {encoding}"
        ) from error
    except LookupError as error:
        raise IngestionError(f"{path.name}: unknown encoding {encoding!r}") from error
    if not content[:BLANK_BYTES].strip() and not content.strip():
        raise IngestionError(f"{path.name}: the file is empty; copy or download it again")
    return content


def _instead(encoding: str) -> str:
    """What to do about text with NUL bytes; where it was said to be UTF-16, that is not read."""
    if encoding.lower().replace("_", "-").startswith(("utf-16", "utf16", "utf-32", "utf32")):
        return f"{encoding} is not read: save it as UTF-8 text, and say encoding utf-8"
    return f"save it as {encoding} text"


def _as_utf8(data: bytes, encoding: str) -> bytes:
    """``data`` as UTF-8 without byte order marks; what is UTF-8 already is validated and not copied.

    Files put together by tools have more than one, and Arrow takes one away: a name behind two would be another to us.
    """
    if encoding.lower() not in {"utf-8", "utf8"}:
        data = data.decode(encoding).encode("utf-8")
    elif not data.isascii():
        _validate_utf8(data)
    while data.startswith(codecs.BOM_UTF8):
        data = data.removeprefix(codecs.BOM_UTF8)
    return data


def _validate_utf8(data: bytes) -> None:
    """Raise UnicodeDecodeError, at its place in the whole, for what is not UTF-8; decoded in pieces to save memory."""
    decoder, view = codecs.getincrementaldecoder("utf-8")(), memoryview(data)
    try:
        for start in range(0, len(data), VALIDATED_BYTES):
            decoder.decode(view[start : start + VALIDATED_BYTES], start + VALIDATED_BYTES >= len(data))
    except UnicodeDecodeError:
        data.decode("utf-8")


def _read_bytes(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except FileNotFoundError as error:
        raise IngestionError(f"{path.name}: missing from {path.parent}; put it there") from error
    except OSError as error:
        raise IngestionError(f"{path.name}: cannot be read from {path.parent}: {error}") from error
    except (EOFError, zlib.error) as error:
        raise IngestionError(f"{path.name}: is no whole gzip file ({error}); copy it again") from error


def _refuse_utf8(path: Path, data: bytes, encoding: str) -> None:
    """Any bytes decode as latin-1, so a re-encoded file would pass with garbled titles: tell it by valid UTF-8."""
    if data.isascii():
        return
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return
    raise IngestionError(
        f"{path.name}: is UTF-8, but this dataset's official file is {encoding}; use the official file unchanged"
    )
