"""Where a dataset's files come from: generated, the user's own folder, or a published source with a local cache."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from assets.ingestion.archive import extract_member
from assets.ingestion.download import Checksum, DownloadError, download
from assets.ingestion.errors import IngestionError
from assets.storage import file_digest


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
        found = [folder / f"{one}.{suffix}" for one in self.names for suffix in self.suffixes]
        return Located(folder, "local copy", {path.name: file_digest(path) for path in found if path.is_file()})


@dataclass(frozen=True)
class SourceFile:
    """One file as published: its SHA-256, size in bytes, and the archive member it comes from, if any."""

    name: str
    sha256: str
    size: int
    member: str | None = None


@dataclass(frozen=True)
class Remote:
    """An address with the digest of what it serves: one file of a dataset, or a ZIP archive with several."""

    url: str
    checksum: Checksum
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
                if not all(_is_published(cache / file.name, file) for file in remote.files):
                    _fetch(remote, cache)
        except DownloadError as error:
            raise IngestionError(
                f"dataset {name!r} is not on this machine and its download failed: {error}. Two ways out: connect to "
                f"the network and run again, or put {', '.join(file.name for file in self.files)} into "
                f"{local or f'<folder>/{name}'} and set THAW_DATA_DIR to {data_dir or '<folder>'}"
            ) from error
        return Located(cache, "download", {file.name: file.sha256 for file in self.files})

    def _local_copy(self, folder: Path) -> Located:
        if missing := [file.name for file in self.files if not (folder / file.name).is_file()]:
            raise IngestionError(
                f"{', '.join(missing)}: missing from {folder}; put the official files there, or remove the folder to "
                f"download them from {', '.join(remote.url for remote in self.remotes)}"
            )
        digests = {file.name: file_digest(folder / file.name) for file in self.files}
        differing = [file.name for file in self.files if digests[file.name] != file.sha256]
        warnings = tuple(f"{one}: differs from the published file (SHA-256)" for one in differing)
        return Located(folder, "local copy", digests, warnings)


def _fetch(remote: Remote, cache: Path) -> None:
    """Fill ``cache`` with the files of one address, each verified."""
    target = cache / remote.url.rsplit("/", 1)[-1]
    download(remote.url, target, remote.checksum)
    for file in remote.files:
        if file.member is not None:
            extract_member(target, file.member, cache / file.name, file.size)
        if not _is_published(cache / file.name, file):
            (cache / file.name).unlink(missing_ok=True)
            raise DownloadError(f"{remote.url}: {file.name} does not have the published SHA-256 {file.sha256}")
    if target.name not in {file.name for file in remote.files}:
        target.unlink()


def _is_published(path: Path, file: SourceFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size and file_digest(path) == file.sha256
