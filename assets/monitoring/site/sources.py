"""Reading what the site shows. Anything may be missing: a fresh home has next to nothing."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from assets.champion.files import read_contests
from assets.champion.record import read_record
from assets.config import Protocol
from assets.evaluation.files import ranks_path, read_info, seed_means_path
from assets.evaluation.protocol import LISTED, of_protocol
from assets.monitoring.places import summary_path
from assets.monitoring.site.cold import Ranked
from assets.monitoring.tables import drift_path, read_verdicts, verdicts_path
from assets.schema import Columns, Split
from assets.serving.live.generation import current
from assets.serving.store.meta import SNAPSHOT, get_meta
from assets.storage import Storage, read_parquet

T = TypeVar("T")

MOST_CASES: Final = 500_000
"""Ranked cases per model that the cold-start page is computed from; of more, so many evenly spread over time."""

MEASURES: Final = ("recall", "queries", "p50_ms", "p99_ms", "items", "dimension", "nlist", "nprobe")


UNREADABLE: Final = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, pa.ArrowException)
"""What a file raises that another version wrote, or that lacks a column or a key."""


@dataclass
class Reader:
    """Reads what there is; notes what there is and cannot be read, instead of giving up on the whole site."""

    problems: list[str] = field(default_factory=list)

    def attempt(self, what: str, read: Callable[[], T | None]) -> T | None:
        """What ``read`` returns; None where a file is missing, and with a note where it is not as it should be."""
        try:
            return read()
        except FileNotFoundError:
            return None
        except UNREADABLE as error:
            self.problems.append(f"{what}: {type(error).__name__}: {error}")
            return None


@dataclass(frozen=True)
class Serving:
    """What serves: the generation's account and its snapshot's self-check."""

    account: dict[str, Any]
    snapshot: dict[str, float]


def read_serving(storage: Storage) -> Serving | None:
    """What the current generation says of itself; None where nothing serves."""
    generation = current(storage)
    if generation is None:
        return None
    record = generation.record().model_dump(mode="json")
    with generation.open_store() as store, store.read() as reader:
        snapshot = get_meta(reader, SNAPSHOT) or {}
    measured = {name: snapshot[name] for name in MEASURES if name in snapshot}
    return Serving({"generation": generation.name, **record}, measured)


def read_metrics(storage: Storage, headline: Protocol) -> pd.DataFrame:
    """Metrics of the headline protocol, or of all where it was not evaluated, over seeds where there are several."""
    path = seed_means_path(storage)
    metrics = read_parquet(path if path.exists() else storage.metrics)
    chosen = of_protocol(metrics, headline)
    return metrics if chosen.empty else chosen


def read_window_starts(storage: Storage) -> dict[str, Any]:
    """Instant of the beginning of every test window, by its name in the metrics."""
    bounds = storage.read_table("split_bounds")
    tested = bounds[bounds[Columns.SPLIT] == Split.TEST]
    return {str(int(row[Columns.WINDOW])): row[Columns.STARTS_AT] for row in tested.to_dict("records")}


def read_json(path: Path) -> dict[str, Any]:
    """One JSON object."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def read_record_events(storage: Storage) -> list[dict[str, Any]]:
    """Events of the champion's record, the oldest first."""
    return [entry.model_dump(mode="json") for entry in read_record(storage)]


def read_latest_contest(storage: Storage) -> dict[str, Any] | None:
    """The account of the contest that was held last; None where none was."""
    held = read_contests(storage)
    return held[-1] if held else None


def read_drift(storage: Storage) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """Scores and verdicts of partitions and windows; without them those of the windows' summary."""
    if verdicts_path(storage).exists():
        return (read_parquet(drift_path(storage)) if drift_path(storage).exists() else None), read_verdicts(storage)
    return _of_summary(read_parquet(summary_path(storage)))


def _of_summary(summary: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The windows' summary in the form of scores and verdicts; more than half of the columns are an alarm."""
    scores = summary.assign(
        kind="window",
        name=summary[Columns.WINDOW].astype(str),
        rows=summary["current_rows"],
    )
    first = scores.drop_duplicates("name")
    drifted = {
        str(name): list(group.loc[group["drifted"].astype(bool), "column"]) for name, group in scores.groupby("name")
    }
    alarm = (first["drifted_share"] > 0.5).to_numpy()
    verdicts = first[["kind", "name", "starts_at", "ends_at", "rows"]].assign(
        alarm=alarm,
        judged=True,
        reason=np.where(alarm, "more than half of the columns drifted", ""),
        drifted=first["name"].map(drifted),
    )
    return scores, verdicts


def read_ranked(storage: Storage, model: str) -> Ranked | None:
    """One model's cases of the headline protocol and its first seed; None without lists."""
    basis = read_info(storage, model).basis
    history, embeddings = basis.protocols[0].split("/")[-2:]
    filters = [("seed", "==", basis.seeds[0]), ("user_history", "==", history), ("item_embeddings", "==", embeddings)]
    path = ranks_path(storage, model)
    listed = [name for name in pq.read_schema(path).names if name.startswith(LISTED)]
    if not listed:
        return None
    columns = [Columns.USER, Columns.ITEM, Columns.SOURCE_ROW, "above", "tied", *listed]
    ranks = pq.read_table(path, columns=columns, filters=filters, partitioning=None).to_pandas()
    cases = storage.read_table("test_cases", [Columns.SOURCE_ROW, Columns.TIMESTAMP]).set_index(Columns.SOURCE_ROW)
    ranks["at"] = cases[Columns.TIMESTAMP].reindex(ranks[Columns.SOURCE_ROW]).to_numpy()
    if ranks["at"].isna().any():
        raise ValueError(f"{path} has cases that test_cases does not: materialize evaluation/{model}_ranks again")
    ranks = ranks.sort_values("at", kind="stable").iloc[:: max(1, -(-len(ranks) // MOST_CASES))]
    universe = pd.Index(storage.read_table("items", [Columns.ITEM])[Columns.ITEM])
    return Ranked(
        model=model,
        users=pd.factorize(ranks[Columns.USER])[0].astype(np.int64),
        items=universe.get_indexer(pd.Index(ranks[Columns.ITEM])).astype(np.int64),
        instants=ranks["at"].to_numpy("datetime64[us]"),
        above=ranks["above"].to_numpy(np.int64),
        tied=ranks["tied"].to_numpy(np.int64),
        listed=ranks[listed].to_numpy(np.int64),
    )
