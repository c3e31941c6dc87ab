"""Ranks and metrics on disk; every file carries what it was made from, so that results of different data never mix."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from assets.storage import Storage, write_parquet

METADATA_KEY = b"thaw"


class StaleResultsError(ValueError):
    """Results on disk do not belong together; the message names the model and what to materialize."""


@dataclass(frozen=True)
class Basis:
    """What one model's ranks rest on. Ranks of another basis are not comparable.

    Attributes:
        seed: of the checkpoint.
        checkpoint: digest of the checkpoint's manifest.
        tables: version of the exported tables.
        protocols: ``user_history/item_embeddings`` of each, the headline first.
    """

    seed: int
    checkpoint: str
    tables: str
    protocols: tuple[str, ...]


@dataclass(frozen=True)
class RanksInfo:
    """A ranks file's own account.

    Attributes:
        model: registered name.
        basis: what the ranks rest on.
        cases: ranked, per protocol.
        repeats_dropped: test engagements that are no cases.
        off_catalog: cases whose item joined the catalog after their refresh.
    """

    model: str
    basis: Basis
    cases: int
    repeats_dropped: int
    off_catalog: int

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "RanksInfo":
        basis = {**values["basis"], "protocols": tuple(values["basis"]["protocols"])}
        return cls(**{**values, "basis": Basis(**basis)})


def leaderboard_path(storage: Storage) -> Path:
    """The leaderboard as markdown."""
    return storage.evaluation / "leaderboard.md"


def leaderboard_text_path(storage: Storage) -> Path:
    """The leaderboard as it is printed."""
    return storage.evaluation / "leaderboard.txt"


def decay_path(storage: Storage) -> Path:
    """The decay figure."""
    return storage.evaluation / "decay.png"


def ranks_path(storage: Storage, model: str) -> Path:
    return storage.evaluation / "ranks" / f"{model}.parquet"


def write_ranks(storage: Storage, ranks: pd.DataFrame, info: RanksInfo) -> Path:
    """Write one model's ranks atomically."""
    return _write(ranks_path(storage, info.model), ranks, asdict(info))


def read_info(storage: Storage, model: str) -> RanksInfo:
    """What a model's ranks were made from, without reading them.

    Raises:
        FileNotFoundError: naming the asset to materialize.
        StaleResultsError: when the file says nothing about its making.
    """
    again = f"materialize evaluation/{model}_ranks"
    return RanksInfo.from_json(_read_metadata(ranks_path(storage, model), again))


def read_ranks(storage: Storage, model: str, basis: Basis) -> pd.DataFrame:
    """One model's ranks, after making sure that they rest on ``basis``.

    Raises:
        FileNotFoundError: when there are none.
        StaleResultsError: naming the model and the first difference.
    """
    held = asdict(read_info(storage, model).basis)
    for name, wanted in asdict(basis).items():
        if held[name] != wanted:
            raise StaleResultsError(
                f"the ranks of {model} were made with {name} {_short(held[name])}, now it is {_short(wanted)}: "
                f"materialize evaluation/{model}_ranks again"
            )
    return pq.read_table(ranks_path(storage, model), partitioning=None).to_pandas()


def write_metrics(storage: Storage, metrics: pd.DataFrame, infos: Sequence[RanksInfo]) -> Path:
    """Write the tidy metrics atomically, with the accounts of the ranks they were computed from."""
    return _write(storage.metrics, metrics, {info.model: asdict(info) for info in infos})


def read_metrics(storage: Storage, infos: Sequence[RanksInfo]) -> pd.DataFrame:
    """The tidy metrics, after making sure that they were computed from exactly the ranks of ``infos``.

    Raises:
        FileNotFoundError: when there are none.
        StaleResultsError: naming a model whose ranks the metrics do not have.
    """
    held = _read_metadata(storage.metrics, "materialize evaluation/metrics")
    for info in infos:
        if info.model not in held or RanksInfo.from_json(held[info.model]) != info:
            raise StaleResultsError(
                f"{storage.metrics} was not computed from the current ranks of {info.model}: "
                "materialize evaluation/metrics again"
            )
    metrics = pq.read_table(storage.metrics, partitioning=None).to_pandas()
    return metrics[metrics["model"].isin([info.model for info in infos])]


def _write(path: Path, frame: pd.DataFrame, metadata: dict[str, Any]) -> Path:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    extended = {**(table.schema.metadata or {}), METADATA_KEY: json.dumps(metadata, sort_keys=True).encode()}
    return write_parquet(path, table.replace_schema_metadata(extended))


def _read_metadata(path: Path, again: str) -> dict[str, Any]:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: {again} first")
    metadata = pq.read_schema(path).metadata or {}
    if METADATA_KEY not in metadata:
        raise StaleResultsError(f"{path} does not say what it was made from: {again} again")
    values: dict[str, Any] = json.loads(metadata[METADATA_KEY])
    return values


def _short(value: object) -> object:
    return value[:12] if isinstance(value, str) else value
