"""Distances between refreshes by hand, and a sample of items that stays the same."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch

from assets.champion.quality.embeddings import cosine_distances, embeddings_row, sampled_items
from assets.champion.quality.spans import span_of
from assets.stream import Catalog

CUTOFF = np.datetime64("2024-03-04T00:00:00", "us")


def catalog_of(names, available):
    return Catalog(
        item_ids=np.array(names, dtype=object),
        available_at=np.array(available, "datetime64[us]"),
        train_count=np.zeros(len(names), np.int64),
        slices=np.array(["tail"] * len(names), dtype=object),
        frame=pd.DataFrame(),
    )


@dataclass(frozen=True)
class Tables:
    catalog: Catalog
    cutoff: np.datetime64 = CUTOFF


class Turning:
    """Item 0 turns by a right angle a day, item 1 stays; a last column, the trend, jumps."""

    def at(self, instant):
        days = (instant - CUTOFF) / np.timedelta64(1, "D")
        angle = np.pi / 2 * days
        return torch.tensor([[np.cos(angle), np.sin(angle), 9.0 * days], [3.0, 0.0, -days], [0.0, 1.0, 5.0]])


@dataclass(frozen=True)
class Contest:
    tables: Tables
    dimension: int = 2
    champion: object = Turning()


def test_cosine_distances_by_hand() -> None:
    left = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    right = np.array([[5.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    assert list(cosine_distances(left, right)) == [0.0, 1.0, 2.0, 0.0, 1.0]


def test_what_moved_since_yesterday_and_since_the_cutoff() -> None:
    catalog = catalog_of(["a", "b", "c"], ["2024-03-01", "2024-03-05", "2024-03-06T00:00:01"])
    contest = Contest(Tables(catalog))
    row = embeddings_row(contest, span_of("2024-03-06"), 10)
    assert row is not None
    assert row["items"] == 2  # c joins the day after the earlier refresh
    assert row["distances"] == pytest.approx([1.0, 0.0], abs=1e-6)
    assert row["mean_distance"] == pytest.approx(0.5)
    assert row["moved_share"] == 0.5
    assert row["p95_distance"] == pytest.approx(0.95)
    assert row["from_cutoff"] == pytest.approx(2.0)  # a alone was there; two right angles


def test_an_hour_is_compared_with_the_hour_before() -> None:
    contest = Contest(Tables(catalog_of(["a", "b", "c"], ["2024-03-01", "2024-03-01", "2024-03-09"])))
    row = embeddings_row(contest, span_of("2024-03-06-00"), 10)
    assert row is not None
    assert row["distances"] == pytest.approx([1 - np.cos(np.pi / 48), 0.0], abs=1e-6)


def test_nothing_to_compare() -> None:
    contest = Contest(Tables(catalog_of(["a", "b", "c"], ["2024-03-09"] * 3)))
    assert embeddings_row(contest, span_of("2024-03-06"), 10) is None
    late = Contest(Tables(catalog_of(["a", "b", "c"], ["2024-03-05"] * 3)))
    row = embeddings_row(late, span_of("2024-03-07"), 10)
    assert row is not None
    assert np.isnan(row["from_cutoff"])
    assert embeddings_row(replace(late, dimension=0), span_of("2024-03-07"), 10) is None


def test_the_sample_follows_the_ids_not_the_rows() -> None:
    names = [f"i{at}" for at in range(50)]
    forward = catalog_of(names, ["2024-03-01"] * 50)
    backward = catalog_of(names[::-1], ["2024-03-01"] * 50)
    instant = np.datetime64("2024-03-02", "us")
    chosen = {names[row] for row in sampled_items(forward, instant, 8)}
    assert len(chosen) == 8
    assert chosen == {names[::-1][row] for row in sampled_items(backward, instant, 8)}
    assert chosen <= {names[row] for row in sampled_items(forward, instant, 20)}
