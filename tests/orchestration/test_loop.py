"""The loop closes itself: tastes shift, drift and decay are seen, a challenger is trained, wins and serves."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pandas as pd
import pytest
from rich.console import Console

from assets.champion.promote import roll_back
from assets.champion.record import read_record
from assets.config import Settings, load_settings
from assets.ingestion.registry import DATASETS
from assets.instants import wall_clock
from assets.serving.live.generation import require_current
from assets.storage import read_parquet, write_parquet
from benchmarks.closed_loop import Loop, Step, describe, served_quality
from dashboards.closed_loop import closed_loop_png
from orchestration.home import open_instance
from orchestration.runner import run_graph
from tests.support import write_manifest, write_tables

SHIFT: Final = 20
WORLD: Final[dict[str, Any]] = {
    "users": 400,
    "items": 200,
    "days": 32,
    "engagements": 16_000,
    "drift": 0.0,
    "catalog_share": 1.0,
    "lifetime_days": 100_000.0,
    "joined_share": 1.0,
    "shift_day": SHIFT,
    "shift_size": 1.0,
}
DAYS_PER_STEP: Final = 3


@dataclass(frozen=True)
class Closed:
    """A loop that has run to its end."""

    settings: Settings
    instance: dg.DagsterInstance
    steps: list[Step]
    quality: pd.DataFrame

    @property
    def after(self) -> list[int]:
        """Places of the steps that hold nothing from before the shift."""
        shift = pd.Timestamp("2024-01-01") + pd.Timedelta(SHIFT, "D")
        return [place for place, step in enumerate(self.steps) if pd.Timestamp(step.partitions[0]) >= shift]

    @property
    def won(self) -> int:
        return next(place for place, step in enumerate(self.steps) if step.outcome == "won")


def small_world(home: Path) -> Settings:
    return load_settings(
        {},
        home=home,
        dataset="simulated",
        models=("sasrec", "decayed_popularity"),
        datasets={"simulated": WORLD},
        training={"hyper_parameters": {"sasrec": {"dim": 16, "max_epochs": 12}}},
        evaluation={"bootstrap_samples": 200},
        index={"queries": 50},
        drift={"keep_reports": 1, "reference_days": 7},
        retraining={
            "window_days": 2,
            "cooldown_days": 2,
            "min_cases": 100,
            "alert": {"reference_days": 6, "recent_days": 3, "tolerance": 0.2, "min_cases": 100},
        },
    )


def export(settings: Settings) -> None:
    """The tables as if the transforms had made them: train time is the first 14 days; all items were there before."""
    adapter, storage = DATASETS["simulated"], settings.storage
    raw = adapter.read(Path(), adapter.options(**WORLD), datetime.now(UTC).replace(tzinfo=None))
    write_tables(settings.home, raw.interactions.to_pandas(), "2024-01-15", "2024-01-13", dataset=settings.dataset)
    items = storage.read_table("items")
    created = items["item_id"].map(raw.items.to_pandas().set_index("item_id")["created_at"]).astype("datetime64[us]")
    write_parquet(storage.table("items"), items.assign(created_at=created, available_at=created))
    write_manifest(storage)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")
        settings = small_world(tmp_path_factory.mktemp("home"))
        export(settings)
        made = " or ".join(f'key:"training/{model}"' for model in settings.models)
        outcome = run_graph(settings, made, Console(file=io.StringIO()))
        assert outcome.success, (outcome.failed_steps, outcome.failed_checks)
        with open_instance(settings) as instance:
            steps = Loop(settings, instance).run(DAYS_PER_STEP)
            yield Closed(settings, instance, steps, served_quality(settings, steps))


def drifted_columns(closed: Closed, steps: list[Step]) -> list[set[str]]:
    """Columns over their threshold, by landed day."""
    drift = read_parquet(closed.settings.storage.monitoring / "drift.parquet")
    drift = drift[(drift["kind"] == "partition") & drift["drifted"].to_numpy(dtype=bool)]
    days = [partition for step in steps for partition in step.partitions]
    return [set(drift[drift["name"] == day]["column"]) for day in days]


def test_nothing_happens_before_the_shift(closed: Closed) -> None:
    calm = closed.steps[: closed.after[0]]
    assert len(calm) >= 2
    assert [describe(step) for step in calm if step.outcome or (step.alert and step.alert["alerted"])] == []
    # Nothing is born in this world: its catalog grows older, and that is seen too.
    assert set.union(*drifted_columns(closed, calm)) <= {"item_age_days"}


def test_drift_rises_with_the_shift_and_falls_with_a_champion_that_knows_the_new_days(closed: Closed) -> None:
    shaken, calmed = closed.steps[closed.after[0] : closed.won + 1], closed.steps[closed.won + 1 :]
    assert all("item_popularity" in columns for columns in drifted_columns(closed, shaken))
    assert all(step.drifted for step in shaken)
    still = [len(columns) for columns in drifted_columns(closed, calmed)]
    assert sum(still) / len(still) < 2


def test_decay_asks_for_a_retrain_with_the_evidence(closed: Closed) -> None:
    asked = [step for step in closed.steps if step.outcome is not None]
    assert asked
    for step in asked:
        assert step.alert is not None
        assert step.alert["alerted"]
        assert step.tags["thaw/trigger"] == "decay"
        assert step.alert["reason"].startswith(step.tags["thaw/decay_reason"].rstrip("…"))
        assert all(len(value) <= 255 for value in step.tags.values())


def test_the_challenger_wins_and_what_serves_recovers(closed: Closed) -> None:
    assert closed.quality["champion"].notna().all()
    first, won = closed.after[0], closed.won
    before = closed.quality["champion"][:first].mean()
    fallen = closed.quality["champion"][first : won + 1].mean()
    recovered = closed.quality["champion"][won + 1 :].mean()
    assert fallen < 0.6 * before
    assert recovered > 1.4 * fallen
    assert len({step.checkpoint for step in closed.steps}) > 1


def test_the_record_says_so_and_a_rollback_brings_the_former_one_back(closed: Closed) -> None:
    storage = closed.settings.storage
    record = read_record(storage)
    assert [entry.kind for entry in record if entry.kind == "won"]
    serving = require_current(storage)
    winner = [entry for entry in record if entry.kind == "won"][-1]
    assert winner.generation == serving.name
    entry = roll_back(storage, closed.settings, wall_clock())
    assert (entry.kind, entry.generation) == ("rollback", winner.previous)
    assert require_current(storage).name == winner.previous
    assert roll_back(storage, closed.settings, wall_clock()).generation == winner.generation


def test_it_can_be_drawn(closed: Closed) -> None:
    drifted = [len(step.drifted) / len(step.partitions) for step in closed.steps]
    marks = {"alert": [pd.Timestamp("2024-01-28")], "challenger won": [pd.Timestamp("2024-02-01")]}
    png = closed_loop_png(closed.quality, drifted, marks, pd.Timestamp("2024-01-25"))
    assert png.startswith(b"\x89PNG")
    assert png == closed_loop_png(closed.quality, drifted, marks, pd.Timestamp("2024-01-25"))
