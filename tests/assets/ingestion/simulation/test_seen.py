import numpy as np
import pytest

from assets.ingestion.simulation.seen import Claims, Seen, hashed

MANY = 50_000


def _keys(day: int, count: int = MANY) -> np.ndarray:
    return np.arange(count, dtype=np.int64) * 1_000_003 + day


def test_no_pair_is_forgotten_and_few_are_made_up() -> None:
    seen = Seen(days=3, memory_days=3, most_per_day=MANY)
    for day in range(3):
        seen.begin(day)
        seen.add(hashed(_keys(day)))
    assert all(seen.holds(hashed(_keys(day))).all() for day in range(3))
    assert seen.holds(hashed(_keys(77))).mean() < 1 / 16


@pytest.mark.parametrize("memory", [1, 3, 4, 10, 30])
def test_a_pair_is_remembered_as_long_as_asked_and_a_fourth_longer_at_most(memory: int) -> None:
    days = 100
    seen = Seen(days, memory, most_per_day=1_000)
    begun = 7
    for day in range(days):
        seen.begin(day)
        if day == begun:
            seen.add(hashed(_keys(0, 1_000)))
        share = seen.holds(hashed(_keys(0, 1_000))).mean()
        if begun <= day <= begun + memory:
            assert share == 1.0, f"forgotten after {day - begun} days"
        if day > begun + memory + -(-memory // 4):
            assert share == 0.0, f"remembered after {day - begun} days"


def test_a_claim_is_given_once_for_a_key() -> None:
    keys = np.repeat(np.arange(5_000, dtype=np.int64), 3)
    won = Claims(len(keys)).unique(hashed(keys))
    winners = keys[won]
    assert len(np.unique(winners)) == len(winners)
    assert len(winners) > 0.85 * 5_000, "few lose their claim to another key"


def test_claims_of_an_earlier_call_do_not_count() -> None:
    claims, keys = Claims(10), np.arange(10, dtype=np.int64)
    assert claims.unique(hashed(keys)).all()
    assert claims.unique(hashed(keys)).all()
