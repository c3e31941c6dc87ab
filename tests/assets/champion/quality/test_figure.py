"""The figure of champions and floor over partitions."""

import numpy as np
import pandas as pd
import pytest

from dashboards.quality_over_time import MOST_PARTITIONS, quality_png

PNG = b"\x89PNG"


def quality(days=5, checkpoints=("a" * 12,)):
    rows = [
        (checkpoint, "ihm_sasrec", contender, pd.Timestamp("2024-03-04") + pd.Timedelta(day, "D"), metric, value)
        for checkpoint in checkpoints
        for day in range(days)
        for contender, value in (("champion", 0.3 - day / 1000), ("floor", 0.2))
        for metric in ("hr", "ndcg")
    ]
    frame = pd.DataFrame(rows, columns=["checkpoint", "model", "contender", "starts_at", "metric", "value"])
    return frame.assign(slice="overall", k=10, ci_low=frame["value"] - 0.05, ci_high=frame["value"] + 0.05, n=40)


def test_equal_frames_give_equal_pictures_and_others_do_not() -> None:
    days = {"reference": (np.datetime64("2024-03-04"), np.datetime64("2024-03-06"))}
    first = quality_png(quality(), 10, days, 100, "toy")
    assert first.startswith(PNG)
    assert quality_png(quality(), 10, days, 100, "toy") == first
    assert quality_png(quality(), 10, days, 10, "toy") != first  # no hollow points
    assert quality_png(quality(checkpoints=("a" * 12, "b" * 12)), 10, days, 100, "toy") != first


def test_the_latest_partitions_are_drawn() -> None:
    many = quality(MOST_PARTITIONS + 5)
    latest = many[many["starts_at"] >= many["starts_at"].max() - pd.Timedelta(MOST_PARTITIONS - 1, "D")]
    assert quality_png(many, 10, {}, 100, "toy") == quality_png(latest, 10, {}, 100, "toy")


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(ValueError, match="was any partition measured"):
        quality_png(quality().assign(slice="no_history"), 10, {}, 100, "toy")
