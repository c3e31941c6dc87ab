"""What the cap on test cases does to an interval: the same ranks, all of them and drawn.

    python -m benchmarks.case_cap [--engagements 1000000]

Simulated data are made and split once in a temporary home, and every case is ranked by decayed popularity. Then as many
cases are drawn as ``evaluation.max_cases`` would: HR@10 and its 95 % interval come from those alone. The table
goes to docs/benchmarks.md.
"""

import argparse
import io
import tempfile
from pathlib import Path
from typing import Any, Final

import pandas as pd
from rich.console import Console
from tabulate import tabulate

from assets import keys
from assets.config import Settings
from assets.evaluation.protocol import build_cases, drawn_rows, rank_under_protocols
from assets.evaluation.run import fallback
from assets.evaluation.slices import HIT_RATE, metrics_frame
from assets.schema import ALL_WINDOWS, CaseSlice
from assets.stream import load_tables
from benchmarks.marked import replace_marked
from benchmarks.scale import configuration
from benchmarks.scale_page import PAGE
from orchestration.runner import run_graph

CAPS: Final = (2_000, 5_000, 10_000, 20_000, 60_000)
K, SAMPLES = 10, 500
SLICES: Final = (CaseSlice.ALL_USERS, CaseSlice.TAIL_AND_COLD)


def all_ranks(settings: Settings) -> pd.DataFrame:
    """Ranks of every case by decayed popularity, under the headline protocol."""
    tables = load_tables(settings.storage)
    cases = build_cases(settings.storage.read_table("test_cases"), tables)
    floor = fallback(tables, settings)
    labels: dict[str, Any] = {"dataset": settings.dataset, "model": "decayed_popularity", "seed": 0}
    return rank_under_protocols(floor, floor, cases, tables, (settings.evaluation.headline,), labels)


def row(ranks: pd.DataFrame, cases: int) -> list[Any]:
    """HR@10 and half its interval, per slice, of ``cases`` drawn ranks."""
    chosen = ranks if cases >= len(ranks) else ranks.iloc[drawn_rows(len(ranks), cases)]
    table = metrics_frame(chosen, (K,), SAMPLES, 0)
    table = table[(table["metric"] == HIT_RATE) & (table["window"] == ALL_WINDOWS)].set_index("slice")
    cells: list[Any] = [f"{len(chosen):,}" + (" (all)" if chosen is ranks else "")]
    for name in SLICES:
        held = table.loc[name.value]
        cells += [f"{held['value']:.4f}", f"±{(held['ci_high'] - held['ci_low']) / 2:.4f}"]
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--engagements", type=int, default=1_000_000)
    engagements = parser.parse_args().engagements
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), **configuration(engagements, ("decayed_popularity",)))
        raw = (keys.RAW_INTERACTIONS, keys.RAW_ITEMS, keys.RAW_USERS)
        selection = " or ".join(f'key:"{"/".join(key)}"+' for key in raw)
        outcome = run_graph(settings, f'({selection}) and +key:"{"/".join(keys.TABLES)}"', Console(file=io.StringIO()))
        if not outcome.success:
            raise SystemExit(f"the tables could not be made: {outcome.failed_steps} {outcome.failed_checks}")
        ranks = all_ranks(settings)
    headers = ["cases", *(text for name in SLICES for text in (f"HR@{K} {name.value}", "95 % interval"))]
    rows = [row(ranks, cap) for cap in (*CAPS, len(ranks))]
    table = tabulate(rows, headers, tablefmt="github", disable_numparse=True)
    print(table)
    replace_marked(PAGE, "case cap", table)


if __name__ == "__main__":
    main()
