"""Landed partitions on a tiny served dataset, against what pandas says of the same rows."""

import json
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from assets.config import Settings
from assets.monitoring.partitions.assets import partition_drift
from assets.monitoring.partitions.measure import Measured, measure_partitions
from assets.monitoring.partitions.reports import remove_older, report_path, reported
from assets.monitoring.partitions.source import open_source
from assets.monitoring.tables import read_drift, read_verdicts
from assets.serving.live import batch_rows
from assets.serving.live.removal import forget_user
from assets.storage import write_text
from tests.assets.serving.live.conftest import Live
from tests.support import Row

DAY = "2024-03-07"
NEXT = "2024-03-08"


def rows_of(day: str, count: int = 60, item: int = 12) -> list[Row]:
    """Distinct engagements of the users of the base, and of two new ones with a new item."""
    known = [(f"u{at % 15:02d}", f"i{at % item:02d}", f"{day}T{at % 24:02d}:{at // 24:02d}:00") for at in range(count)]
    return [*known, ("new-1", "i00", f"{day}T05:30:00"), ("new-2", "new", f"{day}T06:30:00")]


def settings_of(live: Live, **drift: object) -> Settings:
    return live.settings.model_copy(update={"drift": live.settings.drift.model_copy(update=drift)})


def measured(live: Live, *names: str, **drift: object) -> list[Measured]:
    return list(measure_partitions(live.storage, settings_of(live, **drift), names))


def everything(live: Live) -> pd.DataFrame:
    with live.opened() as opened:
        rows = batch_rows.engagements(opened)
    columns = ["user_id", "item_id", "timestamp", "event_type", "value"]
    return rows[columns].sort_values(columns, ignore_index=True)


def view(live: Live) -> pd.DataFrame:
    with open_source(live.storage) as source:
        rows = source.frame("SELECT * FROM engagements")
    rows["value"] = rows["value"].astype(float)
    return rows.sort_values(list(rows.columns), ignore_index=True)


def test_the_view_holds_what_was_applied_once_and_without_the_removed(live: Live) -> None:
    live.land(rows_of(DAY))
    live.process()
    live.land([*rows_of(DAY)[:10], *rows_of(NEXT, 20)])  # ten repeats beside what is new
    live.process()
    live.land(rows_of("2024-03-09"))  # not applied
    pd.testing.assert_frame_equal(view(live), everything(live), check_dtype=False)
    forget_user(live.storage, "u03", live.settings)
    rows = view(live)
    assert "u03" not in set(rows["user_id"])
    pd.testing.assert_frame_equal(rows, everything(live), check_dtype=False)


def test_volumes_are_those_of_all_its_engagements(live: Live) -> None:
    live.land(rows_of(DAY))
    live.process()
    (one,) = measured(live, DAY)
    every = everything(live)
    trained = every[every["timestamp"] < "2024-03-04"]["item_id"].value_counts()
    rows = every[(every["timestamp"] >= DAY) & (every["timestamp"] < NEXT)]
    counts = rows["item_id"].map(trained).fillna(0)
    slices = np.where(counts == 0, "cold", np.where(counts > live.settings.split.tail_max_count, "head", "tail"))
    volumes = one.verdict.volumes
    assert (volumes["engagements"], volumes["users"], volumes["items"]) == (62, 17, 13)
    assert volumes["unknown_user_share"] == pytest.approx(2 / 62)
    assert volumes["cold_share"] == pytest.approx((slices == "cold").mean())
    assert volumes["tail_share"] == pytest.approx((slices == "tail").mean())
    assert volumes["events_per_hour"] == pytest.approx(62 / 24)
    assert one.verdict.judged
    assert one.verdict.rows == 62


def test_columns_against_pandas(live: Live) -> None:
    live.land(rows_of(DAY))
    live.process()
    (one,) = measured(live, DAY)
    every, current = everything(live), one.current
    assert current is not None
    rows = every[(every["timestamp"] >= DAY) & (every["timestamp"] < NEXT)]
    rows = rows.sort_values(["timestamp", "user_id", "item_id"], ignore_index=True)
    before = every[every["timestamp"] < pd.Timestamp(one.reference.begins_at)]
    counts = rows["item_id"].map(before["item_id"].value_counts()).fillna(0)
    week = every[(every["timestamp"] < DAY) & (every["timestamp"] >= pd.Timestamp(DAY) - pd.Timedelta(7, "D"))]
    active = rows["user_id"].map(week["user_id"].value_counts()).fillna(0)
    np.testing.assert_allclose(np.expm1(current["item_popularity"]), counts)
    np.testing.assert_allclose(np.expm1(current["user_activity"]), active)
    assert current["user_known"].tolist() == np.where(rows["user_id"].isin(before["user_id"]), "yes", "no").tolist()
    assert current["unit"].nunique() == 17
    assert one.reference.begins_at < one.reference.cutoff == np.datetime64("2024-03-04", "us")
    inside = every[(every["timestamp"] >= pd.Timestamp(one.reference.begins_at)) & (every["timestamp"] < "2024-03-04")]
    assert len(one.reference.features) == one.reference.total == len(inside)


