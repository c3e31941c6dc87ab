import hashlib
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from assets.config import PROJECT_ROOT
from assets.ingestion.simulation import days as days_module
from assets.ingestion.simulation.days import daily_counts, simulate
from assets.ingestion.simulation.options import SimulatedOptions
from assets.ingestion.simulation.world import make_world, shifted
from assets.ingestion.statistics import gini, popularity_slope

SMALL: dict[str, Any] = {"users": 400, "items": 300, "days": 40, "engagements": 9_000, "shift_day": 20}
GOLDEN = "6bbdd367fe5f6b09cbf9c05e18d9b15cdf7fbede7133d32fbaa1b318831a3e0d"
PRINT_DIGEST = "from tests.assets.ingestion.simulation.test_days import digest; print(digest())"
SESSION_END = 1_800


def digest() -> str:
    """Over all that is drawn."""
    scale = SimulatedOptions(**SMALL).scale
    world, found = make_world(scale), hashlib.sha256()
    for drawn in (world.author, world.birth, world.appeal, world.favourite, world.home, world.activity, world.joined):
        found.update(np.ascontiguousarray(drawn).tobytes())
    for day in simulate(scale, world):
        for column in (day.users, day.items, day.seconds):
            found.update(column.astype("<i8").tobytes())
    return found.hexdigest()


def frame(**options: Any) -> pd.DataFrame:
    scale = SimulatedOptions(**options).scale
    rows = list(simulate(scale, make_world(scale)))
    return pd.DataFrame(
        {
            "user": np.concatenate([day.users for day in rows]),
            "item": np.concatenate([day.items for day in rows]),
            "seconds": np.concatenate([day.seconds for day in rows]),
            "day": np.repeat(np.arange(len(rows)), [len(day.users) for day in rows]),
        }
    )


def test_the_stream_is_the_one_that_it_has_always_been() -> None:
    assert digest() == GOLDEN, "numpy's streams or the simulator changed: say so in docs/simulator.md"


def test_a_processor_without_vector_units_draws_the_same() -> None:
    features = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR AVX2 FMA3 X86_V3 X86_V4"
    plain = {**os.environ, "NPY_DISABLE_CPU_FEATURES": features, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", PRINT_DIGEST], capture_output=True, text=True, cwd=PROJECT_ROOT, env=plain, check=True
    )
    assert done.stdout.strip() == GOLDEN


def test_counts_of_days_sum_to_the_whole() -> None:
    scale = SimulatedOptions(engagements=12_345, days=33).scale
    counts = daily_counts(scale)
    assert (len(counts), counts.sum()) == (33, 12_345)
    assert counts.min() > 0.4 * counts.max()


def test_blocks_of_a_day_change_nothing_that_is_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = frame(**SMALL)
    monkeypatch.setattr(days_module, "LOGITS_AT_ONCE", 12 * 7)
    parts = frame(**SMALL)
    assert not parts.duplicated(["user", "item"]).any()
    assert parts["seconds"].is_monotonic_increasing
    assert abs(len(parts) - len(whole)) < 0.02 * len(whole)


@pytest.mark.parametrize("size", [{"users": 300, "joined_share": 0.0, "days": 365}, {"users": 3, "joined_share": 0.5}])
def test_a_day_before_anybody_has_joined_has_no_engagements(size: dict[str, Any]) -> None:
    options = {"items": 200, "engagements": 3_000, **size}
    empty = 0
    for seed in range(8):
        scale = SimulatedOptions(seed=seed, **options).scale
        joined, log = make_world(scale).joined, frame(seed=seed, **options)
        empty += int(joined.min() > 0)
        assert (joined[log["user"]] <= log["day"]).all()
        assert log["day"].min() >= joined.min()
        asked = daily_counts(scale)[joined.min() :].sum()
        assert 0 < len(log) <= asked
    assert empty, "no world without users on its first day: the test tests nothing"


def test_a_pair_repeats_after_its_memory_and_not_before() -> None:
    log = frame(users=30, items=30, days=80, engagements=6_000, repeat_memory_days=12, authors=5)
    gaps = log.groupby(["user", "item"])["day"].diff().dropna()
    assert gaps.min() > 12
    assert 13 <= gaps.median() < 40


@pytest.mark.parametrize(("length", "pause"), [(1.0, 240.0), (3.0, 60.0), (8.0, 240.0)])
def test_sessions_are_as_long_as_asked(length: float, pause: float) -> None:
    log = frame(
        users=20_000, items=9_000, days=4, engagements=20_000, session_length=length, session_pause_seconds=pause
    ).sort_values(["user", "seconds"], kind="stable")
    gap = log.groupby("user")["seconds"].diff()
    within = gap[gap <= SESSION_END]
    begun = gap.isna() | (gap > SESSION_END)
    assert abs(len(log) / begun.sum() / length - 1) < 0.08
    if length > 1:
        assert abs(within.mean() / pause - 1) < 0.1


def test_births_a_day_are_as_many_as_asked() -> None:
    scale = SimulatedOptions(items=5_000, days=100, births_per_day=20.0).scale
    born = make_world(scale).birth // 86_400
    per_day = np.bincount(born[born >= 0], minlength=100)
    assert abs(per_day.mean() - 20) < 2
    assert per_day.max() < 50
    assert (make_world(SimulatedOptions(births_per_day=0.0).scale).birth < 0).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"births_per_day": 1.0, "catalog_share": 0.5}, "set one of them"),
        ({"births_per_day": 21.0}, "more than the 2500 items"),
        ({"session_length": 0.5}, "session_length"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        SimulatedOptions(**options)


def test_the_tail_follows_its_knobs() -> None:
    def counts(column: str, **options: Any) -> np.ndarray:
        log = frame(users=2_000, items=1_500, engagements=40_000, days=30, **options)
        return log[column].value_counts().to_numpy()

    slopes = [popularity_slope(counts("item", zipf_exponent=one))[0] for one in (0.3, 0.9, 1.4)]
    assert slopes[0] > slopes[1] + 0.1 > slopes[2] + 0.2
    even, uneven = (gini(counts("user", activity_spread=one, joined_share=1.0)) for one in (0.0, 1.5))
    assert even < 0.3
    assert uneven > 0.6


def test_an_old_item_keeps_what_evergreen_leaves_it() -> None:
    def late_share_on_old(evergreen: float) -> float:
        scale = SimulatedOptions(**SMALL | {"days": 120, "shift_day": None, "evergreen": evergreen}).scale
        world = make_world(scale)
        rows = list(simulate(scale, world))[90:]
        return float((world.birth[np.concatenate([day.items for day in rows])] < 0).mean())

    assert late_share_on_old(0.0) + 0.2 < late_share_on_old(1.0)


def test_a_shift_moves_the_share_that_it_should() -> None:
    scale = SimulatedOptions(users=4_000, items=4_000, shift_day=3, shift_size=0.25).scale
    world = make_world(scale)
    after = shifted(scale, world)
    assert abs((after.home != world.home).any(axis=1).mean() - 0.25) < 0.03
    assert 0.2 < (after.appeal != world.appeal).mean() < 0.28
    np.testing.assert_array_equal(np.sort(after.appeal), np.sort(world.appeal))
