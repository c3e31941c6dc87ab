"""What ingestion costs per row: a CSV file of the user's, and simulated data, to canonical Parquet.

    python benchmarks/ingestion.py [--rows 10000000] [--simulated 1000000]

Whole ``ingest()``: digest of the file, parsing, screening, duplicates, data version, writing. The files are made up:
whole numbers as ids (a million users, 200,000 items, skewed), five columns. ``plain`` has epoch seconds; ``dates`` has
ISO 8601; ``quoted`` has quotes around every field; ``dirty`` has 1 % of the rows wrong in six ways and 1 % duplicates,
so that every block of it goes the slow ways. Each runs in a process of its own; CPU seconds are the measure where other
work shares the cores.
"""

import argparse
import shutil
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from assets.config import Settings
from assets.ingestion.ingest import ingest
from benchmarks.measuring import Cost, in_child, machine, metered, peak_mib, verdict

NOW = datetime(2026, 1, 1)
USERS, ITEMS = 1_000_000, 200_000
KINDS = ("plain", "dates", "quoted", "dirty")
STAND_IN = "~"
"""For a delimiter that is one field too many: Arrow writes none without quotes."""

DIRT = ("", "soon", "many", "ragged", "99999999999", f"1{STAND_IN}2")
BAR_RATE, BAR_GIB = 1_000_000, 3
Measured = tuple[int, float, Cost, float]
"""Rows read, MiB of the source, cost, peak memory in MiB."""


def write_source(path: Path, rows: int, kind: str) -> None:
    """A CSV file of made-up engagements in order of time."""
    rng = np.random.default_rng(0)
    users = (rng.pareto(1.2, rows) * 1e4).astype(np.int64) % USERS
    items = (rng.pareto(1.0, rows) * 1e2).astype(np.int64) % ITEMS
    seconds = np.sort(rng.integers(1_500_000_000, 1_600_000_000, rows))
    table = pa.table(
        {
            "user_id": pa.array(users),
            "item_id": pa.array(items),
            "timestamp": pa.array(seconds.astype("datetime64[s]") if kind == "dates" else seconds),
            "value": pa.array(rng.integers(1, 6, rows)),
            "event_type": pa.array(["click", "view", "rating"]).take(pa.array(rng.integers(0, 3, rows))),
        }
    )
    if kind == "dirty":
        table = _with_dirt(table, rng)
    if kind == "quoted":
        table = pa.table({name: table[name].cast(pa.string()) for name in table.column_names})
    style = "all_valid" if kind == "quoted" else "none"
    csv.write_csv(table, path, csv.WriteOptions(quoting_style=style))
    if kind == "dirty":
        path.write_bytes(path.read_bytes().replace(STAND_IN.encode(), b","))


def _with_dirt(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    """The table as text with 1 % wrong fields, one of them with a delimiter in it, and 1 % of the rows again."""
    columns = {name: table[name].cast(pa.string()).combine_chunks() for name in table.column_names}
    for name, dirt in zip(("user_id", "timestamp", "value", "item_id", "timestamp", "event_type"), DIRT, strict=True):
        wrong = pa.array(rng.random(table.num_rows) < 0.01 / len(DIRT))
        columns[name] = pc.if_else(wrong, dirt, columns[name])
    dirty = pa.table(columns)
    return pa.concat_tables([dirty, dirty.slice(table.num_rows // 2, table.num_rows // 100)])


def ingesting(dataset: str, kind: str, data_dir: Path, engagements: int) -> Measured:
    """One whole ingestion; ``engagements`` of the simulated dataset only."""
    options: dict[str, Any] = {"simulated": {"engagements": engagements}, "files": {}}
    if kind == "dirty":  # whose words would make Thaw look for dates
        options["files"] |= {"timestamp_format": "epoch_seconds"}
    settings = Settings(dataset=dataset, home=data_dir / "home", data_dir=data_dir, datasets=options)
    source = data_dir / dataset / "interactions.csv"
    size = source.stat().st_size / (1 << 20) if source.exists() else 0.0
    with metered() as cost:
        report = ingest(settings, settings.storage, NOW)
    return sum(report.rows_read.values()) or report.rows["interactions"], size, cost, peak_mib()


def measured(dataset: str, rows: int, kind: str, folder: Path) -> Measured:
    """Ingest one made-up source in a process of its own; what it made is removed."""
    (folder / dataset).mkdir(parents=True)
    try:
        if dataset == "files":
            in_child(write_source, folder / dataset / "interactions.csv", rows, kind)
        return in_child(ingesting, dataset, kind, folder, rows)
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Print the table and what the bars say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help="of each CSV file")
    parser.add_argument("--simulated", type=int, default=1_000_000, help="engagements of the simulated dataset")
    parser.add_argument("--kinds", nargs="*", default=KINDS, choices=KINDS)
    asked = parser.parse_args()
    runs = [("files", asked.rows, kind) for kind in asked.kinds]
    runs += [("simulated", asked.simulated, "default")] if asked.simulated else []
    with tempfile.TemporaryDirectory(prefix="thaw-ingestion-") as base:
        rows = [
            (f"{dataset}, {kind}", *measured(dataset, count, kind, Path(base) / kind)) for dataset, count, kind in runs
        ]
    headers = ["source", "rows", "MiB", "CPU s", "wall s", "rows / wall s", "rows / CPU s", "peak MiB"]
    table = [
        (
            name,
            f"{count:,}",
            f"{size:.0f}",
            f"{cost.cpu:.1f}",
            f"{cost.wall:.1f}",
            f"{count / cost.wall:,.0f}",
            f"{count / cost.cpu:,.0f}",
            f"{peak:.0f}",
        )
        for name, count, size, cost, peak in rows
    ]
    print(tabulate(table, headers=headers, tablefmt="github", disable_numparse=True))
    print(f"\n{machine()}")
    _, count, _, cost, _ = rows[0]
    print(f"{BAR_RATE:,} rows a second of {rows[0][0]}: {verdict(count / cost.wall >= BAR_RATE)}")
    print(f"peak under {BAR_GIB} GiB: {verdict(max(row[4] for row in rows) <= BAR_GIB * 1024)}")


if __name__ == "__main__":
    main()
