"""Action-to-serving latency of a replay: through Dagster's sensor, daemon and runs, and the same without Dagster.

    python benchmarks/ats.py [--dataset movietweetings-100k] [--days 20] [--speed 3600] [--home FOLDER]

Lands the held-back half of a dataset day by day while a service answers from the live index, once with `thaw ui`
applying what lands and once with this process doing so, and prints what every hop took: the difference is what the
orchestrator adds. Without ``--speed`` a day lands when the last one is searchable, so that days do not wait for each
other. Times are over engagements, from the landing of their file.

The dataset is trained first where ``--home`` (default: a temporary folder) has none; its source is looked for as always
(``THAW_DATA_DIR``). Service and daemon run on free ports and are stopped, with everything that they started.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pandas as pd
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from assets.config import PROJECT_ROOT, Settings, load_settings
from assets.serving.live import ats
from assets.serving.live.freshness import make_report
from assets.serving.live.generation import require_current
from assets.serving.live.ledger import entries
from assets.serving.live.replay import ReplayDay, inline, replay_days, run_replay, start_replay
from assets.serving.promotion import best_servable
from assets.stream import load_tables
from assets.training.checkpoints import MANIFEST
from benchmarks.children import child, free_port
from benchmarks.measuring import machine, verdict
from orchestration.home import open_instance
from orchestration.jobs import FRESHEN

DATASET: Final = "movietweetings-100k"
MODELS: Final = "ihm_sasrec,decayed_popularity"
DAYS: Final = 20
START_SECONDS: Final = 180.0
"""A child has to answer in this time; loading Dagster's definitions and torch takes most of it on a busy machine."""

QUERY_SECONDS: Final = 5.0
"""After the last day: for the service to see it."""

SHOWN: Final = {
    "seen": "landed, until the sensor saw it",
    "features": "until its features were written",
    "embedded": "until its items were embedded",
    "indexed": "until their delta was committed",
    "queried": "until a query saw it",
    "searchable": "landed to searchable",
    "served": "landed to served",
}
"""Hops of :mod:`assets.serving.live.ats` in the order of the way, then their sums."""

QUANTILES: Final = tuple(ats.QUANTILES)


@dataclass(frozen=True)
class Replayed:
    """One replay.

    Attributes:
        report: of :func:`assets.serving.live.ats.report`.
        days: that were landed.
        seconds: from the first landing until the last day was searchable.
    """

    report: pd.DataFrame
    days: int
    seconds: float

    def value(self, hop: str, name: str) -> float:
        """Seconds, or number of engagements, over everything landed."""
        return ats.value(self.report, ats.ALL, hop, name)


def replayed(
    settings: Settings,
    days: int,
    speed: float | None,
    process: Callable[[], Any] | None,
    began: Callable[[], None] = lambda: None,
) -> Replayed:
    """Put the live state back to the cutoff and land the first ``days`` days.

    Args:
        speed: seconds of the dataset per second; ``None``: a day when the last one is searchable.
        process: applies what landed; ``None``: somebody else does.
        began: called when the state is put back, before anything lands.
    """
    storage = settings.storage
    tables = load_tables(storage)
    chosen = held_back(settings, days)
    model = best_servable(storage, settings)
    start_replay(storage, settings, tables, model, settings.training.seed, wall_clock(), reset=True)
    began()
    started = time.monotonic()
    done = run_replay(storage, chosen, speed, wall_clock, process, _told())
    seconds = time.monotonic() - started
    time.sleep(QUERY_SECONDS)
    with require_current(storage).open_store() as store, store.read() as reader:
        report = make_report(storage, entries(reader))
    return Replayed(report, done.applied, seconds)


def held_back(settings: Settings, days: int) -> list[ReplayDay]:
    """The first ``days`` days of the held-back half."""
    return replay_days(load_tables(settings.storage), settings.freshness.partition)[:days]


def both_ways(settings: Settings, days: int, speed: float | None, logs: Path) -> tuple[Replayed, Replayed]:
    """The replay through Dagster, and without, each beside a service of its own.

    Args:
        logs: folder for what the children print.
    """
    with ExitStack() as children:

        def begin(name: str, *more: str) -> None:
            port = free_port()
            arguments = ["-m", "orchestration.cli", "serve", "--port", str(port)]
            children.enter_context(_child(settings, arguments, logs / f"serve-{name}.log", port, "healthz"))
            if more:
                port = free_port()
                arguments = [*more, "--port", str(port)]
                children.enter_context(_child(settings, arguments, logs / f"ui-{name}.log", port, "server_info"))

        ui = ("-m", "orchestration.cli", "ui")
        with_dagster = replayed(settings, days, speed, None, lambda: begin("dagster", *ui))
        children.close()
        process = inline(settings.storage, settings, wall_clock)
        without = replayed(settings, days, speed, process, lambda: begin("inline"))
    return with_dagster, without


