"""Resumable download with a checksum: a killed or broken transfer goes on where it stopped, a wrong file is never kept.

Bytes go to ``<target>.part``; it is renamed to ``target`` only after its checksum is right. What the server calls that
version of the file is kept in ``<target>.part.version``: a part is continued only with bytes of the same version, and
one whose version nobody named only where a checksum will tell.
"""

import hashlib
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import requests
from tqdm import tqdm

from assets.ingestion.limits import limits

CHUNK_BYTES = 1 << 16
CONNECT_AND_READ_SECONDS = (10, 60)
ATTEMPTS = 4
PAUSE_SECONDS = 1.0

_COUNT: Final = r"([0-9]{1,18})"
"""Bytes in a header: no file has a number of more digits, and Python refuses to read very long ones."""
_VERSION: Final = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,999}")
_STRONG_TAG: Final = re.compile(r'"[\x21\x23-\x7e]{1,998}"')


class DownloadError(OSError):
    """A file could not be downloaded whole; the message names its address and the cause."""


class _TransferError(Exception):
    """The connection broke or the server had a passing trouble: worth another attempt."""


@dataclass(frozen=True)
class Checksum:
    """A published digest, and by which algorithm (MD5 tells damage, SHA-256 also tampering)."""

    algorithm: Literal["md5", "sha256"]
    value: str

    def matches(self, path: Path) -> bool:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, self.algorithm).hexdigest() == self.value


def download(url: str, target: Path, checksum: Checksum | None, pause_seconds: float = PAUSE_SECONDS) -> Path:
    """Download ``url`` to ``target``, going on from an earlier part, with a progress bar.

    Args:
        checksum: ``None`` where the source publishes none: then only a transfer that broke off is noticed.

    Raises:
        DownloadError: when the address cannot be reached, answers with an error, breaks off ``ATTEMPTS`` times, or
            gives content of another checksum (also when fetched afresh), a length that is no number or more than
            ``limits.download_bytes``; also when an ``https`` address leads to one that is not, at the end or on the
            way.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    resumed = part.exists()
    _fetch(url, part, pause_seconds, checksum is not None)
    if checksum is not None and not checksum.matches(part) and resumed:
        # The old part may be of another version of the file: once more from the start.
        _drop(part)
        _fetch(url, part, pause_seconds, True)
    if checksum is not None and not checksum.matches(part):
        _drop(part)
        raise DownloadError(
            f"{url}: the content's {checksum.algorithm} is not the published {checksum.value}; "
            "the file changed at its source or on the way, so it was not kept"
        )
    part.replace(target)
    _version_file(part).unlink(missing_ok=True)
    return target


def _fetch(url: str, part: Path, pause_seconds: float, is_checked: bool) -> None:
    """Fill ``part`` to its end, over several attempts; only a whole file leaves this function without an error."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _fetch_once(url, part, is_checked)
        except _TransferError as error:
            if attempt == ATTEMPTS:
                raise DownloadError(f"{url}: broke off {ATTEMPTS} times, at last with: {error}") from error
            time.sleep(pause_seconds * attempt)
        except requests.RequestException as error:
            raise DownloadError(f"{url}: {error}") from error
    return None


def _fetch_once(url: str, part: Path, is_checked: bool) -> None:
    """Ask for what is missing of ``part``; for all of it where nothing would tell that it is of another version.

    Args:
        url: of the file.
        part: what came of it.
        is_checked: whether a checksum will be asked of the whole.
    """
    version = _version(part)
    have = part.stat().st_size if part.exists() and (version or is_checked) else 0
    headers = {"Accept-Encoding": "identity"} | _wanted(have, version)
    with requests.get(url, headers=headers, stream=True, timeout=CONNECT_AND_READ_SECONDS) as response:
        _refuse_detour(url, response)
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            if _total(response) != have or not is_checked:
                _drop(part)
                raise _TransferError(f"the earlier part ({have} bytes) is not of the file that is served now")
            return
        if response.status_code >= requests.codes.internal_server_error:
            raise _TransferError(f"HTTP status {response.status_code}")
        response.raise_for_status()
        continues = response.status_code == requests.codes.partial_content and _starts_at(response) == have
        if response.status_code == requests.codes.partial_content and not continues:
            raise DownloadError(f"{url}: the server answered with another range than asked for")
        if continues and have and not _is_of(response, version):
            _drop(part)
            raise _TransferError("the file changed at its source after an earlier part of it came")
        _write(response, part, have if continues else 0)


