"""Runs in one array, against lists that are sorted one by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from assets.serving.live.runs import bisect_runs, merge_entries, merge_values
from assets.serving.store.records import ENTRY

SMALL = st.integers(0, 6)
SETS = st.lists(st.tuples(st.sets(SMALL), st.sets(SMALL)), max_size=5)
PAIRS = st.sets(st.tuples(SMALL, SMALL), max_size=6)
HISTORIES = st.lists(st.tuples(PAIRS, PAIRS).map(lambda both: (both[0], both[1] - both[0])), max_size=5)


def lengths_of(runs: list) -> np.ndarray:
    return np.array([len(run) for run in runs], np.int64)


def runs_of(runs: list) -> np.ndarray:
    return np.repeat(np.arange(len(runs)), lengths_of(runs))


def flat(runs: list) -> list:
    return [value for run in runs for value in sorted(run)]


@given(SETS)
def test_values_are_added_where_they_are_lacking(runs: list[tuple[set[int], set[int]]]) -> None:
    old, new = [run[0] for run in runs], [run[1] for run in runs]
    merged, lengths, lacking = merge_values(
        np.array(flat(old), np.int64), lengths_of(old), np.array(flat(new), np.int64), runs_of(new)
    )
    union = [one | other for one, other in runs]
    assert merged.tolist() == flat(union)
    assert lengths.tolist() == lengths_of(union).tolist()
    assert lacking.tolist() == [value not in one for one, other in runs for value in sorted(other)]


def entries(runs: list[set[tuple[int, int]]]) -> np.ndarray:
    return np.array([(time, row, time * 10 + row) for time, row in flat(runs)], ENTRY)


@given(HISTORIES)
def test_entries_come_to_their_places(runs: list[tuple[set[tuple[int, int]], set[tuple[int, int]]]]) -> None:
    old, new = [run[0] for run in runs], [run[1] for run in runs]
    merged, lengths = merge_entries(entries(old), lengths_of(old), entries(new), runs_of(new))
    union = [one | other for one, other in runs]
    assert merged.tolist() == entries(union).tolist()
    assert lengths.tolist() == lengths_of(union).tolist()


def test_large_digests_are_compared_as_they_are() -> None:
    old = np.array([1, 2**63, 2**64 - 1], np.uint64)  # would be negative or rounded in other types
    new = np.array([2**63, 2**63 + 1, 2**64 - 2], np.uint64)
    merged, _, lacking = merge_values(old, np.array([3]), new, np.array([0, 0, 0]))
    assert merged.tolist() == [1, 2**63, 2**63 + 1, 2**64 - 2, 2**64 - 1]
    assert lacking.tolist() == [False, True, True]


def test_a_search_stays_inside_its_run() -> None:
    old = np.array([5, 6, 1, 2])
    places = bisect_runs(
        np.array([2, 0, 2]), np.array([0, 0, 1, 2]), lambda at, which: old[at] < np.array([9, 0, 3, 9])[which]
    )
    assert places.tolist() == [2, 0, 2, 4]
