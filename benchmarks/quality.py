"""Time and memory of every suite and of the leakage rules on tables that are there.

    THAW_HOME=... python -m benchmarks.quality [--dataset simulated] [--write]

The tables are those of a finished ``thaw run`` (``python -m benchmarks.scale`` makes large ones). Suites run in one
process, one after the other; the first has the loading of Great Expectations. ``--write`` puts the table into
docs/benchmarks.md.
"""

import argparse
import os
from typing import Any

from tabulate import tabulate

from assets.config import Settings, load_settings
from assets.quality import checks, results
from benchmarks.marked import replace_marked
from benchmarks.measuring import machine, metered, peak_mib
from benchmarks.scale_page import MILLION, PAGE


def measure(settings: Settings) -> list[list[Any]]:
    """A row per suite: rows, CPU and wall seconds, CPU seconds per million engagements, most GiB so far."""
    rows: list[list[Any]] = []
    engagements = 0
    for name in results.NAMES:
        run = checks.validate_leakage if name == results.LEAKAGE else checks.validate_table
        with metered() as cost:
            result = run(name, settings.storage, settings)
        engagements = max(engagements, result["rows"])
        rows.append([name, result["rows"], cost.cpu, cost.wall, peak_mib() / 1024])
        if not result["success"]:
            raise SystemExit(f"{name} fails on {settings.storage.base}: measure tables that are sound")
    cpu, wall = (sum(row[place] for row in rows) for place in (2, 3))
    rows.append(["**all**", engagements, cpu, wall, peak_mib() / 1024])
    return [[*row[:4], row[2] / engagements * MILLION, row[4]] for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default=os.environ.get("THAW_DATASET", "simulated"))
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    options = parser.parse_args()
    busy = machine()
    rows = measure(load_settings(dataset=options.dataset))
    heads = ("table", "rows", "CPU s", "wall s", "CPU s per million engagements", "GiB so far")
    formats = ("", ",.0f", ",.1f", ",.1f", ".2f", ".1f")
    text = f"{tabulate(rows, heads, floatfmt=formats, tablefmt='github')}\n\nMeasured on {busy} (when it began)."
    print(text)
    if options.write:
        replace_marked(PAGE, "quality", text)


if __name__ == "__main__":
    main()
