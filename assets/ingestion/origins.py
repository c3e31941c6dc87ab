"""Where a dataset's files come from: generated, the user's own folder, or a published source with a local cache."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from assets.ingestion.archive import extract_member
from assets.ingestion.download import Checksum, DownloadError, download
from assets.ingestion.errors import IngestionError
from assets.storage import file_digest, write_json

MOST_BYTES: Final = 8 << 30
"""Of a file unpacked from an archive whose size nobody published."""

NOTE: Final = "downloaded.json"
"""In a cache: SHA-256 of every file, as it was when it came."""


@dataclass(frozen=True)
class Located:
    """A folder with every required file in it.

    Args:
        folder: where an adapter reads.
        source: ``generated``, ``local copy`` or ``download``, for the report.
        digests: per file its SHA-256.
        warnings: what the user should know, e.g. a file that differs from the published one.
    """

    folder: Path
    source: str
    digests: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Origin(Protocol):
    """Makes a dataset's files available."""

    def locate(self, name: str, data_dir: Path | None, cache: Path) -> Located:
        """The dataset's folder, from ``data_dir/<name>/`` or else filled into ``cache``.

        Raises:
            IngestionError: saying what to do, when the files cannot be had.
        """
        ...


@dataclass(frozen=True)
class Generated:
    """Made by code: there are no files."""

    def locate(self, name: str, data_dir: Path | None, cache: Path) -> Located:  # noqa: ARG002 - Origin's signature
        return Located(cache, "generated")


@dataclass(frozen=True)
class OwnFiles:
    """The user's own files, only from ``THAW_DATA_DIR/<name>/``."""

    names: tuple[str, ...]
    suffixes: tuple[str, ...]

    def locate(self, name: str, data_dir: Path | None, cache: Path) -> Located:  # noqa: ARG002 - Origin's signature
        folder = None if data_dir is None else data_dir / name
        if folder is None or not folder.is_dir():
            wanted = ", ".join(f"{one}.{{{','.join(self.suffixes)}}}" for one in self.names)
            raise IngestionError(
                f"dataset {name!r} reads your own files: put {wanted} (only the first is required) into "
                f"{folder or f'<folder>/{name}'} and set THAW_DATA_DIR to {data_dir or '<folder>'}"
            )
        found = {
            path
            for one in self.names
            for suffix in self.suffixes
            for path in (folder / f"{one}.{suffix}", *folder.glob(f"{one}-*.{suffix}"))
        }
        return Located(folder, "local copy", {path.name: file_digest(path) for path in sorted(found) if path.is_file()})


@dataclass(frozen=True)
class SourceFile:
    """One file as published: its SHA-256 and size in bytes, where known, and the archive member it comes from, if any.

    A file whose digest is not known is held to its archive's checksum when it is unpacked, and from then on to the
    digest that it had.
    """

    name: str
    sha256: str | None = None
    size: int | None = None
    member: str | None = None


@dataclass(frozen=True)
class Remote:
    """An address with the digest of what it serves, if one is published: one file, or a ZIP archive with several."""

    url: str
    checksum: Checksum | None
    files: tuple[SourceFile, ...]


@dataclass(frozen=True)
class Published:
    """Files with official addresses: a local copy if there is one, else a verified download."""

    remotes: tuple[Remote, ...]

    @property
    def files(self) -> tuple[SourceFile, ...]:
        return tuple(file for remote in self.remotes for file in remote.files)

    def locate(self, name: str, data_dir: Path | None, cache: Path) -> Located:
        local = None if data_dir is None else data_dir / name
        if local is not None and local.is_dir():
            return self._local_copy(local)
        try:
            for remote in self.remotes:
                if not all(_is_published(cache, file) for file in remote.files):
                    _fetch(remote, cache)
        except DownloadError as error:
            raise IngestionError(
                f"dataset {name!r} is not on this machine and its download failed: {error}. Two ways out: connect to "
                f"the network and run again, or put {', '.join(file.name for file in self.files)} into "
                f"{local or f'<folder>/{name}'} and set THAW_DATA_DIR to {data_dir or '<folder>'}"
            ) from error
        return Located(cache, "download", {file.name: _expected(cache, file) or "" for file in self.files})

    def _local_copy(self, folder: Path) -> Located:
        if missing := [file.name for file in self.files if not (folder / file.name).is_file()]:
            raise IngestionError(
                f"{', '.join(missing)}: missing from {folder}; put the official files there, or remove the folder to "
                f"download them from {', '.join(remote.url for remote in self.remotes)}"
            )
        digests = {file.name: file_digest(folder / file.name) for file in self.files}
        differing = [file.name for file in self.files if file.sha256 not in {None, digests[file.name]}]
        warnings = tuple(f"{one}: differs from the published file (SHA-256)" for one in differing)
        return Located(folder, "local copy", digests, warnings)


def _fetch(remote: Remote, cache: Path) -> None:
    """Fill ``cache`` with the files of one address, each verified as far as its source lets it be.

    Raises:
        IngestionError: when a file is not the published one; or, where the source publishes no checksum at all, not
            what it was when it first came.
    """
    target = cache / remote.url.rsplit("/", 1)[-1]
    download(remote.url, target, remote.checksum)
    noted = _noted(cache)
    try:
        for file in remote.files:
            if file.member is not None:
                extract_member(target, file.member, cache / file.name, file.size or MOST_BYTES)
            former, noted[file.name] = noted.get(file.name), file_digest(cache / file.name)
            if file.sha256 not in {None, noted[file.name]}:
                (cache / file.name).unlink(missing_ok=True)
                raise DownloadError(f"{remote.url}: {file.name} does not have the published SHA-256 {file.sha256}")
            if file.sha256 is None and remote.checksum is None and former not in {None, noted[file.name]}:
                (cache / file.name).unlink(missing_ok=True)
                raise _another(remote, file, former or "", noted[file.name], cache)
        write_json(cache / NOTE, noted)
    finally:
        if target.name not in {file.name for file in remote.files}:
            target.unlink(missing_ok=True)


def _another(remote: Remote, file: SourceFile, former: str, found: str, cache: Path) -> IngestionError:
    return IngestionError(
        f"{remote.url}: serves {file.name} with SHA-256 {found}, and it had {former} when it was first downloaded; no "
        "checksum is published, so whether its source changed it or somebody on the way cannot be told, and it was not "
        f"kept. Two ways out: put the former file back into {cache}, or, to take what is served now, remove "
        f"{cache / NOTE} and run again"
    )


def _expected(cache: Path, file: SourceFile) -> str | None:
    """SHA-256 that ``file`` has to have: as published, else as it was noted when it was downloaded."""
    return file.sha256 or _noted(cache).get(file.name)


def _noted(cache: Path) -> dict[str, str]:
    path = cache / NOTE
    content: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return content


def _is_published(cache: Path, file: SourceFile) -> bool:
    path, expected = cache / file.name, _expected(cache, file)
    if expected is None or not path.is_file() or file.size not in {None, path.stat().st_size}:
        return False
    return file_digest(path) == expected
