"""What the warehouse was last built from, written beside it, so that an export never trusts a half-built warehouse."""

import hashlib
import json
from typing import Final, TypedDict

from assets.storage import Storage, file_digest, write_json
from assets.transforms.engines import DUCKDB, Engine
from assets.transforms.variables import DbtVars

RAW_TABLES: Final = ("interactions", "items", "users")


class BuildStamp(TypedDict):
    """A complete build: the version of the raw tables and the vars."""

    data_version: str
    vars: DbtVars


class WarehouseError(RuntimeError):
    """The warehouse is not what the export needs; the message says what to materialize."""


def raw_version(storage: Storage) -> str:
    """Version of the raw tables: what ingestion recorded, or a digest of the files where it recorded nothing.

    Raises:
        FileNotFoundError: naming the raw table that is missing.
    """
    for name in RAW_TABLES:
        if not storage.raw_table(name).exists():
            raise FileNotFoundError(f"{storage.raw_table(name)} does not exist: materialize the ingestion assets first")
    record = storage.raw / "ingestion.json"
    if record.exists():
        return str(json.loads(record.read_text(encoding="utf-8"))["data_version"])
    digests = [file_digest(storage.raw_table(name)) for name in RAW_TABLES]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def read_stamp(storage: Storage, engine: Engine = DUCKDB) -> BuildStamp:
    """The stamp of the last complete build.

    Raises:
        WarehouseError: when no build completed since the last one that was begun.
    """
    path = engine.stamp_path(storage)
    if not path.exists():
        raise WarehouseError(f"{engine.place(storage)} is not completely built: materialize every dbt model first")
    stamp: BuildStamp = json.loads(path.read_text(encoding="utf-8"))
    return stamp


def begin_build(storage: Storage, whole: bool, stamp: BuildStamp, engine: Engine = DUCKDB) -> bool:
    """Remove the stamp before a build; return whether the build, once successful, may write ``stamp``.

    A build of a part of the models completes the warehouse only if the rest was built from the same input.
    """
    path = engine.stamp_path(storage)
    completes = whole or (path.exists() and read_stamp(storage, engine) == stamp)
    path.unlink(missing_ok=True)
    return completes


def end_build(storage: Storage, stamp: BuildStamp, engine: Engine = DUCKDB) -> None:
    """Write the stamp of a successful build.

    Raises:
        WarehouseError: when the raw tables changed during the build.
    """
    now = raw_version(storage)
    if now != stamp["data_version"]:
        raise WarehouseError(f"raw tables in {storage.raw} changed while dbt read them: materialize the models again")
    write_json(engine.stamp_path(storage), stamp)
