"""Sizing on paper: its formulas against counting, and the page against what the program prints."""

import numpy as np
import pytest

from benchmarks.sizing import DAY, GIB, PAGE, Prices, UnitCosts, Workload, parts, section, tables, touched_items


def drawn_distinct(items: int, engagements: int, exponent: float) -> float:
    """Distinct items of so many engagements, drawn one by one; the mean of 20 trials."""
    weights = np.arange(1, items + 1, dtype=float) ** -exponent
    rng = np.random.default_rng(0)
    trials = [len(set(rng.choice(items, engagements, p=weights / weights.sum()))) for _ in range(20)]
    return float(np.mean(trials))


@pytest.mark.parametrize("exponent", [0.0, 0.92, 1.3])
def test_touched_items_are_as_many_as_drawing_finds(exponent: float) -> None:
    expected = drawn_distinct(5_000, 4_000, exponent)
    assert touched_items(5_000, 400.0, 10.0, exponent) == pytest.approx(expected, rel=0.02)


def test_few_engagements_touch_an_item_each_and_many_touch_all() -> None:
    assert touched_items(1e8, 1.0, 1.0, 0.0) == pytest.approx(1.0, rel=1e-6)
    assert touched_items(100, 1e6, 1e3, 0.5) == pytest.approx(100.0)


def test_parts_by_hand() -> None:
    """Ten engagements a second: .864 million a day, 10 days of them in every training."""
    load = Workload(
        items=1e6, users=1e3, engagements=10.0, train_days=10, retrain_days=5, requests_per_user=86.4, peak=2.0,
        shard_items=1e6, replicas=3, headroom=2.0, user_history=10, dimension=16, zipf_exponent=0.0,
        minimum_interval=1.0,
    )  # fmt: skip
    cost = UnitCosts(
        ingest=1e-3, transform=2e-3, check=3e-3, train=4e-3, log_features=5e-3, embed=6e-3, upsert=7e-3, search=0.5,
        search_items=1e6, parquet=10.0, store_item=100.0,
    )  # fmt: skip
    found = {part.name.split(",")[0]: part for part in parts(load, cost)}
    assert found["ingestion"].cores == pytest.approx(10 * 1e-3)
    assert found["ingestion"].stored == pytest.approx(10 * DAY * 10 * 10.0)
    assert found["transforms"].cores == pytest.approx(10 * 10 / 5 * 2e-3)
    assert found["quality checks"].cores == pytest.approx(10 * 10 / 5 * 3e-3)
    assert found["training"].cores == pytest.approx(10 * 10 / 5 * 4e-3)
    assert found["training"].memory == pytest.approx(3 * (1e6 + 1e3) * 16 * 4)
    assert found["feature logging"].cores == pytest.approx(2 * 10 * 5e-3)
    assert found["feature logging"].memory == pytest.approx(3 * (1e6 * 100 + 1e3 * 10 * 28))
    assert found["embedding touched items"].cores == pytest.approx(2 * 10 * 6e-3, rel=1e-4)  # of 1e6, all distinct
    assert found["index updates"].cores == pytest.approx(2 * 3 * 10 * 7e-3, rel=1e-4)
    assert found["search"].cores == pytest.approx(2 * (2 * 1e3 * 86.4 / DAY) * 1 * 0.5)


def test_a_shard_of_four_times_the_items_searches_twice_as_long() -> None:
    small, large = Workload(shard_items=1e6), Workload(shard_items=4e6)
    per_shard = [part.cores * load.shard_items for load in (small, large) for part in parts(load, UnitCosts())[-1:]]
    assert per_shard[1] / per_shard[0] == pytest.approx(2.0)


def test_memory_beyond_what_cores_bring_is_paid_for() -> None:
    prices = Prices(core_hour=1.0, gib_hour=0.1, gib_per_core=4.0)
    assert prices.month(2.0, 8 * GIB) == pytest.approx(2 * 720)
    assert prices.month(2.0, 18 * GIB) == pytest.approx(2 * 720 + 10 * 0.1 * 720)


def test_the_last_row_is_the_sum_of_those_above() -> None:
    """Also of the dollars: memory that search leaves unused is of no use to the machines of the feature store."""
    *rows, total = [
        [float(cell.replace(",", "") or 0) for cell in map(str.strip, line.split("|")[3:7])]
        for line in tables(Workload(), UnitCosts(), Prices()).splitlines()[2:]
    ]
    np.testing.assert_allclose(np.sum(rows, axis=0), total, rtol=1e-3)


def test_the_page_shows_what_the_program_prints() -> None:
    assert section() in PAGE.read_text(encoding="utf-8"), "run python -m benchmarks.sizing --write"
