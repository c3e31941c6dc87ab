"""Leakage: nothing a model may learn from, and nothing a case states, may come from the case's future."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from assets.quality import core_rules, timeline_rules
from assets.quality import leakage_rules as rules
from assets.quality.split_tables import SplitTables


@dataclass(frozen=True)
class Rule:
    """A rule by name, in words, with the function that finds the rows breaking it and the table those rows are of."""

    name: str
    about: str
    table: str
    find: Callable[[SplitTables], pd.DataFrame]

    def checked(self, tables: SplitTables) -> int:
        """Rows of the table that the rule looks at."""
        return len(getattr(tables, self.table))


RULES: tuple[Rule, ...] = (
    Rule(
        "train_before_cutoff",
        "every train and validation engagement is strictly before the cutoff",
        "interactions",
        rules.train_rows_after_cutoff,
    ),
    Rule(
        "train_within_bounds",
        "train and validation engagements lie in their own half-open bounds: validation is the end of train time",
        "interactions",
        rules.train_rows_outside_bounds,
    ),
    Rule(
        "test_within_window",
        "every test engagement lies in the half-open bounds of its window",
        "interactions",
        rules.test_rows_outside_window,
    ),
    Rule(
        "bounds_contiguous",
        "train, validation and the windows follow each other without gap or overlap",
        "split_bounds",
        rules.bounds_not_contiguous,
    ),
    Rule(
        "times_as_recorded",
        "every engagement lies where its source puts it; the held-out ones at midnights after train, those of "
        "held_out_users moved behind train by whole days",
        "interactions",
        timeline_rules.rows_at_wrong_times,
    ),
    Rule(
        "held_out_by_rule",
        "leave_one_out tests one engagement of each user with three or more, validates on one and trains on the rest; "
        "held_out_items tests every engagement on the items that it draws and none on another, held_out_users those of "
        "its users",
        "interactions",
        timeline_rules.rows_not_held_out_by_rule,
    ),
    Rule(
        "frames_of_one_length",
        "fraction tests in frames of one length that follow each other from the cutoff to the last engagement",
        "split_bounds",
        timeline_rules.frames_of_wrong_length,
    ),
    Rule(
        "core_has_enough",
        "with a k_core, every user and item before the cutoff (or in all, where the filter looks ahead) has so many "
        "engagements",
        "interactions",
        core_rules.rows_outside_the_core,
    ),
    Rule("one_split_per_row", "no source row is both in train and in test", "interactions", rules.rows_in_two_splits),
    Rule(
        "user_histories_past",
        "user histories hold engagements strictly before the cutoff only",
        "user_histories",
        rules.user_history_rows_not_past,
    ),
    Rule(
        "item_histories_past",
        "item histories hold engagements strictly before the cutoff only",
        "item_histories",
        rules.item_history_rows_not_past,
    ),
    Rule(
        "item_counts_of_train",
        "an item's train_count is its engagements before the cutoff, not of all time",
        "items",
        rules.item_counts_not_of_train,
    ),
    Rule(
        "user_counts_of_train",
        "a user's train_count is the user's engagements before the cutoff, not of all time",
        "users",
        rules.user_counts_not_of_train,
    ),
    Rule("slice_of_train_count", "an item's slice follows from its train count", "items", rules.items_in_wrong_slice),
    Rule(
        "available_when_first_seen",
        "an item is available from its creation or its first engagement, whichever is earlier, and one that "
        "held_out_items holds out from the cutoff on",
        "items",
        rules.items_with_wrong_availability,
    ),
    Rule(
        "cases_count_earlier",
        "a case's engagements_seen counts the item's strictly earlier engagements",
        "test_cases",
        rules.cases_with_wrong_engagements_seen,
    ),
    Rule(
        "cases_repeat_earlier",
        "a case is a repeat if its user engaged with the item strictly earlier",
        "test_cases",
        rules.cases_with_wrong_repeat,
    ),
    Rule(
        "cases_user_in_train",
        "a case's user is in train if the user engaged with anything before the cutoff",
        "test_cases",
        rules.cases_with_wrong_user_in_train,
    ),
    Rule("cases_slice_of_item", "a case's slice is its item's", "test_cases", rules.cases_with_wrong_slice),
    Rule(
        "cases_refresh_not_later",
        "a case is served by the refresh at the start of its own day, never by a later one",
        "test_cases",
        rules.cases_with_wrong_refresh,
    ),
    Rule(
        "cases_on_catalog_at_refresh",
        "a case is on the catalog if its item was available at its refresh",
        "test_cases",
        rules.cases_with_wrong_catalog,
    ),
)
