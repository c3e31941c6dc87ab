"""The loop that closes itself, in a world that changes: drift, alert, retrain, contest, promotion, recovery.

The test half of a simulated dataset lands in steps of some days (a replay), through the sensors and jobs that a home
runs: the landing sensor and ``freshen``, quality and drift of the landed partitions, the decay sensor's judgement, and
``retrain`` where it asks for one. On one day of it the tastes of users and the appeal of items change at once. Beside
what serves, the first champion is ranked on the same cases to the end: what would have been without the loop.

    python benchmarks/closed_loop.py      # a line per step, then docs/images/closed-loop.png; about five minutes
"""

import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import dagster as dg
import numpy as np
import pandas as pd
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from rich.console import Console

from assets import keys
from assets.champion.history import cases_between, read_served, tables_at
from assets.champion.quality.alert import read_alert
from assets.champion.quality.files import SHORT, table_path
from assets.config import PROJECT_ROOT, Protocol, Settings, load_settings
from assets.evaluation.protocol import build_cases
from assets.evaluation.run import fallback
from assets.instants import wall_clock
from assets.metrics import ndcg
from assets.monitoring.tables import verdicts_path
from assets.ranking import Recommender, rank_cases
from assets.serving.live.generation import open_generation, require_current
from assets.serving.live.replay import ReplayDay, land_day, replay_days, start_replay
from assets.storage import read_parquet
from assets.stream import DatasetTables, load_tables
from assets.training.checkpoints import load_net, read_manifest
from dashboards.closed_loop import closed_loop_png
from orchestration import decay_sensor, sensors
from orchestration.definitions import build_definitions
from orchestration.home import open_instance
from orchestration.jobs import FRESHEN, RETRAIN
from orchestration.runner import run_graph

FIGURE: Final = PROJECT_ROOT / "docs" / "images" / "closed-loop.png"
DAYS_PER_STEP: Final = 2
CHAMPION: Final = "sasrec"
INDUCTIVE: Final = "ihm_sasrec"
"""Shown beside it: a model whose items are their users follows such a change by itself."""

WORLD: Final[dict[str, Any]] = {
    "users": 1000,
    "items": 400,
    "days": 80,
    "engagements": 40_000,
    "drift": 0.0,
    "catalog_share": 1.0,
    "lifetime_days": 100_000.0,
    "joined_share": 1.0,
    "shift_day": 52,
    "shift_size": 0.8,
}
"""Nothing changes but on the day of the shift."""


@dataclass(frozen=True)
class Step:
    """What one step came to.

    Attributes:
        partitions: that landed.
        checkpoint: of what served as its partitions were measured: first 12 of the digest.
        drifted: partitions among them whose drift report raised the alarm.
        alert: the judgement after it, as ``champion/alert.json`` holds it.
        tags: of the retrain that it asked for; none where it did not.
        outcome: of that retrain: ``won`` or ``lost``.
    """

    partitions: Sequence[str]
    checkpoint: str
    drifted: Sequence[str]
    alert: dict[str, Any] | None
    tags: dict[str, str] = field(default_factory=dict)
    outcome: str | None = None


class Loop:
    """A dataset whose first half was trained on, and its second half as it lands.

    Args:
        settings: of a home that is its own; a simulated dataset.
        instance: Dagster's, of that home.
    """

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings, self.storage, self.instance = settings, settings.storage, instance
        self.definitions = build_definitions(settings)
        self.cursors: dict[str, str | None] = {}

    def run(self, days_per_step: int, progress: Callable[[Step], None] = lambda _: None) -> list[Step]:
        """Land everything, step by step, and let the loop do what it does."""
        tables = load_tables(self.storage)
        model, seed = self.settings.models[0], self.settings.training.seed
        start_replay(self.storage, self.settings, tables, model, seed, wall_clock())
        days, steps = replay_days(tables), []
        for start in range(0, len(days), days_per_step):
            steps.append(self.step(days[start : start + days_per_step]))
            progress(steps[-1])
        return steps

    def step(self, days: Sequence[ReplayDay]) -> Step:
        """Land ``days``, watch them, and retrain where the sensor asks for it."""
        partitions = [day.partition for day in days]
        for day in days:
            land_day(self.storage, day)
        (request,) = self._tick("landing", lambda context: sensors.look(context, self.settings, wall_clock()))
        self._execute(FRESHEN, request)
        checkpoint = require_current(self.storage).record().checkpoint[:SHORT]
        self._watch(partitions)
        means = decay_sensor.real_means()
        asked = self._tick("decay", lambda context: decay_sensor.look(context, self.settings, means))
        alert = read_alert(self.storage)
        told = None if alert is None else alert.to_json()
        drifted = self._drifted(partitions)
        if not asked:
            return Step(partitions, checkpoint, drifted, told)
        result = self._execute(RETRAIN, asked[0])
        (made,) = [each for each in result.get_asset_materialization_events() if each.asset_key.path[-1] == "promotion"]
        outcome = str(made.materialization.metadata["outcome"].value)
        return Step(partitions, checkpoint, drifted, told, dict(asked[0].tags), outcome)

    def _tick(self, name: str, look: Callable[[dg.SensorEvaluationContext], Any]) -> Sequence[dg.RunRequest]:
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursors.get(name))
        found = look(context)
        self.cursors[name] = found.cursor
        for wanted in found.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions(wanted.partitions_def_name, wanted.partition_keys)
        return found.run_requests or []

    def _execute(self, job: str, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=request.partition_key,
            tags=request.tags,
            run_config=request.run_config,
            asset_selection=list(request.asset_selection) if request.asset_selection else None,
        )

    def _watch(self, partitions: Sequence[str]) -> None:
        self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(key) for key in keys.WATCHED],
            tags={ASSET_PARTITION_RANGE_START_TAG: partitions[0], ASSET_PARTITION_RANGE_END_TAG: partitions[-1]},
        )

    def _drifted(self, partitions: Sequence[str]) -> list[str]:
        verdicts = read_parquet(verdicts_path(self.storage))
        mine = verdicts[(verdicts["kind"] == "partition") & verdicts["name"].isin(list(partitions))]
        return sorted(mine[mine["alarm"].to_numpy(dtype=bool)]["name"])


