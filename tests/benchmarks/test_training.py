"""The training benchmark counts what it says and gives both sides the same sizes and data."""

import numpy as np
import pytest

from assets.config import load_settings
from assets.stream import DatasetTables
from benchmarks.training import (
    Measured,
    Metered,
    fast_epoch_seconds,
    made_up,
    net_preset,
    plain_side,
    plain_speed,
    shape_of,
    speed_row,
)

MODEL = "ihm_sasrec"
SETTINGS = load_settings({})


@pytest.fixture(scope="module")
def tables() -> DatasetTables:
    return made_up(users=12, items=30, engagements=240)


def test_made_up_engagements_reach_every_item_in_order_of_time(tables: DatasetTables) -> None:
    stream = tables.stream
    assert len(stream) == 240
    assert set(stream.items) == set(range(30))
    assert (np.diff(stream.timestamps.astype(np.int64)) >= 0).all()
    assert stream.timestamps[-1] < tables.cutoff
    assert tables.catalog.train_count.tolist() == np.bincount(stream.items).tolist()


def test_our_side_counts_every_first_engagement_in_each_measured_epoch(tables: DatasetTables) -> None:
    pairs = set(zip(tables.stream.users.tolist(), tables.stream.items.tolist(), strict=True))
    measured = fast_epoch_seconds(MODEL, tables, SETTINGS, threads=1, epochs=2)
    assert measured.interactions == 2 * len(pairs)
    assert min(measured.wall, measured.cpu, measured.peak_mib) > 0


def test_a_metered_source_stops_after_its_steps() -> None:
    class Batch:
        targets = (1, 2, 3)

    source = Metered([Batch()] * 5, steps=2)  # type: ignore[arg-type]
    assert len(source) == len(list(source)) == 2
    assert source.targets == 6
    assert len(Metered([Batch()] * 5, steps=None)) == 5  # type: ignore[arg-type]


def test_the_plain_side_has_our_sizes_and_counts_real_positions_only(tables: DatasetTables) -> None:
    shape = shape_of(MODEL, SETTINGS)
    config = net_preset(MODEL, SETTINGS).net
    assert (shape.dim, shape.length) == (config.dim, config.users.history_length)
    net, sampler = plain_side(tables, SETTINGS, shape)
    (batch,) = sampler.epoch(100)
    assert batch.target_users.shape == (12, shape.length, shape.item_history)
    assert batch.interactions == 240  # no user has more than 50 engagements, so each is a target
    assert net.item_vectors(batch.targets, batch.target_users).shape == (12, shape.length, shape.dim)
    measured = plain_speed(tables, SETTINGS, shape, threads=1, users=12, seconds=0.01)
    assert measured.interactions % 240 == 0
    assert 0 < measured.sampling < measured.wall


def test_a_model_without_item_histories_has_no_plain_side() -> None:
    with pytest.raises(TypeError, match="sasrec is no item history model"):
        shape_of("sasrec", SETTINGS)


def test_a_row_gives_both_rates_and_their_ratios() -> None:
    fast = Measured(interactions=1000, wall=2.0, cpu=1.0, sampling=0.0, peak_mib=7.0)
    plain = Measured(interactions=100, wall=2.0, cpu=4.0, sampling=0.5, peak_mib=8.0)
    assert speed_row("set", 1, fast, plain) == ["set", 1, 500, 50, 10, 1000, 25, 40, "25%", 7, 8]
    assert speed_row("set", 1, None, plain) == ["set", 1, None, 50, None, None, 25, None, "25%", None, 8]
