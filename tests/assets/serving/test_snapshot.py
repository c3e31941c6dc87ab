import numpy as np
import pytest

from assets.serving.snapshot import example_search, item_snapshot, serving_instant, user_sample
from assets.storage import Storage, write_parquet
from assets.stream import load_tables
from tests.assets.serving.fakes import ITEMS, USERS, RandomRecommender


def test_the_snapshot_is_taken_just_after_the_last_engagement(storage: Storage, recommender: RandomRecommender) -> None:
    tables = load_tables(storage)
    snapshot = item_snapshot(tables, recommender)
    last = np.datetime64("2020-01-13T11:00:00.000000")
    assert snapshot.instant == serving_instant(tables) == last + np.timedelta64(1, "us")
    assert recommender.asked == [(ITEMS, snapshot.instant)]
    assert snapshot.item_ids == [f"i{number:03}" for number in range(ITEMS)]
    np.testing.assert_array_equal(snapshot.vectors, recommender.items.numpy())


def test_items_that_are_not_available_yet_are_left_out(storage: Storage, recommender: RandomRecommender) -> None:
    items = storage.read_table("items")
    items.loc[items["item_id"] == "i007", "available_at"] = np.datetime64("2021-01-01T00:00:00.000000")
    items.loc[items["item_id"] == "i008", "available_at"] = np.datetime64("NaT")
    write_parquet(storage.table("items"), items)
    snapshot = item_snapshot(load_tables(storage), recommender)
    kept = [number for number in range(ITEMS) if number not in (7, 8)]
    assert snapshot.item_ids == [f"i{number:03}" for number in kept]
    np.testing.assert_array_equal(snapshot.vectors, recommender.items.numpy()[kept])


def test_sampled_users_carry_their_own_vectors_and_everything_they_saw(
    storage: Storage, recommender: RandomRecommender
) -> None:
    sample = user_sample(load_tables(storage), recommender, USERS + 10, seed=1)
    assert sorted(sample.user_ids) == [f"u{number:02}" for number in range(USERS)]
    for row, user in enumerate(sample.user_ids):
        number = int(user[1:])
        np.testing.assert_array_equal(sample.vectors[row], recommender.users[number].numpy())
        assert sample.seen[row] == [f"i{item:03}" for item in range(number, ITEMS, USERS)]


def test_a_sample_depends_on_its_seed_alone_and_halves_share_nobody(
    storage: Storage, recommender: RandomRecommender
) -> None:
    tables = load_tables(storage)
    first, again, other = (user_sample(tables, recommender, 10, seed) for seed in (1, 1, 2))
    assert first.user_ids == again.user_ids != other.user_ids
    halves = [first.take(slice(start, None, 2)) for start in (0, 1)]
    assert sorted(halves[0].user_ids + halves[1].user_ids) == sorted(first.user_ids)
    assert len(halves[0].seen) == len(halves[0].vectors) == 5


def test_no_engagements_is_a_clear_error(storage: Storage, recommender: RandomRecommender) -> None:
    write_parquet(storage.table("interactions"), storage.read_table("interactions").iloc[:0])
    with pytest.raises(ValueError, match="interactions table is empty"):
        item_snapshot(load_tables(storage), recommender)


def test_an_example_shows_titles_and_falls_back_to_ids(storage: Storage, recommender: RandomRecommender) -> None:
    items = storage.read_table("items")
    items.loc[items["item_id"] == "i002", "title"] = None
    write_parquet(storage.table("items"), items)
    tables = load_tables(storage)
    sample = user_sample(tables, recommender, 1, seed=0)
    text = example_search(tables, sample, ["i001", "i002", None], np.array([2.5, 1, -np.inf], np.float32))
    lines = text.splitlines()
    assert lines[0].startswith(f"**User {sample.user_ids[0]}**, latest first: title of {sample.seen[0][-1]}, ")
    assert lines[-2:] == ["| 1 | title of i001 | 2.500 |", "| 2 | i002 | 1.000 |"]
