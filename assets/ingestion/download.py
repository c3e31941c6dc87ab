"""Resumable download with a checksum: a killed or broken transfer goes on where it stopped, a wrong file is never kept.

Bytes go to ``<target>.part``; it is renamed to ``target`` only after its checksum is right.
"""

import hashlib
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import requests
from tqdm import tqdm

from assets.ingestion.limits import limits

CHUNK_BYTES = 1 << 16
CONNECT_AND_READ_SECONDS = (10, 60)
ATTEMPTS = 4
PAUSE_SECONDS = 1.0


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
            gives content of another checksum (also when fetched afresh) or more than ``limits.download_bytes``; also
            when an ``https`` address leads to one that is not.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    resumed = part.exists()
    _fetch(url, part, pause_seconds)
    if checksum is None:
        return part.replace(target)
    if not checksum.matches(part) and resumed:
        # The old part may be of another version of the file: once more from the start.
        part.unlink()
        _fetch(url, part, pause_seconds)
    if not checksum.matches(part):
        part.unlink()
        raise DownloadError(
            f"{url}: the content's {checksum.algorithm} is not the published {checksum.value}; "
            "the file changed at its source or on the way, so it was not kept"
        )
    return part.replace(target)


def _fetch(url: str, part: Path, pause_seconds: float) -> None:
    """Fill ``part`` to its end, over several attempts; only a whole file leaves this function without an error."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _fetch_once(url, part)
        except _TransferError as error:
            if attempt == ATTEMPTS:
                raise DownloadError(f"{url}: broke off {ATTEMPTS} times, at last with: {error}") from error
            time.sleep(pause_seconds * attempt)
        except requests.RequestException as error:
            raise DownloadError(f"{url}: {error}") from error
    return None


def _fetch_once(url: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=CONNECT_AND_READ_SECONDS) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            if _total(response) != have:
                part.unlink()
                raise _TransferError(f"the earlier part is longer than the file ({have} bytes)")
            return
        if response.status_code >= requests.codes.internal_server_error:
            raise _TransferError(f"HTTP status {response.status_code}")
        response.raise_for_status()
        if url.startswith("https://") and not response.url.startswith("https://"):
            raise DownloadError(f"{url}: leads to {response.url}, which anybody on the way could answer for")
        continues = response.status_code == requests.codes.partial_content and _starts_at(response) == have
        if response.status_code == requests.codes.partial_content and not continues:
            raise DownloadError(f"{url}: the server answered with another range than asked for")
        _write(response, part, have if continues else 0)


def _write(response: requests.Response, part: Path, have: int) -> None:
    """Append the body to the first ``have`` bytes of ``part``."""
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else None
    _refuse_large(response.url, part, total or have)
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
        part.unlink(missing_ok=True)
        raise DownloadError(f"{url}: is larger than limits.download_bytes ({most}) allows; nothing was kept")


def _starts_at(response: requests.Response) -> int | None:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _total(response: requests.Response) -> int | None:
    found = re.match(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None
