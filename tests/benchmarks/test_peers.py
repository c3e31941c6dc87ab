"""What the peer is given, rows of items that mean the same everywhere, and what is said of both sides."""

from pathlib import Path

import numpy as np

from assets.stream import load_tables
from benchmarks.peers.compare import peer_options, write_input
from benchmarks.peers.sides import Side, verdict
from tests.support import Row, interactions_frame, write_tables

CUTOFF = "2024-01-05"


def test_training_and_histories_name_items_by_the_same_rows(tmp_path: Path) -> None:
    """Item ``a`` comes after the cutoff and sorts before all others, so that numbering anew would move them."""
    rows: list[Row] = [
        ("u1", "b", "2024-01-01"),
        ("u1", "c", "2024-01-02"),
        ("u2", "c", "2024-01-03"),
        ("u1", "a", "2024-01-06"),
    ]
    tables = load_tables(write_tables(tmp_path, interactions_frame(rows), CUTOFF, "2024-01-03"))
    write_input(tmp_path, tables, np.full((1, 50), -1), peer_options(1, 1.0, 0))
    given = np.load(tmp_path / "train.npz")
    ids = tables.catalog.frame["item_id"].to_numpy()
    assert ids[given["item"]].tolist() == ["b", "c", "c"]
    assert given["item"].tolist() == tables.stream.items[:3].tolist() == [1, 2, 2]


def side(name: str, epochs: int, cpu: float, ndcg: float, predicted: float = 100) -> Side:
    return Side(name, predicted, epochs, 2 * cpu, cpu, 0, ndcg)


def test_the_verdict_counts_engagements_and_seconds_to_the_same_quality() -> None:
    """Ours 400 in 8 CPU s, RecTools' best 60 in 3; ours passes its .04 in 4 CPU s, RecTools never ours."""
    ours, shorter = [side("ours", 4, 8, 0.08)], [side("ours", 1, 2, 0.03), side("ours", 2, 4, 0.05)]
    peers = [side("RecTools", 1, 1, 0.02, 20), side("RecTools", 3, 3, 0.04, 20), side("RecTools", 9, 9, 0.03, 20)]
    assert verdict("toy", ours, shorter, peers) == (
        "toy: 2.5 times the engagements per CPU second; NDCG@10 0.0800 against 0.0400; "
        "ours reaches 0.0400 in 4.0 CPU s, RecTools in 3.0; RecTools reaches 0.0800 at no number of epochs tried"
    )


def test_the_verdict_says_where_the_peer_is_better() -> None:
    ours, peers = [side("ours", 4, 8, 0.03)], [side("RecTools", 3, 3, 0.04), side("RecTools", 1, 1, 0.03)]
    assert verdict("toy", ours, [], peers).endswith(
        "ours reaches 0.0400 at no number of epochs tried; RecTools reaches 0.0300 in 1.0 CPU s, ours in 8.0"
    )
