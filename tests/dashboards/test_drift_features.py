"""Columns of engagements against hand-computed values, and the sides that are compared."""

import numpy as np
import pandas as pd
import pytest

from dashboards import drift_features as drift
from tests.support import interactions_frame


@pytest.fixture
def interactions() -> pd.DataFrame:
    frame = interactions_frame(
        [
            ("a", "x", "2001-01-01T05:00:00"),  # a Monday
            ("a", "y", "2001-01-02T05:00:00"),
            ("b", "x", "2001-01-02T05:00:00"),
            ("a", "z", "2001-01-02T05:00:00"),
            ("c", "x", "2001-01-14T23:30:00"),
        ]
    )
    frame["split"] = ["train", "train", "validation", "train", "test"]
    frame["window"] = pd.array([None, None, None, None, 0], dtype="Int32")
    return frame


@pytest.fixture
def items() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "item_id": ["x", "y", "z"],
            "title": None,
            "created_at": pd.NaT,
            "available_at": pd.to_datetime(["2001-01-01T05:00", "2001-01-02T00:00", "2001-01-02T00:00"]),
            "first_engaged_at": pd.NaT,
            "train_count": [2, 1, 1],
            "slice": ["head", "tail", "tail"],
            "author": [["q"], ["r"], ["s"]],
            "genre": [["drama", "war"], [], ["war"]],
        }
    )


@pytest.fixture
def users() -> pd.DataFrame:
    return pd.DataFrame({"user_id": ["a", "b", "c"], "train_count": [3, 1, 0]})


def test_columns_by_hand(interactions: pd.DataFrame, items: pd.DataFrame, users: pd.DataFrame) -> None:
    features = drift.engagement_features(interactions, items, users)
    assert np.expm1(features[drift.ITEM_POPULARITY]).round(9).tolist() == [2, 1, 2, 1, 2]
    # a's second and third engagement share an instant: only the first is strictly earlier for both.
    assert np.expm1(features[drift.USER_ACTIVITY]).round(9).tolist() == [0, 1, 0, 1, 0]
    assert features[drift.ITEM_AGE_DAYS].tolist() == pytest.approx([0, 5 / 24, 1, 5 / 24, 13 + 18.5 / 24])
    assert features[drift.CATEGORY].tolist() == ["drama", "(none)", "drama", "war", "drama"]
    assert features[drift.USER_KNOWN].tolist() == ["yes", "yes", "yes", "yes", "no"]
    assert features[drift.HOUR].tolist() == ["05", "05", "05", "05", "23"]
    assert features[drift.WEEKDAY].tolist() == ["1 Mon", "2 Tue", "2 Tue", "2 Tue", "7 Sun"]
    assert features[drift.ITEM_SLICE].tolist() == ["head", "tail", "head", "tail", "head"]
    assert set(features.columns) == {"split", "window", *drift.MEANING}


def test_columns_do_not_depend_on_later_engagements(
    interactions: pd.DataFrame, items: pd.DataFrame, users: pd.DataFrame
) -> None:
    whole = drift.engagement_features(interactions, items, users)
    pd.testing.assert_frame_equal(whole.iloc[:4], drift.engagement_features(interactions.iloc[:4], items, users))


def test_sides(interactions: pd.DataFrame, items: pd.DataFrame, users: pd.DataFrame) -> None:
    features = drift.engagement_features(interactions, items, users)
    assert (len(drift.train_side(features)), len(drift.window_side(features, 0))) == (4, 1)
    assert drift.window_side(features, 1).empty


def test_rare_categories_are_put_together(
    interactions: pd.DataFrame, users: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, items: pd.DataFrame
) -> None:
    monkeypatch.setattr(drift, "TOP_CATEGORIES", 1)
    features = drift.engagement_features(interactions, items, users)
    assert features[drift.CATEGORY].tolist() == ["drama", "(none)", "drama", "(other)", "drama"]


def test_the_category_is_the_preferred_feature_or_the_first_or_none(items: pd.DataFrame) -> None:
    assert drift.category_feature(items) == "genre"
    assert drift.category_feature(items.drop(columns=["genre"]).rename(columns={"author": "label"})) == "label"
    assert drift.category_feature(items.drop(columns=["genre", "author"])) is None


def test_items_without_features_have_no_category(
    interactions: pd.DataFrame, items: pd.DataFrame, users: pd.DataFrame
) -> None:
    features = drift.engagement_features(interactions, items.drop(columns=["genre", "author"]), users)
    assert set(features[drift.CATEGORY]) == {"(none)"}


def test_an_unknown_id_is_named(interactions: pd.DataFrame, items: pd.DataFrame, users: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="user_id 'c' has engagements and no row"):
        drift.engagement_features(interactions, items, users.head(2))


def test_draw_is_seeded_without_replacement_and_in_order() -> None:
    side = pd.DataFrame({"n": range(1000)})
    first, again, other = (drift.draw(side, 100, seed)["n"].tolist() for seed in (0, 0, 1))
    assert first == again != other
    assert first == sorted(set(first))
    assert len(first) == 100
    assert drift.draw(side, 2000, 0)["n"].tolist() == list(range(1000))
