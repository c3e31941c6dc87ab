"""Ranks and metrics on disk; every file carries what it was made from, so that results of different data never mix."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from assets.storage import Storage, write_parquet

METADATA_KEY = b"thaw"
DIGEST = re.compile("[0-9a-f]{64}")


class StaleResultsError(ValueError):
    """Results on disk do not belong together; the message names the model and what to materialize."""


@dataclass(frozen=True)
class Basis:
    """What one model's ranks rest on. Ranks of another basis are not comparable.

    Attributes:
        seeds: of the checkpoints; one for a counting model.
        checkpoints: digest of each seed's manifest.
        tables: version of the exported tables.
        protocols: ``user_history/item_embeddings`` of each, the headline first.
        max_cases: of more test cases, so many were drawn.
        fallback: what ranked for users without history, with its smoothing, as JSON.
    """

    seeds: tuple[int, ...]
    checkpoints: tuple[str, ...]
    tables: str
    protocols: tuple[str, ...]
    max_cases: int
    fallback: str


@dataclass(frozen=True)
class RanksInfo:
    """A ranks file's own account.

    Attributes:
        model: registered name.
        basis: what the ranks rest on.
        cases: ranked, per seed and protocol.
        repeats_dropped: test engagements that are no cases.
        off_catalog: cases whose item joined the catalog after their refresh.
        cases_in_all: cases that the ranked ones were drawn from.
    """

    model: str
    basis: Basis
    cases: int
    repeats_dropped: int
    off_catalog: int
    cases_in_all: int

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "RanksInfo":
        """The account that was written.

        Raises:
            StaleResultsError: when it lacks something: an earlier version of this code wrote it.
        """
        try:
            # JSON has lists where the basis has tuples.
            basis: dict[str, Any] = {
                name: tuple(held) if isinstance(held, list) else held for name, held in values["basis"].items()
            }
            return cls(**{**values, "basis": Basis(**basis)})
        except (KeyError, TypeError) as error:
            model = values.get("model", "a model")
            again = f"materialize evaluation/{model}_ranks again"
            raise StaleResultsError(f"the ranks of {model} were written by another version: {again}") from error


def leaderboard_path(storage: Storage) -> Path:
    """The leaderboard as markdown."""
    return storage.evaluation / "leaderboard.md"


def leaderboard_text_path(storage: Storage) -> Path:
    """The leaderboard as it is printed."""
    return storage.evaluation / "leaderboard.txt"


def decay_path(storage: Storage) -> Path:
    """The decay figure."""
    return storage.evaluation / "decay.png"


def relative_decay_path(storage: Storage) -> Path:
    """The figure of windows over the first."""
    return storage.evaluation / "decay_relative.png"


def decay_table_path(storage: Storage) -> Path:
    """Each model's windows over its first, per slice, tidy."""
    return storage.evaluation / "decay.parquet"


def decay_text_path(storage: Storage) -> Path:
    """The decay tables as markdown."""
    return storage.evaluation / "decay.md"


def comparisons_path(storage: Storage) -> Path:
    """Paired differences between models, tidy."""
    return storage.evaluation / "comparisons.parquet"


def comparisons_text_path(storage: Storage) -> Path:
    """Paired differences between models as markdown."""
    return storage.evaluation / "comparisons.md"


def seed_means_path(storage: Storage) -> Path:
    """The tidy metrics averaged over seeds."""
    return storage.evaluation / "seed_means.parquet"


def ranks_path(storage: Storage, model: str) -> Path:
    return storage.evaluation / "ranks" / f"{model}.parquet"


def write_ranks(storage: Storage, ranks: pd.DataFrame, info: RanksInfo) -> Path:
    """Write one model's ranks atomically."""
    return write_with_account(ranks_path(storage, info.model), ranks, asdict(info))


def read_info(storage: Storage, model: str) -> RanksInfo:
    """What a model's ranks were made from, without reading them.

    Raises:
        FileNotFoundError: naming the asset to materialize.
        StaleResultsError: when the file says nothing about its making.
    """
    again = f"materialize evaluation/{model}_ranks"
    return RanksInfo.from_json(read_account(ranks_path(storage, model), again))


def read_ranks(storage: Storage, model: str, basis: Basis) -> pd.DataFrame:
    """One model's ranks, every seed's, after making sure that they rest on ``basis``.

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
    """Write the tidy metrics, a row set per seed, atomically, with the accounts of the ranks behind them."""
    return write_results(storage.metrics, metrics, infos)


def read_metrics(storage: Storage, infos: Sequence[RanksInfo]) -> pd.DataFrame:
    """The tidy metrics, a row set per seed; see :func:`read_results` for what is raised."""
    return read_results(storage.metrics, infos, "metrics")


def write_seed_means(storage: Storage, means: pd.DataFrame, infos: Sequence[RanksInfo]) -> Path:
    """Write the metrics over seeds atomically, with the accounts of the ranks behind them."""
    return write_results(seed_means_path(storage), means, infos)


def read_seed_means(storage: Storage, infos: Sequence[RanksInfo]) -> pd.DataFrame:
    """The metrics over seeds; see :func:`read_results` for what is raised."""
    return read_results(seed_means_path(storage), infos, "metrics")


def write_results(path: Path, table: pd.DataFrame, infos: Sequence[RanksInfo]) -> Path:
    """Write a table atomically that was computed from the ranks of ``infos``."""
    return write_with_account(path, table, {info.model: asdict(info) for info in infos})


def read_results(path: Path, infos: Sequence[RanksInfo], asset: str) -> pd.DataFrame:
    """A table's rows of the models of ``infos``, after making sure that it was computed from exactly their ranks.

    Args:
        asset: evaluation asset that writes the table.

    Raises:
        FileNotFoundError: when there is none.
        StaleResultsError: naming a model whose ranks the table does not have.
    """
    again = f"materialize evaluation/{asset}"
    held = read_account(path, again)
    for info in infos:
        if info.model not in held or held[info.model] != json.loads(json.dumps(asdict(info))):
            raise StaleResultsError(f"{path} was not computed from the current ranks of {info.model}: {again} again")
    table = pq.read_table(path, partitioning=None).to_pandas()
    return table[table["model"].isin([info.model for info in infos])]


def write_with_account(path: Path, frame: pd.DataFrame, metadata: dict[str, Any]) -> Path:
    """Write a frame atomically as Parquet that carries ``metadata``, JSON values, as its account of its making."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    extended = {**(table.schema.metadata or {}), METADATA_KEY: json.dumps(metadata, sort_keys=True).encode()}
    return write_parquet(path, table.replace_schema_metadata(extended))


def read_account(path: Path, again: str) -> dict[str, Any]:
    """What :func:`write_with_account` was told, without reading the rows.

    Args:
        again: what to do where it is missing, e.g. ``materialize evaluation/metrics``.

    Raises:
        FileNotFoundError: when the file does not exist.
        StaleResultsError: when it has no account.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: {again} first")
    metadata = pq.read_schema(path).metadata or {}
    if METADATA_KEY not in metadata:
        raise StaleResultsError(f"{path} does not say what it was made from: {again} again")
    values: dict[str, Any] = json.loads(metadata[METADATA_KEY])
    return values


def _short(value: object) -> object:
    """Digests are told apart by their beginning."""
    if isinstance(value, tuple):
        return ", ".join(str(_short(each)) for each in value)
    return value[:12] if isinstance(value, str) and DIGEST.fullmatch(value) else value