def test_nothing_later_changes_a_partition(live: Live) -> None:
    live.land(rows_of(DAY))
    live.process()
    (before,) = measured(live, DAY)
    live.land(rows_of("2024-03-09", 40, item=3))
    live.process()
    (after,) = measured(live, DAY)
    pd.testing.assert_frame_equal(before.verdict.scores, after.verdict.scores)
    assert before.verdict.volumes == after.verdict.volumes


def test_what_cannot_be_judged_says_why(live: Live) -> None:
    live.land(rows_of(DAY))
    live.process()
    early, few, none = measured(live, "2024-03-03", DAY, "2024-03-30", minimum_rows=63)
    assert not any(one.verdict.judged or one.verdict.alarm for one in (early, few, none))
    assert "before the champion's cutoff" in early.verdict.reason
    assert "62 engagements, fewer than drift.minimum_rows (63)" in few.verdict.reason
    assert none.verdict.volumes["engagements"] == 0
    assert np.isnan(none.verdict.volumes["cold_share"])


def test_samples_are_capped_the_same_every_time_and_other_by_seed(live: Live) -> None:
    live.land(rows_of(DAY, 200))
    live.process()
    first, again = (measured(live, DAY, sample_rows=100)[0] for _ in range(2))
    assert first.verdict.rows == 100
    assert first.verdict.volumes["engagements"] == 202
    pd.testing.assert_frame_equal(first.verdict.scores, again.verdict.scores)


def test_the_kept_reference_forgets_removed_users(live: Live) -> None:
    live.land(rows_of(DAY))
    live.process()
    measured(live, DAY)
    folder = live.storage.monitoring / "reference"
    kept = {path.name for path in folder.iterdir()}
    measured(live, DAY)
    assert {path.name for path in folder.iterdir()} == kept
    forget_user(live.storage, "u03", live.settings)
    measured(live, DAY)
    assert not kept & {path.name for path in folder.iterdir()}
    users = pd.concat([pd.read_parquet(path) for path in folder.glob("*-users.parquet")])
    assert "u03" not in set(users["user_id"])


def test_a_landed_file_that_is_gone_is_named(live: Live) -> None:
    batch = live.land(rows_of(DAY))
    live.process()
    batch.path.unlink()
    with pytest.raises(FileNotFoundError, match=batch.digest[:16]):
        measured(live, DAY)


def materialize(live: Live, start: str, end: str, **drift: object) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("landed", [DAY, NEXT])
        tags = {"dagster/asset_partition_range_start": start, "dagster/asset_partition_range_end": end}
        resources = {"storage": live.storage, "settings": settings_of(live, **drift)}
        return dg.materialize([partition_drift], instance=instance, resources=resources, tags=tags)


def test_the_asset_writes_tables_and_pages(live: Live) -> None:
    live.land([*rows_of(DAY), *rows_of(NEXT)])
    live.process()
    for _ in range(2):  # again: replaced, not doubled
        result = materialize(live, DAY, NEXT, keep_reports=1)
    verdicts, drift = read_verdicts(live.storage), read_drift(live.storage)
    assert verdicts["name"].tolist() == [DAY, NEXT]
    assert not drift.duplicated(["kind", "name", "column"]).any()
    assert set(drift["name"]) == {DAY, NEXT}
    assert reported(live.storage) == [NEXT]
    page = report_path(live.storage, NEXT)
    text = page.read_text(encoding="utf-8")
    assert "62 of" in text
    assert verdicts["reason"][1].split(":")[0] in text
    assert page.stat().st_size <= 5_000_000
    for row in drift[drift["name"] == NEXT].to_dict("records"):  # Evidently computes the same distance
        assert f"{row['score']:.3f}" in text
    events = result.asset_materializations_for_node("monitoring__partition_drift")
    assert {event.partition for event in events} == {DAY, NEXT}
    assert json.dumps({event.partition: event.metadata["alarm"].value for event in events})
    assert "data:image/png;base64" in str(events[-1].metadata["figure"].value)


def test_older_reports_are_removed(live: Live) -> None:
    for name in (DAY, NEXT, "2024-03-09-05"):
        write_text(report_path(live.storage, name), "page")
    other = write_text(Path(report_path(live.storage, DAY).with_name("window-0.html")), "page")
    assert remove_older(live.storage, 2) == [DAY]
    assert reported(live.storage) == [NEXT, "2024-03-09-05"]
    assert other.exists()
