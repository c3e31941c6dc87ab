"""Where everything of a dataset lies on disk, and atomic writes.

Every write goes to a temporary sibling first and is renamed into place, so a reader sees the old file or the new one
and a killed run leaves at most a ``*.partial-*`` file, which the next writer of the same path removes. Whether a writer
on another machine or in another container was killed cannot be asked: its file is removed when a day has passed.
"""

import fcntl
import hashlib
import json
import os
import re
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

DATASET_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""A name is a folder's, and must not lead out of the one it is put into."""

FOREIGN_SECONDS: Final = 24 * 3600.0
"""Since its last byte, until the temporary file of a writer whose process cannot be asked is taken for a dead one's."""

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_PROCESSES: Final = Path("/proc/self/ns/pid")
_SURROGATES: Final = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class Storage:
    """Paths of one dataset under ``root`` (the data folder).

    Args:
        root: folder that holds one folder per dataset.
        dataset: registered dataset name, e.g. ``ml-100k``.

    Raises:
        ValueError: for a name that could be a path.
    """

    root: Path
    dataset: str

    def __post_init__(self) -> None:
        if not DATASET_NAME.fullmatch(self.dataset):
            raise ValueError(
                f"{self.dataset!r} is no name of a dataset: letters, digits, dots, dashes and underlines, 100 at most,"
                " a letter or digit first"
            )

    @property
    def base(self) -> Path:
        return self.root / self.dataset

    @property
    def raw(self) -> Path:
        """Canonical tables: ``interactions``, ``items``, ``users``, ``quarantine`` (Parquet), ``ingestion.json``."""
        return self.base / "raw"

    @property
    def warehouse(self) -> Path:
        """DuckDB file of the dbt project; only ops in the ``warehouse`` pool open it, under :attr:`warehouse_lock`."""
        return self.base / "warehouse.duckdb"

    @property
    def spark(self) -> Path:
        """Tables and metastore of the dbt project on Spark; used as :attr:`warehouse` is, under the same lock."""
        return self.base / "spark"

    @property
    def warehouse_lock(self) -> Path:
        """File whose lock is held while :attr:`warehouse` or :attr:`spark` is in use."""
        return self.base / "warehouse.lock"

    @property
    def tables(self) -> Path:
        """Parquet handed from the warehouse to quality, training, evaluation and serving."""
        return self.base / "tables"

    @property
    def quality(self) -> Path:
        return self.base / "quality"

    @property
    def evaluation(self) -> Path:
        return self.base / "evaluation"

    @property
    def metrics(self) -> Path:
        return self.evaluation / "metrics.parquet"

    @property
    def sweeps(self) -> Path:
        """What hyper-parameter sweeps measured on the validation tail, a file per model."""
        return self.base / "sweeps"

    @property
    def studies(self) -> Path:
        """Tables and figures of studies on test windows, by the study's name."""
        return self.base / "studies"

    @property
    def gates(self) -> Path:
        """Mean gate values of trained item towers."""
        return self.base / "gates"

    @property
    def landing(self) -> Path:
        """Drop zone: ``engagements/`` and ``items/``; behind it ``done/`` and ``quarantine/``."""
        return self.base / "landing"

    @property
    def live(self) -> Path:
        """The freshness path's state: landed batches, generations, what was removed."""
        return self.base / "live"

    @property
    def champion(self) -> Path:
        """What is known of the model that serves: its quality, its challengers, the record of promotions."""
        return self.base / "champion"

    @property
    def monitoring(self) -> Path:
        """Tables behind the dashboards: drift scores per window and landed partition."""
        return self.base / "monitoring"

    @property
    def dashboards(self) -> Path:
        return self.base / "dashboards"

    def checkpoint(self, model: str, seed: int) -> Path:
        """Folder of one model's checkpoint for one seed."""
        return self.base / "checkpoints" / model / f"seed-{seed}"

    def raw_table(self, name: str) -> Path:
        return self.raw / f"{name}.parquet"

    def table(self, name: str) -> Path:
        return self.tables / f"{name}.parquet"

    def read_raw(self, name: str, columns: list[str] | None = None) -> pd.DataFrame:
        return read_parquet(self.raw_table(name), columns)

    def read_table(self, name: str, columns: list[str] | None = None) -> pd.DataFrame:
        return read_parquet(self.table(name), columns)


