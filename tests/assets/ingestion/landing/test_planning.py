"""Which partitions to request: few runs, one at a time, and no bad batch before good ones for long."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.config import FreshnessConfig
from assets.ingestion.landing.places import ClaimedFile
from assets.ingestion.landing.planning import Cursor, Plan, RunState, plan

SECOND = 1_000_000
NO_CURSOR = Cursor()
CONFIG = FreshnessConfig(files_per_run=5, partitions_per_run=8, attempts=3, sensor_seconds=5)


def files(partition: str, *stamps: int) -> list[ClaimedFile]:
    return [ClaimedFile(Path(f"{at}"), "engagements", partition, f"{at}", at, at) for at in stamps]


def waiting(**partitions: int) -> dict[str, list[ClaimedFile]]:
    """Files per partition, stamps all different."""
    return {
        name: files(name, *range(at * 1000, at * 1000 + count)) for at, (name, count) in enumerate(partitions.items())
    }


def look(claimed, cursor: Cursor = NO_CURSOR, state: RunState = RunState.NONE, now: int = 0, config=CONFIG) -> Plan:
    return plan(claimed, cursor, state, config, now)


def test_many_partitions_fold_into_one_run() -> None:
    found = look(waiting(c=1, a=2, b=1))
    assert found.partitions == ("a", "b", "c")
    assert found.reason == "4 files of 3 partitions, a to c"


def test_a_run_takes_so_many_files_and_partitions() -> None:
    assert look(waiting(a=3, b=2, c=1)).partitions == ("a", "b")
    assert look(waiting(a=9, b=1)).partitions == ("a",), "one is taken however large"
    assert (
        len(look(waiting(**{f"p{at}": 1 for at in range(20)}), config=FreshnessConfig(partitions_per_run=8)).partitions)
        == 8
    )


def test_nothing_waits() -> None:
    found = look({})
    assert (found.partitions, found.run_key, found.reason) == ((), None, "no new files")


def test_one_run_at_a_time() -> None:
    first = look(waiting(a=1))
    found = look(waiting(a=1, b=7), first.cursor, RunState.IN_FLIGHT)
    assert found.partitions == ()
    assert found.cursor == first.cursor
    assert found.reason == "a run is at work; 8 files wait"


def test_the_same_look_has_the_same_key_and_another_has_another() -> None:
    first, again = look(waiting(a=1)), look(waiting(a=1))
    assert first.run_key == again.run_key
    retry = look(waiting(a=1), first.cursor, RunState.ENDED, now=60 * SECOND)
    assert retry.partitions == ("a",)
    assert retry.run_key != first.run_key
    assert look(waiting(a=2)).run_key != first.run_key


def test_a_partition_that_got_on_is_new_again() -> None:
    many = {"a": files("a", *range(12))}
    cursor, taken = Cursor(), 0
    for _ in range(6):
        found = look({"a": many["a"][taken:]}, cursor, RunState.ENDED)
        assert found.partitions == ("a",)
        assert found.cursor.attempts["a"].count == 1
        cursor, taken = found.cursor, taken + 2


def test_a_failed_run_is_tried_again_after_growing_pauses_then_given_up() -> None:
    claimed, cursor, now, runs = waiting(a=1), Cursor(), 0, []
    for _ in range(200):
        found = look(claimed, cursor, RunState.ENDED, now)
        cursor = found.cursor
        if found.partitions:
            runs.append(now // SECOND)
        now += 5 * SECOND
    assert runs == [0, 10, 30]
    assert found.given_up == ("a",)
    assert "a: given up after 3 runs" in found.reason


def test_another_file_gives_a_partition_that_was_given_up_another_chance() -> None:
    claimed, cursor, now = waiting(a=1), Cursor(), 0
    for _ in range(3):
        cursor = look(claimed, cursor, RunState.ENDED, now).cursor
        now += 600 * SECOND
    assert look(claimed, cursor, RunState.ENDED, now).given_up == ("a",)
    more = {"a": files("a", 0, 99)}
    found = look(more, cursor, RunState.ENDED, now)
    assert found.partitions == ("a",)
    assert look(more, found.cursor, RunState.ENDED, now + 600 * SECOND).given_up == ("a",)


def test_failed_partitions_are_tried_in_ever_smaller_groups() -> None:
    claimed = waiting(**{f"p{at}": 1 for at in range(8)})
    config = FreshnessConfig(partitions_per_run=8, attempts=5)
    cursor, now, sizes = Cursor(), 0, []
    for _ in range(9):
        found = look(claimed, cursor, RunState.ENDED, now, config)
        sizes.append(len(found.partitions))
        cursor, now = found.cursor, now + 3600 * SECOND
    assert sizes == [8, 2, 2, 2, 2, 1, 1, 1, 1]


def test_new_and_failed_partitions_take_turns() -> None:
    """A bad partition neither stands before new ones nor waits for ever behind them."""
    cursor, now, chosen = look(waiting(bad=1)).cursor, 0, []
    bad = waiting(bad=1)
    for at in range(6):
        now += 3600 * SECOND
        found = look(bad | {f"new{at}": files("n", 10**6 + at)}, cursor, RunState.ENDED, now)
        chosen.append(found.partitions)
        cursor = found.cursor
    assert [partitions == ("bad",) for partitions in chosen] == [True, False, True, False, False, False]


def test_the_cursor_survives_as_text() -> None:
    cursor = look(waiting(a=1, b=2)).cursor
    assert Cursor.from_json(cursor.to_json()) == cursor


@pytest.mark.parametrize("text", [None, "", "no json", "[]", "3", '{"attempts": {"a": {"odd": 1}}}', '{"attempts": 3}'])
def test_a_foreign_cursor_is_forgotten(text: str | None) -> None:
    assert Cursor.from_json(text) == Cursor()


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.sampled_from("abcdef"), max_size=4), max_size=12),
    st.sets(st.sampled_from("abcdef"), max_size=2),
)
def test_every_good_file_is_applied_within_a_few_runs(arrivals: list[list[str]], poisoned: set[str]) -> None:
    """A run fails as a whole when a poisoned partition is in it, and applies all its files otherwise."""
    stamp, cursor, now = 0, Cursor(), 0
    claimed: dict[str, list[ClaimedFile]] = {}
    for look_at in range(len(arrivals) + 60):
        for name in arrivals[look_at] if look_at < len(arrivals) else []:
            stamp += 1
            claimed.setdefault(name, []).extend(files(name, stamp))
        found = look(claimed, cursor, RunState.ENDED, now)
        assert len(found.partitions) <= CONFIG.partitions_per_run
        cursor, now = found.cursor, now + 300 * SECOND
        if not poisoned & set(found.partitions):
            for name in found.partitions:
                del claimed[name]
    assert set(claimed) <= poisoned
