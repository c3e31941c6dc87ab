from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from assets.idmap import IdMap
from assets.stream import PADDING, DatasetTables
from assets.training.encoding import Encodings, Universe, encode_lists
from assets.training.past import before_cutoff


def test_the_past_holds_nothing_of_the_future(tables: DatasetTables) -> None:
    past = before_cutoff(tables)
    assert past.catalog.item_ids.tolist() == ["v", "w", "x", "y", "z"]
    assert past.users["user_id"].tolist() == ["ann", "bob", "cat"]
    assert len(past.stream) == len(past.interactions) == 10
    assert past.stream.timestamps.max() < tables.cutoff
    ids = past.catalog.item_ids[past.stream.items]
    assert ids.tolist() == past.interactions["item_id"].tolist()


def test_no_past_is_an_error(tables: DatasetTables) -> None:
    with pytest.raises(ValueError, match="no engagement before the cutoff"):
        before_cutoff(replace(tables, cutoff=np.datetime64("2020-01-01", "us")))


def test_maps_hold_only_what_is_trained_on(tables: DatasetTables) -> None:
    past = before_cutoff(tables)
    first = Encodings.fit(past, past.stream.before(past.validation_start), 3)
    assert first.items.ids == ("w", "x", "y", "z")
    assert first.users.ids == ("ann", "bob")
    assert first.history_users.ids == ("ann",)  # four engagements; bob has two
    assert first.item_features["genre"].ids == ("a", "b")  # c is w's alone before the validation tail
    assert first.user_features["city"].ids == ("oslo",)
    second = Encodings.fit(past, past.stream, 3)
    assert second.items.ids == ("v", "w", "x", "y", "z")
    assert second.item_features["genre"].ids == ("a", "b", "c")
    assert second.history_users.ids == ("ann", "bob")  # cat has two
    assert (second.sizes.users, second.sizes.items, second.sizes.history_users) == (4, 6, 3)
    assert second.sizes.item_features == {"genre": 4}


def test_a_feature_that_rows_do_not_share_is_left_out(tables: DatasetTables) -> None:
    past = before_cutoff(tables)
    past.users["zip"] = [["1"], ["2"], ["3", "3"]]
    assert "zip" not in Encodings.fit(past, past.stream, 3).user_features


@pytest.mark.parametrize(("least", "qualified"), [(1, ("ann", "bob", "cat")), (5, ("ann",)), (6, ())])
def test_qualified_users_have_enough_engagements(tables: DatasetTables, least: int, qualified: tuple[str, ...]) -> None:
    past = before_cutoff(tables)
    encodings = Encodings.fit(past, past.stream, least)
    assert encodings.history_users.ids == qualified
    assert encodings.users.ids == ("ann", "bob", "cat")


def test_maps_survive_by_name(tables: DatasetTables) -> None:
    encodings = Encodings.fit(tables, tables.stream, 3)
    features = {"item_feature-genre", "user_feature-city"}
    assert set(encodings.maps) == {"users", "items", "history_users", "event_types", *features}
    assert Encodings.from_maps(encodings.maps) == encodings


def test_event_types_are_those_trained_on_and_others_are_oov(tables: DatasetTables) -> None:
    """The stream's codes number all names; a net has rows for what it has seen."""
    number = len(tables.stream)
    stream = replace(
        tables.stream, events=np.where(np.arange(number) < number - 2, 2, 0), event_types=("buy", "click", "view")
    )
    encodings = Encodings.fit(tables, stream.before(stream.timestamps[-2]), 3)
    assert encodings.event_types.ids == ("view",)
    assert encodings.sizes.event_types == 2
    universe = Universe.encode(encodings, replace(tables, stream=stream))
    assert universe.event_ids.tolist() == [0, 0, 1]


def test_universe_maps_the_unknown_to_oov_but_keeps_its_features(tables: DatasetTables) -> None:
    past = before_cutoff(tables)
    encodings = Encodings.fit(past, past.stream, 3)
    universe = Universe.encode(encodings, tables)
    rows = {item: row for row, item in enumerate(tables.catalog.item_ids)}
    assert universe.item_ids[rows["future"]] == 0
    assert universe.item_ids[[rows[item] for item in "vwxyz"]].tolist() == [1, 2, 3, 4, 5]
    assert universe.item_features["genre"][rows["w"]].tolist() == [1, 3]
    assert universe.item_features["genre"][rows["z"]].tolist() == [0, PADDING]
    assert universe.item_features["genre"][rows["future"]].tolist() == [0, 0]
    people = tables.users["user_id"].tolist()
    assert people == ["ann", "bob", "cat", "dan"]
    assert universe.user_ids.tolist() == [1, 2, 3, 0]
    assert universe.history_user_ids.tolist() == [1, 2, 0, 0]  # numbered among themselves


def test_a_missing_feature_column_is_named(tables: DatasetTables) -> None:
    encodings = Encodings.fit(tables, tables.stream, 3)
    without = replace(tables, users=tables.users.drop(columns="city"))
    with pytest.raises(ValueError, match="'users' lacks the feature column 'city'"):
        Universe.encode(encodings, without)


def test_lists_are_left_aligned() -> None:
    column = pd.Series(
        [["b", "a"], None, [], [None, "a"], np.array(["zz", "b", "a"], dtype=object)], index=[9, 8, 7, 6, 5]
    )
    encoded = encode_lists(column, IdMap(("a", "b")))
    assert encoded.tolist() == [[2, 1, -1], [0, -1, -1], [0, -1, -1], [1, -1, -1], [0, 2, 1]]


def test_lists_of_nothing_have_one_slot() -> None:
    assert encode_lists(pd.Series([[], None]), IdMap(("a",))).tolist() == [[0], [0]]