def _wanted(have: int, version: str) -> dict[str, str]:
    """Headers that ask for what follows ``have`` bytes, if the file is still of that version."""
    return ({"Range": f"bytes={have}-"} if have else {}) | ({"If-Range": version} if have and version else {})


def _refuse_detour(url: str, response: requests.Response) -> None:
    """Refuse an answer that came over plain HTTP, or was pointed to there, where HTTPS was asked for."""
    if not _is_https(url):
        return
    for hop in (*response.history, response):
        if not _is_https(hop.url):
            raise DownloadError(f"{url}: leads to {hop.url}, which anybody on the way could answer for")


def _is_https(url: str) -> bool:
    return url.lower().startswith("https://")


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _version(part: Path) -> str:
    """The version that ``part`` is of, as a request may name it; empty where it is not known."""
    path = _version_file(part)
    held = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return held if _VERSION.fullmatch(held) else ""


def _version_of(response: requests.Response) -> str:
    """What the server calls this version of the file: a strong ETag, or else the time of its last change.

    A weak ETag is none: files that differ in bytes may share it.
    """
    tag = response.headers.get("ETag", "")
    found = tag if _STRONG_TAG.fullmatch(tag) else response.headers.get("Last-Modified", "")
    return found if _VERSION.fullmatch(found) else ""


def _is_of(response: requests.Response, version: str) -> bool:
    """Whether a part of a file is of ``version``, if that is known.

    Servers may ignore the condition; those that heed it may leave out a date, not a tag.
    """
    found, is_date = _version_of(response), not version.startswith('"')
    return not version or found == version or (is_date and not found)


def _begin(part: Path, response: requests.Response) -> None:
    """Note the version of what is about to come; the former part goes first, so that it is never taken for of it."""
    _drop(part)
    if version := _version_of(response):
        _version_file(part).write_text(version, encoding="utf-8")


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)
    _version_file(part).unlink(missing_ok=True)


def _write(response: requests.Response, part: Path, have: int) -> None:
    """Append the body to the first ``have`` bytes of ``part``."""
    length = _length(response)
    total = None if length is None else have + length
    _refuse_large(response.url, part, total or have)
    if not have:
        _begin(part, response)
    with (
        part.open("ab" if have else "wb") as handle,
        tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem) as bar,
    ):
        try:
            for chunk in response.iter_content(CHUNK_BYTES):
                handle.write(chunk)
                _refuse_large(response.url, part, handle.tell())
                bar.update(len(chunk))
        except requests.RequestException as error:
            raise _TransferError(str(error)) from error
    if total is not None and part.stat().st_size != total:
        raise _TransferError(f"{part.stat().st_size} of {total} bytes came")


def _refuse_large(url: str, part: Path, size: int) -> None:
    """Refuse what has, or says it has, too many bytes; what came of it is removed, so that the disk is free again."""
    if size > (most := limits().download_bytes):
        _drop(part)
        raise DownloadError(f"{url}: is larger than limits.download_bytes ({most}) allows; nothing was kept")


def _length(response: requests.Response) -> int | None:
    """Bytes that the body is said to have; None where nothing is said.

    Raises:
        DownloadError: where what is said is no number.
    """
    said = response.headers.get("Content-Length")
    if not said:
        return None
    if not re.fullmatch(_COUNT, said):
        raise DownloadError(f"{response.url}: says that its length is {said[:40]!r}, which is no number of bytes")
    return int(said)


def _starts_at(response: requests.Response) -> int | None:
    found = re.match(rf"bytes {_COUNT}-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _total(response: requests.Response) -> int | None:
    found = re.fullmatch(rf"bytes \*/{_COUNT}", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None
