"""The live index's benchmark: deltas arrive at their pace, all are applied, and recall is of the index after them."""

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from assets.serving.retrieval.live_index import LiveIndex
from assets.serving.store.deltas import deltas_after
from assets.serving.store.lmdb_store import LmdbStore
from benchmarks import delta_writer
from benchmarks.clusters import clustered
from benchmarks.delta_writer import write_deltas
from benchmarks.live_index import (
    Followed,
    build,
    measure,
    paced,
    recall_now,
    row_of,
    undisturbed,
    unpaced,
)
from benchmarks.measuring import Cost

ITEMS, DIMENSION = 400, 6
QUERIES = clustered(20, DIMENSION, seed=3)
CLOCK = 5


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    build(folder, ITEMS, DIMENSION, threads=1)
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    for path in (built, built / "store"):
        (tmp_path / path.relative_to(built)).mkdir(exist_ok=True)
        for file in path.iterdir():
            if file.is_file():
                (tmp_path / file.relative_to(built)).write_bytes(file.read_bytes())
    return tmp_path


@pytest.fixture
def live(folder: Path) -> Iterator[LiveIndex]:
    with LmdbStore(folder / "store") as store:
        yield LiveIndex(store, folder, lambda: CLOCK)


def test_deltas_are_written_at_their_pace_and_differ(folder: Path) -> None:
    waits: list[float] = []
    with (
        patch.object(delta_writer.time, "sleep", waits.append),
        patch.object(delta_writer.time, "perf_counter", lambda: 0),
    ):
        write_deltas(folder, ITEMS, DIMENSION, size=50, rate=100, count=3)
    assert waits == [0.5, 1.0, 1.5]
    with LmdbStore(folder / "store") as store, store.read() as reader:
        deltas = deltas_after(reader, 0)
    assert [len(set(delta.ids)) for delta in deltas] == [50, 50, 50]
    assert deltas[0].ids != deltas[1].ids
    assert not np.array_equal(deltas[0].vectors, deltas[1].vectors)


def test_waiting_deltas_are_all_taken_with_and_without_searches(folder: Path, live: LiveIndex) -> None:
    searched = unpaced(live, folder, QUERIES, ITEMS, size=30, count=4, search=True)
    assert (searched.upserts, live.seq) == (120, 4)
    quiet = unpaced(live, folder, QUERIES, ITEMS, size=30, count=2, search=False)
    assert (quiet.upserts, live.seq, len(quiet.searches)) == (60, 6, 0)
    assert quiet.per_second == 60 / quiet.cost.wall


def test_paced_deltas_come_from_another_process_and_lag_is_since_they_were_written(
    folder: Path, live: LiveIndex
) -> None:
    found = paced(live, folder, QUERIES, ITEMS, size=20, rate=400, seconds=0.5)
    assert live.seq == 10
    assert found.upserts <= 200
    assert len(found.lag) == found.upserts / 20
    assert len(found.searches) > 0
    with LmdbStore(folder / "store") as store, store.read() as reader:
        last = deltas_after(reader, 9)[0]
    assert found.lag[-1] == (CLOCK - last.created_at) / 1e6


def test_recall_is_of_the_index_as_the_deltas_left_it(folder: Path, live: LiveIndex) -> None:
    assert recall_now(live, folder, ITEMS, QUERIES) > 0.9
    write_deltas(folder, ITEMS, DIMENSION, size=ITEMS, rate=None, count=1)
    assert recall_now(live, folder, ITEMS, QUERIES) < 0.5  # the index has not followed
    live.refresh()
    assert recall_now(live, folder, ITEMS, QUERIES) > 0.9


def test_searches_go_on_without_updates(live: LiveIndex) -> None:
    found = undisturbed(live, QUERIES, seconds=0.05)
    assert found.upserts == len(found.lag) == 0
    assert len(found.searches) > 0
    assert row_of(found)[1:5] == [None] * 4
    assert (found.searches[:, 1] <= found.searches[:, 0]).all()
    assert (found.searches[:, 1] > 0).any()


def test_a_row_gives_rates_lag_and_latency() -> None:
    stretch = Followed("it", 500, Cost(2.0, 1.0), np.array([0.1, 0.1]), np.array([[0.004, 0.001]] * 4))
    name, *numbers = row_of(stretch)
    assert name == "it"
    assert numbers == pytest.approx([250, 500, 100, 100, 2, 4, 4, 4, 1])


def test_the_whole_prints_every_stretch_and_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = Namespace(items=ITEMS, dimension=DIMENSION, queries=20, rate=400.0, deltas=[20], seconds=0.4, threads=1)
    measure(tmp_path, options)
    printed = capsys.readouterr().out
    for stretch in ("no updates", "400/s in 20s", "20s, searching", "20s, no searches"):
        assert stretch in printed
    assert printed.count("met") + printed.count("MISSED") == 4
