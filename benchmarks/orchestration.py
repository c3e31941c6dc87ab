"""What Dagster costs around the work: loading the definitions, a step, a check, and a second run of a whole graph.

    python -m benchmarks.orchestration [--steps 50] [--graph]

The first table runs jobs of empty steps, in this process, on an instance of their own like that of ``thaw run`` (SQLite
in a folder). ``--graph`` runs the simulated dataset twice with a tiny roster in a temporary home, and compares the sum
of its steps' times with the run's. CPU seconds count; other work on the machine shows in wall seconds.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import dagster as dg
from rich.console import Console
from tabulate import tabulate

from assets.config import Settings, load_settings
from benchmarks.measuring import metered
from orchestration.home import open_instance
from orchestration.runner import run_graph

TINY: dict[str, Any] = {
    "models": ("popularity", "decayed_popularity", "two_tower"),
    "datasets": {"simulated": {"users": 300, "items": 200, "days": 40, "engagements": 6000}},
    "training": {"max_epochs": 1},
    "evaluation": {"bootstrap_samples": 50},
    "drift": {"sample_rows": 1000},
}


def loading() -> list[Any]:
    """Importing the definitions in a fresh process, interpreter included."""
    code = "import time, orchestration.definitions; print(time.process_time())"
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return ["definitions loaded", float(done.stdout), time.perf_counter() - started]


def empty_steps(settings: Settings, steps: int, checks: int) -> list[Any]:
    """A job of ``steps`` assets in a row, each with ``checks`` checks that pass."""
    assets, held = [], []
    for number in range(steps):
        name, before = f"empty_{number}", [f"empty_{number - 1}"] if number else []
        assets.append(_asset(name, before))
        held += [_check(name, f"check_{which}") for which in range(checks)]
    definitions = dg.Definitions(assets=assets, asset_checks=held, executor=dg.in_process_executor)
    job = definitions.resolve_implicit_global_asset_job_def()
    with open_instance(settings) as instance, metered() as cost:
        job.execute_in_process(
            instance=instance, run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
        )
    return [f"{steps} empty steps, {checks} checks each", cost.cpu, cost.wall]


def _asset(name: str, before: list[str]) -> dg.AssetsDefinition:
    @dg.asset(name=name, deps=before)
    def empty() -> None: ...

    return empty


def _check(asset: str, name: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=asset, name=name)
    def passes() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    return passes


def whole_graph(settings: Settings) -> list[list[Any]]:
    """A first and a second run; of the first, how much lies outside of its steps."""
    rows = []
    for word in ("first run", "second run, nothing changed"):
        with metered() as cost:
            outcome = run_graph(settings, None, Console(stderr=True))
        rows.append([word, cost.cpu, cost.wall])
        if outcome.run_id:
            with open_instance(settings) as instance:
                stats = instance.get_run_step_stats(outcome.run_id)
            inside = sum((step.end_time or 0) - (step.start_time or 0) for step in stats)
            rows.append([f"of it inside its {len(stats)} steps", float("nan"), inside])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--graph", action="store_true", help="the whole graph too: about two minutes")
    options = parser.parse_args()
    rows = [loading()]
    with tempfile.TemporaryDirectory() as home:
        settings = load_settings({}, home=Path(home), **TINY)
        for steps, checks in ((1, 0), (options.steps, 0), (options.steps, 1)):
            rows.append(empty_steps(settings, steps, checks))
    if options.graph:
        with tempfile.TemporaryDirectory() as home:
            rows += whole_graph(load_settings({}, home=Path(home), **TINY))
    print(tabulate(rows, ("", "CPU s", "wall s"), floatfmt=".2f", tablefmt="github"))


if __name__ == "__main__":
    main()