def _child(settings: Settings, arguments: list[str], log: Path, port: int, path: str) -> Any:
    return child(arguments, environment_of(settings), log, f"http://127.0.0.1:{port}/{path}", START_SECONDS)


def runs_since(settings: Settings, instant: float) -> Counter[str]:
    """How the runs that were requested since ``instant`` (seconds) ended: one that failed costs a day its latency."""
    after = dg.RunsFilter(job_name=FRESHEN, created_after=datetime.fromtimestamp(instant, UTC))
    with open_instance(settings) as instance:
        return Counter(record.dagster_run.status.value.lower() for record in instance.get_run_records(after))


def environment_of(settings: Settings) -> Mapping[str, str]:
    """What tells a child to use the same home, dataset and roster; it answers without a token."""
    return {
        "THAW_HOME": str(settings.home),
        "THAW_DATASET": settings.dataset,
        "THAW_MODELS": ",".join(settings.models),
        "THAW_SERVICE_TOKEN": "",
    }


def train(settings: Settings) -> None:
    """Run the graph where the home lacks a checkpoint of the roster."""
    storage, seed = settings.storage, settings.training.seed
    if all((storage.checkpoint(name, seed) / MANIFEST).exists() for name in settings.models):
        return
    print(f"training {settings.dataset} in {settings.home}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "orchestration.cli", "run", "--dataset", settings.dataset]
    environment = {**os.environ, **environment_of(settings)}
    subprocess.run(command, cwd=PROJECT_ROOT, env=environment, check=True, stdout=sys.stderr)


def hops(with_dagster: Replayed, without: Replayed) -> str:
    """Quantiles of every hop, both ways, and what Dagster adds to the median."""
    rows = [
        [
            name,
            *(with_dagster.value(hop, quantile) for quantile in QUANTILES),
            *(without.value(hop, quantile) for quantile in QUANTILES),
            with_dagster.value(hop, "p50") - without.value(hop, "p50"),
        ]
        for hop, name in SHOWN.items()
    ]
    headers = ["seconds"]
    headers += [f"{way} {quantile}" for way in ("Dagster", "inline") for quantile in QUANTILES]
    return tabulate(rows, [*headers, "Dagster adds p50"], floatfmt=",.3f", tablefmt="github")


def wall_clock() -> int:
    """Microseconds."""
    return time.time_ns() // 1000


def _told() -> Callable[[object], None]:
    """Says on the error stream how far a replay is, when that is new."""
    said: list[str] = [""]

    def tell(progress: object) -> None:
        if said[0] != str(progress):
            said[0] = str(progress)
            print(said[0], file=sys.stderr, flush=True)

    return tell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default=DATASET)
    parser.add_argument("--models", default=MODELS, help="roster; the best one serves")
    parser.add_argument("--days", type=int, default=DAYS, help="to replay")
    parser.add_argument("--speed", type=float, help="seconds of the dataset per second")
    parser.add_argument("--home", type=Path, help="with a trained dataset, or for one; its live state becomes a replay")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = (options.home or Path(temporary)).resolve()
        os.environ["THAW_HOME"] = str(home)
        settings = load_settings(dataset=options.dataset, models=tuple(options.models.split(",")))
        train(settings)
        logs = home / "benchmark-logs"
        logs.mkdir(parents=True, exist_ok=True)
        began = time.time()
        with_dagster, without = both_ways(settings, options.days, options.speed, logs)
        runs = runs_since(settings, began)
    pace = "a day when the last is searchable" if options.speed is None else f"{options.speed:,.0f} times real time"
    print(f"{options.dataset}: {with_dagster.days} days, {pace}; {machine()}")
    print(hops(with_dagster, without))
    engagements = with_dagster.value("searchable", "engagements")
    print(
        f"{engagements:,.0f} engagements in {with_dagster.seconds:.0f} s with Dagster, {without.seconds:.0f} s without"
    )
    print("runs: " + ", ".join(f"{count} {status}" for status, count in sorted(runs.items())))
    bar = settings.freshness.ats_p95_seconds
    p95 = with_dagster.value("served", "p95")
    print(f"p95 under {bar:g} s from landing to served: {verdict(p95 < bar)} ({p95:.1f} s)")


if __name__ == "__main__":
    main()
