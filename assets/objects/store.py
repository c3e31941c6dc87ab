"""Objects of one dataset under ``url``: contents named by their digest, and a manifest per stage that names them.

::

    <url>/<dataset>/blobs/<first two digits>/<SHA-256>
    <url>/<dataset>/stages/<stage>.json

A blob never changes, and gets its name only when what was sent is known to have that digest: whoever sends it again
believes name and size. A manifest is written last and as one object, so a reader finds the former stage or the new one.
"""

import hashlib
import json
import re
import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeVar

from assets.storage import DATASET_NAME, atomic_path, file_digest

FORMAT: Final = 1
STAGE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
FIRST_PAUSE_SECONDS: Final = 0.5
IN_MEMORY_BYTES: Final = 50 << 20
"""Of a file that is sent as the bytes that were digested; fsspec's S3 holds as much of any file."""
FINAL: Final = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ValueError, ImportError)
"""Errors that another attempt would not mend."""

T = TypeVar("T")


class ObjectsError(OSError):
    """Objects could not be reached, or hold something else than they should; the message names which and what to do."""


@dataclass(frozen=True)
class Blob:
    """A file's content."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """What a stage consists of.

    Attributes:
        stage: its name.
        run_id: Dagster's, of the run that made it.
        places: files and folders that are the stage's alone, from the dataset's folder.
        files: path from the dataset's folder -> content.
        account: what ``thaw run`` knows of it (:class:`orchestration.unchanged.Account`), if anything.
    """

    stage: str
    run_id: str
    places: tuple[str, ...]
    files: dict[str, Blob]
    account: dict[str, Any] | None = field(default=None, compare=False)

    def text(self) -> str:
        """As JSON; equal manifests are equal texts."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def parsed(text: str | bytes, stage: str, where: str) -> Manifest:
    """The manifest in a text.

    Raises:
        ObjectsError: for another format, another stage, or a path that leads out of the dataset's folder.
    """
    try:
        held = json.loads(text)
        version = held.pop("format")
        if version != FORMAT:
            raise ObjectsError(
                f"{where} has format {version}, this version of Thaw reads {FORMAT}: use the one that wrote it"
            )
        files = {name: Blob(str(one["sha256"]), int(one["bytes"])) for name, one in held.pop("files").items()}
        manifest = Manifest(files=files, **{**held, "places": tuple(held["places"])})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ObjectsError(
            f"{where} is no manifest of a stage ({error}): remove it and push the stage again"
        ) from error
    odd = [name for name in (*files, *manifest.places) if not _stays_inside(name)]
    odd += [blob.sha256 for blob in files.values() if not DIGEST.fullmatch(blob.sha256)]
    if odd or manifest.stage != stage:
        raise ObjectsError(
            f"{where} names {(odd or [manifest.stage])[0]!r}: not a file of stage {stage}, so it is refused"
        )
    return manifest


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return (
        bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in name and "\0" not in name
    )


