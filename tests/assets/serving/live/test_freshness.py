"""What the freshness report reads and keeps: events of landed files, lines of services, times over model switches."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from assets.schema import Columns
from assets.serving.live import ats, freshness
from assets.serving.live.ledger import LedgerEntry
from assets.storage import Storage, write_json, write_parquet

SECOND = 1_000_000
T = 1_577_836_800 * SECOND
DIGEST = "a" * 64


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path, "toy")


def entry(**values: Any) -> LedgerEntry:
    described = {
        "digest": DIGEST,
        "kind": "engagements",
        "partition": "2020-01-01",
        "source": "a.csv",
        "rows": 4,
        "applied": 4,
        "oldest_accepted": 0,
        "landed_at": T + 10 * SECOND,
        "seen_at": T + 11 * SECOND,
        "features_at": T + 12 * SECOND,
        "embedded_at": T + 14 * SECOND,
        "indexed_at": T + 15 * SECOND,
        "seq": 3,
    }
    return LedgerEntry(**(described | values))


def land(storage: Storage, instants: list[int]) -> None:
    table = pa.table({Columns.TIMESTAMP: pa.array(instants, pa.timestamp("us"))})
    write_parquet(storage.live / "landed" / "engagements" / "2020-01-01" / f"{DIGEST[:16]}.parquet", table)


def serve(storage: Storage, name: str, *lines: dict[str, Any], rest: str = "") -> None:
    path = storage.live / "served" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + rest)


def test_the_report_measures_from_the_events_of_the_landed_file(storage: Storage) -> None:
    land(storage, [T, T + SECOND, T + 2 * SECOND, T + 3 * SECOND])
    table = freshness.make_report(storage, [entry()])
    assert ats.value(table, "2020-01-01", "searchable", "p50") == 13
    assert ats.value(table, "2020-01-01", "searchable", "p99") == 15
    assert ats.value(table, "2020-01-01", "searchable", "engagements") == 4
    pd.testing.assert_frame_equal(freshness.read_report(storage), table)


def test_in_a_replay_it_measures_from_the_landing(storage: Storage) -> None:
    land(storage, [T])
    write_json(storage.live / "replay.json", {})
    assert ats.value(freshness.make_report(storage, [entry()]), "all", "searchable", "p99") == 5


def test_without_the_landed_file_it_measures_from_the_landing(storage: Storage) -> None:
    assert ats.value(freshness.make_report(storage, [entry()]), "all", "searchable", "p99") == 5


def test_the_base_is_no_batch(storage: Storage) -> None:
    assert freshness.make_report(storage, [entry(kind="base")]).empty
    assert freshness.make_report(storage, []).empty


def test_a_model_switch_changes_no_time_that_was_measured(storage: Storage) -> None:
    land(storage, [T])
    before = freshness.make_report(storage, [entry()])
    rebuilt = entry(features_at=T + 9000 * SECOND, embedded_at=T + 9001 * SECOND, indexed_at=T + 9002 * SECOND, seq=1)
    pd.testing.assert_frame_equal(freshness.make_report(storage, [rebuilt]), before)


def test_events_are_read_once(storage: Storage) -> None:
    land(storage, [T])
    first = freshness.make_report(storage, [entry()])
    land(storage, [T - 1000 * SECOND])
    pd.testing.assert_frame_equal(freshness.make_report(storage, [entry()]), first)


def test_first_queries_come_from_every_service_and_survive_a_torn_line(storage: Storage) -> None:
    land(storage, [T])
    serve(storage, "one", {"seq": 2, "applied_at": 0, "first_query_at": T + 16 * SECOND}, rest='{"seq": 3, "fir')
    serve(storage, "two", {"seq": 3, "applied_at": 0, "first_query_at": T + 20 * SECOND}, rest="not json\n")
    table = freshness.make_report(storage, [entry()])
    assert ats.value(table, "all", "queried", "p50") == 5
    assert ats.value(table, "all", "served", "p50") == 20


def test_queries_of_another_generation_do_not_count(storage: Storage) -> None:
    serve(storage, "one", {"seq": 9, "first_query_at": T, "generation": "old"}, {"seq": 4, "first_query_at": T + 1})
    write_json(storage.live / "current.json", {"generation": "new"})
    assert freshness.read_queries(storage)["seq"].tolist() == [4]
    write_json(storage.live / "current.json", {"generation": "old"})
    assert freshness.read_queries(storage)["seq"].tolist() == [9, 4]


def test_only_the_tail_of_a_long_file_is_read(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(storage, "one", *({"seq": number, "first_query_at": T} for number in range(100)))
    monkeypatch.setattr(freshness, "TAIL_BYTES", 200)
    found = freshness.read_queries(storage)["seq"].tolist()
    assert 1 < len(found) < 20
    assert found == list(range(100 - len(found), 100))


def test_a_large_batch_is_spread_over_its_events(storage: Storage, tmp_path: Path) -> None:
    instants = np.random.default_rng(0).permutation(np.arange(10_000)) + T
    path = tmp_path / "large.parquet"
    write_parquet(path, pa.table({Columns.TIMESTAMP: pa.array(instants, pa.timestamp("us"))}))
    spread = freshness.event_spread(path)
    assert len(spread) == freshness.SPREAD
    levels = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(np.quantile(spread, levels) - T, levels * 10_000, atol=100)
    assert len(freshness.event_spread(tmp_path / "missing.parquet")) == 0


def test_numbers_per_partition_are_finite(storage: Storage) -> None:
    table = freshness.make_report(storage, [entry()])
    found = freshness.by_partition(table, ["2020-01-01", "2020-01-02"])
    assert set(found) == {"2020-01-01"}
    assert found["2020-01-01"]["searchable p95"] == 5
    assert "served p95" not in found["2020-01-01"]
    assert np.isfinite(list(found["2020-01-01"].values())).all()
