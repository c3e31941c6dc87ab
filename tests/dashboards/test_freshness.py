"""The freshness figure."""

import pandas as pd
import pytest

from dashboards.freshness import freshness_png

HOPS = ("seen", "indexed")


def table(groups: int) -> pd.DataFrame:
    rows = [
        {"group": f"2020-01-{number:02}", "hop": hop, "mean": 1.0, "p50": 1.0, "p95": 2.0, "p99": float("nan")}
        for number in range(groups)
        for hop in (*HOPS, "searchable")
    ]
    return pd.DataFrame(rows, columns=["group", "hop", "mean", "p50", "p95", "p99"])


@pytest.mark.parametrize("groups", [1, 31, 100])
def test_equal_reports_give_equal_pictures(groups: int) -> None:
    png = freshness_png(table(groups), HOPS, "searchable", 60.0, "toy")
    assert png.startswith(b"\x89PNG")
    assert png == freshness_png(table(groups), HOPS, "searchable", 60.0, "toy")
    assert png != freshness_png(table(groups).assign(mean=9.0), HOPS, "searchable", 60.0, "toy")


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(ValueError, match="nothing landed yet"):
        freshness_png(table(0), HOPS, "searchable", 60.0, "toy")
