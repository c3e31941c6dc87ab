"""Days of a simulated world as the frames that drift is judged on, without files: for many days in little time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from assets.ingestion.simulation.days import simulate
from assets.ingestion.simulation.world import Scale, make_world
from dashboards.partition_features import ACTIVITY_DAYS, COUNT, partition_features

WARM_UP, REFERENCE_DAYS = 28, 28
START = np.datetime64("2024-01-01", "us")
DAY = np.timedelta64(1, "D").astype("timedelta64[us]")
NEVER_ENDING = 100_000
"""Days, so that the simulator's growth over all its days is nothing over the few that are taken."""


@dataclass(frozen=True)
class Days:
    """Features of the reference and of every day after it."""

    reference: pd.DataFrame
    days: list[pd.DataFrame]


def scale(seed: int, rows_a_day: int, shift_day: int | None = None, shift_size: float = 0.5) -> Scale:
    """A world in which nothing changes: no drift of tastes, nobody joins, nothing is born, nothing ages."""
    return Scale(
        users=800,
        items=500,
        days=NEVER_ENDING,
        engagements=rows_a_day * NEVER_ENDING,
        seed=seed,
        topics=12,
        authors=200,
        zipf_exponent=0.9,
        catalog_share=1.0,
        lifetime_days=1e9,
        drift=0.0,
        repeat_memory_days=1,
        joined_share=1.0,
        shift_day=shift_day,
        shift_size=shift_size,
    )


def days_of(chosen: Scale, count: int) -> Days:
    """The reference's days and ``count`` days after them."""
    world = make_world(chosen)
    rows = _rows(chosen, WARM_UP + REFERENCE_DAYS + count)
    ruler = START + WARM_UP * DAY
    before = rows["timestamp"] < ruler
    counts = np.bincount(rows["item_id"][before], minlength=chosen.items)
    slices = np.where(counts == 0, "cold", np.where(counts > 10, "head", "tail"))
    items = pd.DataFrame(
        {
            "item_id": np.arange(chosen.items),
            COUNT: counts,
            "available_at": START + world.birth * np.timedelta64(1_000_000, "us"),
            "category": np.char.add("topic-", world.topic.astype(str)).astype(object),
            "item_slice": slices.astype(object),
        }
    )
    rows["user_known"] = rows["user_id"].isin(rows["user_id"][before].unique())
    rows["partition"] = rows["timestamp"].dt.floor("D")
    features = partition_features(rows, items)
    number = ((features["partition"] - pd.Timestamp(START)) / pd.Timedelta(1, "D")).to_numpy(int)
    cutoff = WARM_UP + REFERENCE_DAYS
    reference = features[(number >= WARM_UP) & (number < cutoff)].reset_index(drop=True)
    return Days(reference, [features[number == day] for day in range(cutoff, cutoff + count)])


def _rows(chosen: Scale, days: int) -> pd.DataFrame:
    frames = list(_frames(chosen, days))
    rows = pd.concat(frames, ignore_index=True)
    daily = np.zeros((chosen.users, days + ACTIVITY_DAYS))
    day = rows["day"].to_numpy()
    np.add.at(daily, (rows["user_id"].to_numpy(), day + ACTIVITY_DAYS), 1)
    summed = np.cumsum(np.pad(daily, ((0, 0), (1, 0))), axis=1)
    users = rows["user_id"].to_numpy()
    rows["engaged_before"] = summed[users, day + ACTIVITY_DAYS] - summed[users, day]
    rows["unit"] = users * days + day
    return rows


def _frames(chosen: Scale, days: int) -> Iterator[pd.DataFrame]:
    for number, day in zip(range(days), simulate(chosen, make_world(chosen)), strict=False):
        yield pd.DataFrame(
            {
                "user_id": day.users,
                "item_id": day.items,
                "timestamp": START + day.seconds * np.timedelta64(1_000_000, "us"),
                "value": 1.0,
                "day": number,
            }
        )
