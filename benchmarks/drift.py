"""Time and memory of one large landed partition's drift: ``python -m benchmarks.drift [--rows 10_000_000]``.

A child process judges a partition of ``--rows`` engagements against a base of ``--base`` and writes the full report;
its peak memory and seconds are held to 4 GiB and 60 s. The files are made up with the shape of a real log: heavy-tailed
users and items, a session's rows together.
"""

import argparse
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from assets.config import EngagementRule, Settings
from assets.ingestion.landing.batches import Arrival, Landed, write_batch
from assets.ingestion.landing.places import Kind
from assets.ingestion.tables import INTERACTIONS_SCHEMA, QUARANTINE_SCHEMA
from assets.serving.live.generation import Generation, GenerationRecord, new_generation, switch_to
from assets.serving.live.ledger import LedgerEntry, put_entries
from assets.storage import Storage, write_json, write_parquet
from benchmarks.measuring import in_child, machine, peak_mib, verdict

MOST_SECONDS, MOST_MIB = 60.0, 4096.0
DAY_US = 86_400_000_000
CUTOFF = np.datetime64("2024-03-01", "us")
PARTITION = "2024-03-02"


@dataclass(frozen=True)
class Result:
    """Of one judgement: seconds in all, the process's peak memory (MiB), engagements, and the verdict."""

    seconds: float
    peak: float
    engagements: float
    reason: str


def engagements(rows: int, start: np.datetime64, days: float, seed: int, users: int, items: int) -> pa.Table:
    """Made-up canonical rows, in order of time."""
    rng = np.random.default_rng(seed)
    at = np.sort(rng.integers(0, int(days * DAY_US), rows))
    who = (users * rng.random(rows) ** 2).astype(np.int64)
    what = (items * rng.random(rows) ** 3).astype(np.int64)
    names = [pa.array(np.char.add(kind, np.arange(n).astype(str))) for kind, n in (("user-", users), ("item-", items))]
    columns = {
        "user_id": names[0].take(pa.array(who)),
        "item_id": names[1].take(pa.array(what)),
        "timestamp": pa.array(start + at.astype("timedelta64[us]")),
        "event_type": pa.array(["engagement"]).take(pa.array(np.zeros(rows, np.int64))),
        "value": pa.array(rng.integers(1, 6, rows).astype(np.float64)),
        "source_row": pa.array(np.arange(rows)),
    }
    return pa.table([columns[name] for name in INTERACTIONS_SCHEMA.names], names=INTERACTIONS_SCHEMA.names).cast(
        INTERACTIONS_SCHEMA
    )


def make_world(storage: Storage, rows: int, base: int, users: int, items: int) -> None:
    """A generation with a base of 56 days, and one landed partition that its ledger calls applied."""
    generation = new_generation(storage, 1_700_000_000_000_000, "0" * 64)
    first = CUTOFF - np.timedelta64(56, "D")
    write_parquet(generation.base("interactions"), engagements(base, first, 57, 0, users, items))
    names = pa.array(np.char.add("item-", np.arange(items).astype(str)))
    genres = pa.array([[f"genre-{at % 20}"] for at in range(items)])
    created = pa.nulls(items, pa.timestamp("us"))
    write_parquet(generation.base("items"), pa.table({"item_id": names, "created_at": created, "genre": genres}))
    write_json(generation.checkpoint / "manifest.json", {"bounds": {"cutoff": str(CUTOFF)}})
    _land(storage, generation, engagements(rows, np.datetime64(PARTITION, "us"), 1, 1, users, items))
    record = GenerationRecord(
        model="made_up",
        seed=0,
        checkpoint="0" * 64,
        tables="0",
        until=None,
        engagement=EngagementRule(),
        created_at=1_700_000_000_000_000,
    )
    generation.write_record(record)
    switch_to(storage, generation)


def _land(storage: Storage, generation: Generation, table: pa.Table) -> None:
    landed = Landed(Kind.ENGAGEMENTS, table, QUARANTINE_SCHEMA.empty_table(), "1" * 64)
    batch = write_batch(storage, PARTITION, landed, Arrival("made-up.parquet", 1, 1, "made-up"))
    entry = LedgerEntry(
        digest=batch.digest,
        kind="engagements",
        partition=PARTITION,
        source=batch.source,
        rows=batch.rows,
        applied=batch.rows,
        landed_at=1,
        seen_at=1,
        oldest_accepted=0,
        features_at=1,
    )
    generation.store.mkdir(parents=True, exist_ok=True)
    with generation.open_store() as store, store.write() as writer:
        put_entries(writer, [entry])


def judge_one(home: Path) -> Result:
    """Judge the partition and write its report, in this process."""
    from assets.monitoring.partitions.measure import measure_partitions  # noqa: PLC0415 - imports are part of the time
    from assets.monitoring.partitions.reports import write_report  # noqa: PLC0415

    settings, started = Settings(dataset="made-up", home=home), time.perf_counter()
    (measured,) = measure_partitions(settings.storage, settings, [PARTITION])
    write_report(settings.storage, settings, measured)
    volumes = measured.verdict.volumes
    return Result(time.perf_counter() - started, peak_mib(), volumes["engagements"], measured.verdict.reason)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--base", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=500_000)
    parser.add_argument("--items", type=int, default=100_000)
    asked = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        storage = Settings(dataset="made-up", home=home).storage
        in_child(make_world, storage, asked.rows, asked.base, asked.users, asked.items)
        for name in ("first partition of a champion", "next one"):
            result = in_child(judge_one, home)
            print(name, json.dumps(asdict(result)))
            print(verdict(result.seconds <= MOST_SECONDS and result.peak <= MOST_MIB))


if __name__ == "__main__":
    main()
