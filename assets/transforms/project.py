"""The dbt project on disk: where it is, its environment, and its manifest, parsed only when the project changed.

Parsing takes 4 s and ``dagster dev`` would repeat it in every worker, racing; so the manifest is kept beside the
digest of the files it was parsed from, made by one process at a time and put in place by a rename.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

from assets.config import PROJECT_ROOT
from assets.storage import Storage, locked, write_text

PROJECT_DIR: Final = PROJECT_ROOT / "transforms"
DBT: Final = Path(sys.executable).with_name("dbt")
"""dbt of this environment, whether or not the environment is activated."""

QUIET: Final = {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "DO_NOT_TRACK": "1", "DBT_USE_COLORS": "false"}


class DbtParseError(RuntimeError):
    """The dbt project cannot be parsed; the message holds what dbt said."""


def dbt_environment(storage: Storage) -> dict[str, str]:
    """Variables that point the dbt project at one dataset's raw tables and warehouse."""
    return {
        **QUIET,
        "THAW_RAW_DIR": str(storage.raw.resolve()),
        "THAW_WAREHOUSE": str(storage.warehouse.resolve()),
        "THAW_SPARK": str(storage.spark.resolve()),
    }


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables within the block: a child process started in it inherits them, nothing else changes."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def prepare_manifest(project_dir: Path = PROJECT_DIR, force: bool = False) -> Path:
    """Path of an up-to-date ``target/manifest.json``, parsing the project first if its files changed.

    Args:
        project_dir: of the dbt project.
        force: parse even if nothing changed.

    Raises:
        DbtParseError: with dbt's output, when the project does not parse; an older manifest is left as it was.
    """
    target = project_dir / "target"
    manifest, stamp = target / "manifest.json", target / "manifest.sha256"
    digest = project_digest(project_dir)
    if force:
        stamp.unlink(missing_ok=True)
    if _is_current(manifest, stamp, digest):
        return manifest
    target.mkdir(parents=True, exist_ok=True)
    with locked(target / "manifest.lock"):
        if not _is_current(manifest, stamp, digest):
            stamp.unlink(missing_ok=True)
            _parse(project_dir, manifest)
            write_text(stamp, digest)
    return manifest


def project_digest(project_dir: Path) -> str:
    """SHA-256 over the names and contents of the project's ``.sql`` and ``.yml`` files and dbt's version."""
    digest = hashlib.sha256(version("dbt-core").encode())
    ignored = {project_dir / "target", project_dir / "logs"}
    files = (path for pattern in ("*.sql", "*.yml") for path in project_dir.rglob(pattern))
    for path in sorted(path for path in files if not ignored & set(path.parents)):
        content = path.read_bytes()
        digest.update(f"\n{path.relative_to(project_dir)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _is_current(manifest: Path, stamp: Path, digest: str) -> bool:
    return manifest.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == digest


def _parse(project_dir: Path, manifest: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="parse-", dir=manifest.parent) as folder:
        command = [str(DBT), "parse", "--project-dir", str(project_dir), "--profiles-dir", str(project_dir)]
        result = subprocess.run(
            command,
            env={**os.environ, **QUIET, "DBT_TARGET_PATH": folder, "DBT_LOG_PATH": folder},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise DbtParseError(f"dbt cannot parse {project_dir}:\n{result.stdout}{result.stderr}")
        (Path(folder) / "manifest.json").replace(manifest)