def read_parquet(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read one Parquet file.

    Raises:
        FileNotFoundError: with the asset to materialize first, when the file is missing.
    """
    return read_arrow(path, columns).to_pandas()


def read_arrow(path: Path, columns: list[str] | None = None, coded: Sequence[str] = ()) -> pa.Table:
    """Read one Parquet file as it is: a text takes 16 bytes here and 70 as an object of a frame.

    Args:
        path: of the file.
        columns: to read; all by default.
        coded: columns of texts, where there are such, to read as dictionaries: the file holds them so.

    Raises:
        FileNotFoundError: with the asset to materialize first, when the file is missing.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: materialize the asset that writes it first (`thaw run`)")
    return pq.read_table(path, columns=columns, partitioning=None, read_dictionary=list(coded))


def read_compact(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read one Parquet file, texts and lists as Arrow's.

    Ten million engagements take a fifth of the memory that objects would, and none of the seconds to make those.

    Raises:
        FileNotFoundError: with the asset to materialize first, when the file is missing.
    """
    return compact(read_arrow(path, columns))


def compact(table: pa.Table) -> pd.DataFrame:
    """A frame whose texts and lists are Arrow's."""
    return table.to_pandas(types_mapper=_as_it_is)


def plain_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with texts as objects, as :func:`read_parquet` would give them."""
    texts = [column for column in frame if frame[column].dtype == pd.ArrowDtype(pa.string())]
    return frame.astype(dict.fromkeys(texts, object)) if texts else frame


def _as_it_is(kind: pa.DataType) -> pd.ArrowDtype | None:
    return pd.ArrowDtype(kind) if pa.types.is_string(kind) or pa.types.is_list(kind) else None


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of ``path``; rename it to ``path`` if the block ends without an error.

    The temporary name keeps the suffix, because several writers choose the format by it. Leftovers of killed
    writers are removed on entry.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in leftovers(path):
        leftover.unlink(missing_ok=True)
    temporary = partial_of(path)
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def partial_of(path: Path) -> Path:
    """A temporary sibling of ``path``, of this process: ``<stem>.partial-<pid>-<where>-<random><suffix>``."""
    return path.with_name(f"{path.stem}.partial-{os.getpid()}-{_here()}-{uuid.uuid4().hex[:8]}{path.suffix}")


def leftovers(path: Path) -> list[Path]:
    """Temporary siblings of ``path`` that nobody writes any more, as far as can be told from here."""
    start, end = f"{path.stem}.partial-", path.suffix
    with os.scandir(path.parent) as siblings:  # not by a pattern: a name may hold what means something in one
        names = [each.name for each in siblings if each.name.startswith(start) and each.name.endswith(end)]
    writers = {path.with_name(name): name[len(start) : len(name) - len(end)] for name in names}
    return [sibling for sibling, writer in writers.items() if not _is_written(sibling, writer)]


def _is_written(partial: Path, writer: str) -> bool:
    pid, *rest = writer.split("-")
    if len(rest) > 1 and rest[0] != _here():  # older versions left <pid>-<random>
        return _is_young(partial)
    return pid.isascii() and pid.isdigit() and is_running(int(pid))


def _is_young(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime < FOREIGN_SECONDS
    except FileNotFoundError:  # renamed or removed meanwhile: nobody's to remove
        return True


def _here() -> str:
    """What tells apart where process ids mean the same: machine, its boot, and the namespace (a container has one).

    Where there is no ``/proc``, that is the host's name alone.
    """
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(_BOOT.read_text(encoding="ascii"))
    with suppress(OSError):
        parts.append(str(_PROCESSES.stat().st_ino))
    return hashlib.sha256(encodable("|".join(parts)).encode()).hexdigest()[:8]


def encodable(text: str) -> str:
    """The text with U+FFFD for bytes of a file's name that are no UTF-8: Python keeps them as lone surrogates.

    Messages name files, and neither a file nor a table takes such a text as it is.
    """
    return _SURROGATES.sub("\ufffd", text)


def is_running(pid: int) -> bool:
    """Whether there is a process of that number here, whoever's it is."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # a number that no process can have
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file ``path``; the system frees it when the process ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def write_parquet(path: Path, table: pd.DataFrame | pa.Table) -> Path:
    """Write a frame (without its index) or an Arrow table atomically as Parquet (zstd)."""
    arrow = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)
    with atomic_path(path) as temporary:
        pq.write_table(arrow, temporary, compression="zstd")
    return path


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write_bytes(path: Path, content: bytes) -> Path:
    """Write bytes atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return path


def write_json(path: Path, value: Any) -> Path:
    """Write JSON atomically, keys sorted so that equal content gives equal bytes."""
    return write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