def served_quality(settings: Settings, steps: Sequence[Step]) -> pd.DataFrame:
    """NDCG@10 by step of what served and of the floor, as measured then: starts_at, champion, floor.

    Means over the step's partitions, weighted by their cases.
    """
    quality = read_parquet(table_path(settings.storage, "quality"))
    main = quality[(quality["slice"] == "overall") & (quality["metric"] == "ndcg")]
    rows = []
    for step in steps:
        mine = main[main["partition"].isin(list(step.partitions)) & (main["checkpoint"] == step.checkpoint)]
        means = {str(name): np.average(part["value"], weights=part["n"]) for name, part in mine.groupby("contender")}
        rows.append({"starts_at": pd.Timestamp(step.partitions[0]), **means})
    return pd.DataFrame(rows)


def unattended(settings: Settings, model: str, steps: Sequence[Step]) -> list[float]:
    """NDCG@10 by step of the checkpoint that ``thaw run`` trained, had it served to the end: items refreshed daily."""
    storage, seed = settings.storage, settings.training.seed
    with open_generation(storage) as opened:
        served = read_served(opened)
    tables = tables_at(served, load_tables(storage).cutoff, settings.split)
    recommender = load_net(storage.checkpoint(model, seed), read_manifest(storage, model, seed)).over(tables)
    return [_ndcg(settings, recommender, tables, step) for step in steps]


def _ndcg(settings: Settings, recommender: Recommender, tables: DatasetTables, step: Step) -> float:
    starts_at = max(np.datetime64(step.partitions[0], "us"), tables.cutoff)
    ends_at = np.datetime64(step.partitions[-1], "us") + np.timedelta64(1, "D")
    cases = build_cases(cases_between(tables, starts_at, ends_at), tables).cases
    ranks = rank_cases(
        recommender, fallback(tables, settings), cases, tables.stream, tables.catalog, Protocol(), tables.cutoff
    )
    return float(ndcg(ranks.above, ranks.tied, 10)[ranks.has_history].mean())


def loop_settings(home: Path) -> Settings:
    """A home in which everything is small and fast: days stand for months."""
    changes = {
        "models": (CHAMPION, INDUCTIVE, "decayed_popularity"),
        "datasets": {"simulated": WORLD},
        "training": {
            "hyper_parameters": {
                CHAMPION: {"dim": 32, "max_epochs": 15},
                INDUCTIVE: {"dim": 32, "max_epochs": 15},
            }
        },
        "retraining": {
            "window_days": 2,
            "cooldown_days": 2,
            "min_cases": 200,
            "alert": {"reference_days": 8, "recent_days": 3, "tolerance": 0.2, "min_cases": 200},
        },
    }
    return load_settings({}, home=home, dataset="simulated", **changes)


def describe(step: Step) -> str:
    """A line about a step."""
    said = [f"{step.partitions[0]} to {step.partitions[-1]}", f"{len(step.drifted)} of {len(step.partitions)} drifted"]
    if step.alert is not None:
        said.append(("ALERT: " if step.alert["alerted"] else "") + step.alert["reason"])
    if step.outcome is not None:
        said.append(f"retrained: {step.outcome}")
    return "; ".join(said)


def main() -> None:
    """Run the loop in a home of its own, print it, and draw it."""
    with tempfile.TemporaryDirectory() as folder:
        settings = loop_settings(Path(folder))
        console = Console(file=io.StringIO())
        outcome = run_graph(settings, '+key:"serving/item_index"', console)
        if not outcome.success:
            raise SystemExit(f"thaw run failed: {outcome.failed_steps} {outcome.failed_checks}")
        with open_instance(settings) as instance:
            steps = Loop(settings, instance).run(DAYS_PER_STEP, lambda step: print(describe(step), flush=True))
        shown = served_quality(settings, steps)
        for model in (CHAMPION, INDUCTIVE):
            shown[f"{model}, never retrained"] = unattended(settings, model, steps)
        print(shown.round(3).to_string(index=False))
        drifted = [len(step.drifted) / len(step.partitions) for step in steps]
        FIGURE.write_bytes(closed_loop_png(shown, drifted, _marks(steps), _shift()))


def _marks(steps: Sequence[Step]) -> dict[str, list[pd.Timestamp]]:
    """Instants of what the loop did, by name: the end of the step that it did it in."""
    ends = [pd.Timestamp(step.partitions[-1]) + pd.Timedelta(1, "D") for step in steps]
    return {
        "alert": [end for end, step in zip(ends, steps, strict=True) if step.alert and step.alert["alerted"]],
        "challenger won": [end for end, step in zip(ends, steps, strict=True) if step.outcome == "won"],
        "challenger lost": [end for end, step in zip(ends, steps, strict=True) if step.outcome == "lost"],
    }


def _shift() -> pd.Timestamp:
    return pd.Timestamp("2024-01-01") + pd.Timedelta(WORLD["shift_day"], "D")


if __name__ == "__main__":
    main()
