"""Negatives of every refresh: the distribution is the refresh's own, however many tables there are."""

import numpy as np
import pytest
import torch

from assets.stream import DatasetTables
from assets.training.chances import Chances
from assets.training.item_times import ItemTimes
from assets.training.negatives import AliasTable, frequencies
from tests.assets.training import slow
from tests.assets.training.slow import DAY, HOUR, START, random_tables

POWER = 0.75
REFRESHES = START + np.arange(6)[::-1] * DAY
EVERY = 10**9


def chances(tables: DatasetTables, kept_cells: int) -> Chances:
    times = ItemTimes.build(tables.stream)
    return Chances(tables.stream, tables.catalog, times, np.repeat(REFRESHES, 2), POWER, kept_cells)


def expected(tables: DatasetTables, instant: np.datetime64) -> np.ndarray:
    """[N] by loops."""
    weights = np.zeros(tables.stream.n_items)
    for row, at in enumerate(tables.catalog.available_at):
        if at <= instant:
            weights[row] = (slow.count(tables.stream, row, instant) + 1) ** POWER
    return weights / weights.sum()


@pytest.mark.parametrize("tables_kept", [1, 2, 6])
def test_draws_follow_the_counts_of_their_own_refresh(tables_kept: int) -> None:
    tables = random_tables(2)
    found = chances(tables, tables_kept * tables.stream.n_items)
    assert len(found.lasts) == tables_kept
    assert found.lasts[-1] == REFRESHES[0]
    different = 0
    for instant in REFRESHES:
        own = expected(tables, instant)
        drawn = found.draw(instant, 40_000, torch.Generator().manual_seed(1))
        assert len(drawn) == 40_000
        share = np.bincount(drawn, minlength=len(own)) / len(drawn)
        assert np.abs(share - own).max() < 0.007
        assert (share[own == 0] == 0).all()
        np.testing.assert_allclose(np.exp(found.log_probabilities(instant, np.arange(len(own)))), own, rtol=1e-12)
        different += np.abs(expected(tables, REFRESHES[0]) - own).max() > 0.03
    assert different >= 2  # or another refresh's draws would pass


def test_with_a_table_per_refresh_each_draws_from_its_own() -> None:
    """What is drawn is then as of the table alone: no proposal is refused, no other random number used."""
    tables = random_tables(2)
    found = chances(tables, EVERY)
    assert found.lasts.tolist() == np.sort(REFRESHES).tolist()
    for instant in REFRESHES:
        items = tables.catalog.rows_at(instant)
        counts = np.array([slow.count(tables.stream, int(row), instant) for row in items])
        table = AliasTable.build(frequencies(counts, POWER))
        drawn = found.draw(instant, 50, torch.Generator().manual_seed(3))
        assert drawn.tolist() == items[table.draw(50, torch.Generator().manual_seed(3))].tolist()


@pytest.mark.parametrize("kept_cells", [1, EVERY])
def test_tables_are_built_once(kept_cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = AliasTable.build
    monkeypatch.setattr(AliasTable, "build", lambda given: (built.append(1), build(given))[1])
    found = chances(random_tables(2), kept_cells)
    for _ in range(2):
        for instant in REFRESHES:
            found.draw(instant, 5, torch.Generator().manual_seed(0))
    assert len(built) == (1 if kept_cells == 1 else len(REFRESHES))


@pytest.mark.parametrize("since", [None, START + DAY])
def test_counts_of_items_between_instants(since: np.datetime64 | None) -> None:
    stream = random_tables(1, events=400, days=3).stream
    times, rows = ItemTimes.build(stream), np.array([5, 0, stream.n_items - 1, 5])
    for until in (START, START + 7 * HOUR, stream.timestamps[100], START + 2 * DAY, START + 40 * DAY):
        first = START if since is None else since
        slowly = [
            ((stream.items == row) & (stream.timestamps < until) & (stream.timestamps >= first)).sum() for row in rows
        ]
        assert times.counts(rows, until, since).tolist() == slowly