class ObjectStore:
    """The objects of one dataset.

    Args:
        url: of all datasets, e.g. ``s3://bucket/prefix``.
        dataset: whose.
        attempts: at each request.
        pause: how to wait between them, in seconds.

    Raises:
        ObjectsError: where the program lacks what the address needs.
    """

    def __init__(self, url: str, dataset: str, attempts: int = 4, pause: Callable[[float], None] = time.sleep) -> None:
        if not DATASET_NAME.fullmatch(dataset):
            raise ObjectsError(f"{dataset!r} is no name of a dataset")
        try:
            import fsspec  # noqa: PLC0415 - an extra

            self._fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
        except (ImportError, ValueError) as error:
            raise ObjectsError(f"objects.url {url} cannot be used: {error}; pip install .[objects]") from error
        self.url = url
        self._root = f"{root.rstrip('/')}/{dataset}"
        self._is_folder = "file" in _protocols(self._fs)
        self._attempts, self._pause = attempts, pause

    def manifest(self, stage: str) -> Manifest | None:
        """A stage's manifest; None where it was never sent."""
        path = self._stage(stage)

        def read() -> bytes | None:
            try:
                return bytes(self._fs.cat_file(path))
            except FileNotFoundError:
                return None

        found = self._tried(f"read {path}", read)
        return None if found is None else parsed(found, stage, f"{self.url}: {path}")

    def stages(self) -> list[str]:
        """Names of all stages that were sent."""
        folder = f"{self._root}/stages"

        def listed() -> list[str]:
            try:
                return [str(path) for path in self._fs.ls(folder, detail=False)]
            except FileNotFoundError:
                return []

        names = (PurePosixPath(path).name for path in self._tried(f"list {folder}", listed))
        return sorted(
            name.removesuffix(".json") for name in names if name.endswith(".json") and ".partial-" not in name
        )

    def publish(self, manifest: Manifest) -> None:
        """Write a stage's manifest: from now on readers get it."""
        path, content = self._stage(manifest.stage), manifest.text().encode()
        self._tried(f"write {path}", lambda: self._put_bytes(content, path))

    def send(self, source: Path, blob: Blob) -> bool:
        """Send a file's content unless it is there, whole; whether it was sent.

        Raises:
            ObjectsError: also where the file is not what ``blob`` says, or not any more: nothing is left of it.
        """
        path = self._blob(blob.sha256)
        if self._tried(f"look at {path}", lambda: self._size(path)) == blob.bytes:
            return False
        self._tried(f"send {source} to {path}", lambda: self._put_file(source, path, blob))
        if (size := self._tried(f"look at {path}", lambda: self._size(path))) != blob.bytes:
            self.discard(blob)
            raise ObjectsError(f"{path} has {size} bytes where {blob.bytes} of {source} were sent: push again")
        return True

    def discard(self, blob: Blob) -> None:
        """Remove a content that is not what its name says."""
        path = self._blob(blob.sha256)
        self._tried(f"remove {path}", lambda: self._fs.rm_file(path))

    def fetch(self, blob: Blob, target: Path) -> None:
        """Bring a content to ``target``, whole and checked, or not at all.

        Raises:
            ObjectsError: when it is missing or has another digest.
        """
        path = self._blob(blob.sha256)

        def get() -> None:
            with atomic_path(target) as temporary:
                try:
                    self._fs.get_file(path, str(temporary))
                except FileNotFoundError:
                    raise ObjectsError(
                        f"{self.url}: {path} is gone: push the stage again from where it was made"
                    ) from None
                if (found := file_digest(temporary)) != blob.sha256:
                    raise ObjectsError(
                        f"{self.url}: {path} has digest {found}: remove that object and push the stage again from where"
                        " it was made"
                    )

        self._tried(f"fetch {path}", get)

    def _put_file(self, source: Path, path: str, blob: Blob) -> None:
        """Send a file to ``path``, which exists only when what came there has the digest.

        Raises:
            ObjectsError: where the file has another by now.
        """
        if self._is_folder:  # fsspec copies in place: a killed copy would look like a content
            with atomic_path(Path(path)) as temporary:
                shutil.copyfile(source, temporary)
                _check(file_digest(temporary), source, blob)
        elif blob.bytes <= IN_MEMORY_BYTES:
            content = source.read_bytes()
            _check(hashlib.sha256(content).hexdigest(), source, blob)
            self._fs.pipe_file(path, content)
        else:
            self._put_large(source, path, blob)

    def _put_large(self, source: Path, path: str, blob: Blob) -> None:
        """Send a file that is read while it is sent under another name, and copy it there if it stayed what it was."""
        partial, before = f"{path}.partial-{uuid.uuid4().hex[:8]}", source.stat()
        try:
            self._fs.put_file(str(source), partial)
            _check(file_digest(source), source, blob)
            after = source.stat()
            if (before.st_mtime_ns, before.st_ctime_ns) != (after.st_mtime_ns, after.st_ctime_ns):
                raise _changed(source)  # and back, maybe while it was read
            try:
                self._fs.cp_file(partial, path)
            except NotImplementedError:  # SFTP and others can only rename, and do it at once
                self._fs.mv(partial, path)
        finally:
            with suppress(Exception):  # of each file system's own: what is left has no digest's name
                self._fs.rm_file(partial)

    def _put_bytes(self, content: bytes, path: str) -> None:
        if self._is_folder:
            with atomic_path(Path(path)) as temporary:
                temporary.write_bytes(content)
        else:
            self._fs.pipe_file(path, content)

    def _size(self, path: str) -> int | None:
        try:
            return int(self._fs.info(path)["size"])
        except FileNotFoundError:
            return None

    def _stage(self, stage: str) -> str:
        if not STAGE.fullmatch(stage):
            raise ObjectsError(f"{stage!r} is no name of a stage")
        return f"{self._root}/stages/{stage}.json"

    def _blob(self, digest: str) -> str:
        return f"{self._root}/blobs/{digest[:2]}/{digest}"

    def _tried(self, doing: str, request: Callable[[], T]) -> T:
        for attempt in range(1, self._attempts + 1):
            try:
                return request()
            except ObjectsError:
                raise
            except FINAL as error:
                raise ObjectsError(f"{self.url}: cannot {doing}: {error or type(error).__name__}") from error
            except Exception as error:  # each file system has errors of its own
                if attempt == self._attempts:
                    raise ObjectsError(
                        f"{self.url}: cannot {doing} in {attempt} attempts: {error}; once it answers, run the command"
                        " again"
                    ) from error
                self._pause(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
        raise AssertionError("attempts is at least 1")


def _check(digest: str, source: Path, blob: Blob) -> None:
    if digest != blob.sha256:
        raise _changed(source)


def _changed(source: Path) -> ObjectsError:
    return ObjectsError(f"{source} changed while it was sent: push it again when the step that writes it is done")


def _protocols(filesystem: Any) -> tuple[str, ...]:
    held = filesystem.protocol
    return (held,) if isinstance(held, str) else tuple(held)
