"""What the simulator costs, from a hundred thousand engagements on: time, memory, and bytes on disk.

    python benchmarks/simulation.py [--largest 10000000]

Ten engagements a user and fifty an item, as ``thaw simulate`` has it. ``read`` makes the raw tables that ingestion
goes on with, in memory; ``write`` streams part files to a folder that is removed. Each in a process of its own.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from assets.ingestion.datasets.simulated import read
from assets.ingestion.simulation.options import SimulatedOptions
from assets.ingestion.simulation.write import write_simulation
from benchmarks.measuring import Cost, in_child, machine, metered, peak_mib, verdict

NOW = datetime(2026, 1, 1)
SIZES = (100_000, 1_000_000, 10_000_000, 100_000_000)
PER_USER, PER_ITEM = 10, 50
MOST_READ = 10_000_000
"""Larger ones are only written: raw tables are held in memory."""

BAR_CPU_SECONDS, BAR_GIB, BAR_RATE = 60, 3, 500_000
Measured = tuple[int, Cost, float, float]
"""Rows, cost, peak memory in MiB, MiB on disk."""


def options(engagements: int) -> SimulatedOptions:
    """As ``thaw simulate --engagements N``."""
    return SimulatedOptions(
        engagements=engagements, users=max(2, engagements // PER_USER), items=max(2, engagements // PER_ITEM)
    )


def reading(engagements: int) -> Measured:
    """Raw tables in memory."""
    with metered() as cost:
        raw = read(Path(), options(engagements), NOW)
    return raw.interactions.num_rows, cost, peak_mib(), 0.0


def writing(engagements: int) -> Measured:
    """Part files on disk."""
    folder = Path(tempfile.mkdtemp(prefix="thaw-simulation-"))
    try:
        with metered() as cost:
            written = write_simulation(folder / "out", options(engagements), NOW, lambda day: day)
        size = sum(path.stat().st_size for path in (folder / "out").iterdir())
    finally:
        shutil.rmtree(folder)
    return written.rows["interactions"], cost, peak_mib(), size / (1 << 20)


def main() -> None:
    """Print the table and what the bars say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=MOST_READ, help="engagements of the largest size")
    sizes = [size for size in SIZES if size <= parser.parse_args().largest]
    rows = []
    ways: tuple[tuple[str, Callable[[int], Measured]], ...] = (("read", reading), ("write", writing))
    for size in sizes:
        for name, way in ways:
            if name == "write" or size <= MOST_READ:
                rows.append((name, size, *in_child(way, size)))
    headers = ["way", "engagements", "CPU s", "wall s", "CPU µs each", "engagements / CPU s", "peak MiB", "MiB on disk"]
    table = [
        (
            name,
            f"{size:,}",
            f"{cost.cpu:.1f}",
            f"{cost.wall:.1f}",
            f"{cost.cpu / made * 1e6:.2f}",
            f"{made / cost.cpu:,.0f}",
            f"{peak:,.0f}",
            f"{disk:,.0f}" if disk else "",
        )
        for name, size, made, cost, peak, disk in rows
    ]
    print(machine())
    print(tabulate(table, headers=headers, tablefmt="github", disable_numparse=True))
    for name, size, made, cost, peak, _ in rows:
        if size == MOST_READ:
            met = cost.cpu < BAR_CPU_SECONDS and peak < BAR_GIB * 1024 and made / cost.cpu >= BAR_RATE
            bar = f"under {BAR_CPU_SECONDS} CPU s and {BAR_GIB} GiB, {BAR_RATE:,} engagements a CPU s and more"
            print(f"{name}, {size:,} engagements: {bar}: {verdict(met)}")


if __name__ == "__main__":
    main()
