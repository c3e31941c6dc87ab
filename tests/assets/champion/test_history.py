"""What serves, as tables: the same as the exported ones where both know the same rows, and landed rows on top."""

import numpy as np
import pandas as pd
import pytest

from assets.champion.history import cases_between, read_served, tables_at
from assets.config import SplitConfig
from assets.evaluation.protocol import build_cases
from assets.schema import Columns
from tests.assets.serving.live.conftest import Live

LATE = [
    ("u01", "i03", "2024-03-07T01:00:00"),
    ("u09", "brand new", "2024-03-07T02:00:00"),
    ("u02", "brand new", "2024-03-07T03:00:00"),
    ("u02", "brand new", "2024-03-07T04:00:00"),
]


def served_of(live: Live):
    with live.opened() as opened:
        return read_served(opened)


def test_without_anything_landed_the_tables_are_the_exported_ones(live: Live) -> None:
    tables = tables_at(served_of(live), live.tables.cutoff, SplitConfig())
    expected = live.tables.catalog.frame.set_index(Columns.ITEM).sort_index()
    found = tables.catalog.frame.set_index(Columns.ITEM).sort_index()[list(expected.columns)]
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    users = live.tables.users.set_index(Columns.USER)[Columns.TRAIN_COUNT].sort_index()
    pd.testing.assert_series_equal(
        tables.users.set_index(Columns.USER)[Columns.TRAIN_COUNT].sort_index(), users, check_dtype=False
    )


def test_cases_are_those_of_the_export(live: Live) -> None:
    tables = tables_at(served_of(live), live.tables.cutoff, SplitConfig())
    found = cases_between(tables, tables.cutoff, np.datetime64("2025-01-01"))
    expected = live.storage.read_table("test_cases")
    order = [Columns.TIMESTAMP, Columns.SOURCE_ROW]
    columns = [name for name in expected.columns if name != Columns.WINDOW]
    pd.testing.assert_frame_equal(
        found.sort_values(order, ignore_index=True)[columns],
        expected.sort_values(order, ignore_index=True)[columns],
        check_dtype=False,
    )


def test_what_landed_is_in_and_counts_from_its_instant_on(live: Live) -> None:
    before = served_of(live).version
    live.land(LATE)
    live.process()
    served = served_of(live)
    assert served.version != before
    assert served.ends_at == np.datetime64("2024-03-07T04:00:00.000001")
    tables = tables_at(served, np.datetime64("2024-03-07T02:30"), SplitConfig(tail_max_count=1))
    new = tables.catalog.frame.set_index(Columns.ITEM).loc["brand new"]
    assert (new[Columns.TRAIN_COUNT], new[Columns.SLICE]) == (1, "tail")
    assert new[Columns.AVAILABLE_AT] == pd.Timestamp("2024-03-07T02:00:00")
    cases = cases_between(tables, np.datetime64("2024-03-07"), np.datetime64("2024-03-08"))
    assert list(cases[Columns.ENGAGEMENTS_SEEN])[1:] == [0, 1, 2]
    assert list(cases[Columns.IS_REPEAT]) == [False, False, False, True]
    assert list(cases[Columns.ON_CATALOG]) == [True, False, False, False]
    assert len(build_cases(cases, tables)) == 3
    assert tables.validation_start < tables.cutoff


def test_pareto_head_is_a_share_of_what_is_available(live: Live) -> None:
    split = SplitConfig(head_rule="pareto", head_share=0.1)
    tables = tables_at(served_of(live), live.tables.cutoff, split)
    frame = tables.catalog.frame
    available = (frame[Columns.AVAILABLE_AT] < live.tables.cutoff).sum()
    head = frame[frame[Columns.SLICE] == "head"]
    assert len(head) == max(1, int(np.floor(0.1 * available + 0.5)))
    assert head[Columns.TRAIN_COUNT].min() >= frame[frame[Columns.SLICE] == "tail"][Columns.TRAIN_COUNT].max()


def test_a_cutoff_before_everything_is_refused(live: Live) -> None:
    with pytest.raises(ValueError, match="choose a later cutoff"):
        tables_at(served_of(live), np.datetime64("2020-01-01"), SplitConfig())
