"""The k-core filter through dbt, against a slow reference in plain Python."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from assets.config import EngagementRule, Settings, SplitConfig
from assets.storage import Storage
from assets.transforms.export import open_warehouse
from tests.support import Row, interactions_frame
from tests.transforms.raw import dbt, random_rows, write_raw

RULES = {
    "known": EngagementRule(k_core=4),
    "ahead": EngagementRule(k_core=7, k_core_counts="all_looking_ahead"),
}
ROWS: list[Row] = [
    *random_rows(5, n=260, users=24, items=24),
    ("late", "later", "2020-03-30 00:00:00"),  # after everything else: nothing is known of either at the cutoff
    *[("steady", f"i{n}", "2020-03-01 06:30:00") for n in range(5)],
]
NEVER = "never"
"""An item and a user that nobody and nothing engaged with."""


@dataclass(frozen=True)
class Expected:
    """Slow reference: what is left out, and how many passes it took."""

    users: set[str]
    items: set[str]
    passes: int


def cutoff() -> str:
    times = sorted(row[2] for row in ROWS)
    return times[-(-len(times) // 2) - 1]


def reference(rule: EngagementRule) -> Expected:
    counted = [row for row in ROWS if rule.looks_ahead or row[2] < cutoff()]
    kept, passes = counted, 0
    while True:
        of_user, of_item = Counter(row[0] for row in kept), Counter(row[1] for row in kept)
        left = [row for row in kept if of_user[row[0]] >= rule.k_core and of_item[row[1]] >= rule.k_core]
        if len(left) == len(kept):
            break
        kept, passes = left, passes + 1
    users, items = {row[0] for row in kept}, {row[1] for row in kept}
    gone = Expected({row[0] for row in counted} - users, {row[1] for row in counted} - items, passes)
    if rule.looks_ahead:
        return Expected(gone.users | {NEVER}, gone.items | {NEVER}, passes)
    return gone


@pytest.fixture(scope="module", params=RULES)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Storage, EngagementRule]:
    rule, frame = RULES[request.param], interactions_frame(ROWS)
    items = dict.fromkeys([*sorted(set(frame["item_id"])), NEVER], ("g",))
    users = [*sorted(set(frame["user_id"])), NEVER]
    storage = write_raw(Storage(tmp_path_factory.mktemp("core"), "toy"), frame, items=items, users=users)
    settings = Settings(dataset="toy", engagement=rule, split=SplitConfig(windows=2))
    statuses = dbt(storage, settings, "build", "--exclude-resource-type", "unit_test")
    assert set(statuses.values()) <= {"pass", "success"}
    assert any("k_core_reached_its_fixpoint" in name for name in statuses)
    return storage, rule


def rows_of(storage: Storage, query: str) -> list[tuple[Any, ...]]:
    with open_warehouse(storage) as connection:
        return connection.execute(query).fetchall()


def ids_of(storage: Storage, query: str) -> set[Any]:
    return {row[0] for row in rows_of(storage, query)}


def test_what_is_left_out_equals_the_reference(built: tuple[Storage, EngagementRule]) -> None:
    storage, rule = built
    expected = reference(rule)
    assert expected.passes > 1, "the rows make one pass only: this shows nothing"
    assert ids_of(storage, "select id from left_out where kind = 'user'") == expected.users
    assert ids_of(storage, "select id from left_out where kind = 'item'") == expected.items
    assert rows_of(storage, 'select max("pass") from left_out') == [(expected.passes,)]


def test_the_tables_hold_the_others_and_their_engagements(built: tuple[Storage, EngagementRule]) -> None:
    storage, rule = built
    out = reference(rule)
    kept = {place for place, row in enumerate(ROWS) if row[0] not in out.users and row[1] not in out.items}
    assert 0 < len(kept) < len(ROWS)
    assert ids_of(storage, "select source_row from interactions_split") == kept
    assert ids_of(storage, "select user_id from users") == {NEVER, *(row[0] for row in ROWS)} - out.users
    assert ids_of(storage, "select item_id from items") == {NEVER, *(row[1] for row in ROWS)} - out.items
    profile: dict[str, float] = dict(rows_of(storage, 'select "name", "value" from dataset_profile'))
    assert profile["left_out_engagements"] == len(ROWS) - len(kept)
    assert (profile["left_out_users"], profile["left_out_items"]) == (len(out.users), len(out.items))


@pytest.mark.parametrize("built", ["known"], indirect=True)
def test_a_core_of_what_is_known_moves_no_cutoff_and_judges_no_newcomer(built: tuple[Storage, EngagementRule]) -> None:
    storage, _ = built
    assert str(rows_of(storage, "select ends_at from split_bounds where split = 'validation'")[0][0]) == cutoff()
    assert ids_of(storage, "select source_row from interactions_split where user_id = 'late'") == {260}


@pytest.mark.parametrize("built", ["known"], indirect=True)
def test_a_core_of_what_is_known_does_not_depend_on_what_comes_later(
    built: tuple[Storage, EngagementRule], tmp_path: Path
) -> None:
    """Other engagements after the cutoff, as many as there were: the same users and items are left out."""
    storage, rule = built
    rows = [row if row[2] < cutoff() else (f"n{place}", "i1", row[2]) for place, row in enumerate(ROWS)]
    other = write_raw(Storage(tmp_path, "toy"), interactions_frame(rows))
    settings = Settings(dataset="toy", engagement=rule, split=SplitConfig(windows=2))
    dbt(other, settings, "build", "--select", "+left_out", "--exclude-resource-type", "unit_test")
    query = "select kind, id, engagements, pass from left_out order by all"
    assert rows_of(other, query) == rows_of(storage, query)


def test_a_split_without_a_cutoff_in_time_that_a_study_asks_for_is_refused_in_words(tmp_path: Path) -> None:
    """The settings refuse it; a study's are made of settings that were right under another split."""
    storage = write_raw(Storage(tmp_path, "toy"), interactions_frame(ROWS[:9]))
    settings = Settings(dataset="toy", engagement=RULES["known"])
    settings = settings.model_copy(update={"split": SplitConfig(kind="held_out_items")})
    with pytest.raises(AssertionError, match=r"set engagement\.k_core_counts to all_looking_ahead"):
        dbt(storage, settings, "compile", "--select", "left_out")
