"""One run takes one range of Dagster's order of partitions, and what it leaves out is as if nobody had asked."""

from pathlib import Path

import pytest

from assets.ingestion.landing.places import ClaimedFile
from assets.ingestion.landing.planning import Attempts, Cursor, Plan
from assets.ingestion.landing.ranges import Range, one_range


def waiting(**seen_at: int) -> dict[str, list[ClaimedFile]]:
    """A file per partition, seen at these instants."""
    return {name: [ClaimedFile(Path(name), "engagements", name, name, at, at)] for name, at in seen_at.items()}


def planned(*names: str, count: int = 1, others: dict[str, Attempts] | None = None) -> Plan:
    attempts = {name: Attempts(1, 1, count, 0) for name in names}
    cursor = Cursor("key", names, False, {**(others or {}), **attempts})
    return Plan(names, "key", cursor, "as planned")


def test_new_partitions_are_added_behind_and_taken_at_once() -> None:
    plan, taken = one_range(planned("b", "c"), Cursor(), ["a"], waiting(b=1, c=2), limit=10)
    assert taken == Range("b", "c", ("b", "c"))
    assert plan.partitions == plan.cursor.requested == ("b", "c")
    assert plan.run_key == "key"


def test_a_range_runs_in_the_order_in_which_partitions_were_added() -> None:
    plan, taken = one_range(planned("a", "b", "c"), Cursor(), ["c", "x", "a", "b"], waiting(a=1, b=2, c=3), limit=10)
    assert (taken.start, taken.end, taken.added) == ("c", "b", ())
    assert plan.partitions == ("c", "a", "b")
    assert plan.reason == "3 files of 3 partitions, a to c"


@pytest.mark.parametrize(("oldest", "expected"), [("a", ("a", "b")), ("z", ("z",))])
def test_what_lies_far_apart_is_taken_by_two_runs_the_longest_waiting_first(oldest: str, expected: tuple) -> None:
    stored = ["a", "b", *map(str, range(50)), "z"]
    files = waiting(**{name: 1 if name == oldest else 5 for name in ("a", "b", "z")})
    before = Cursor(attempts={"z": Attempts(1, 1, 3, 7)})
    plan, taken = one_range(planned("a", "b", "z", count=4), before, stored, files, limit=31)
    assert plan.partitions == expected
    assert (taken.start, taken.end) == (expected[0], expected[-1])
    for name in ("a", "b", "z"):
        known = before.attempts.get(name)
        assert plan.cursor.attempts.get(name) == (Attempts(1, 1, 4, 0) if name in expected else known), name


def test_the_limit_counts_places() -> None:
    stored = list("abcd")
    assert one_range(planned("a", "d"), Cursor(), stored, waiting(a=1, d=2), limit=4)[0].partitions == ("a", "d")
    assert one_range(planned("a", "d"), Cursor(), stored, waiting(a=1, d=2), limit=3)[0].partitions == ("a",)


def test_partitions_that_are_left_out_are_not_added_and_others_keep_their_attempts() -> None:
    others = {"late": Attempts(3, 4, 2, 9)}
    plan, taken = one_range(planned("a", "n", others=others), Cursor(), list("abcdef"), waiting(a=1, n=2), limit=2)
    assert taken == Range("a", "a", ())
    assert "n" not in plan.cursor.attempts
    assert plan.cursor.attempts["late"] == others["late"]
    assert "1 files of 1 partitions" in plan.reason
