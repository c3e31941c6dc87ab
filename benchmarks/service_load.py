"""The HTTP service at its limit and beyond it, on a trained dataset, while its index is updated.

    python -m benchmarks.service_load --home FOLDER [--dataset movietweetings-100k] [--seconds 60] [--write]

``--home`` has to hold a dataset that `thaw run` has finished; its live part is copied, so nothing of it changes. `thaw
serve` answers from the copy, this process writes a delta of ten items fifty times a second (their own vectors: what
searches find stays the same), and wrk (or a slower client of its own where it is missing) asks for every user by turns.
Without a pause of its own a connection always waits for one answer, so latency at a number of connections says how many
are asked for at once, not how long one query takes: that is the row of one connection.
"""

import argparse
import shutil
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from assets.config import PROJECT_ROOT, Settings, load_settings
from assets.serving.live.generation import require_current
from assets.serving.retrieval.retriever import Retriever, wall_clock
from assets.serving.retrieval.serving import open_serving
from assets.serving.store.deltas import append_delta
from benchmarks.children import child, free_port
from benchmarks.load import Load, load
from benchmarks.marked import replace_marked
from benchmarks.measuring import machine

PAGE: Final = PROJECT_ROOT / "docs" / "operations.md"
MARK: Final = "load"
CONNECTIONS: Final = (1, 16, 64, 256)
USERS: Final = 2000
ITEMS: Final = 10
PAUSE_SECONDS: Final = 0.02
START_SECONDS: Final = 180.0
COPIED: Final = ("live", "checkpoints")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--dataset", default="movietweetings-100k")
    parser.add_argument("--seconds", type=float, default=60.0, help="per number of connections")
    parser.add_argument("--write", action="store_true", help="the table into docs/operations.md")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for part in COPIED:
            source = asked.home / "data" / asked.dataset / part
            if not source.is_dir():
                parser.error(f"{source} does not exist: finish `thaw run --dataset {asked.dataset}` in that home first")
            shutil.copytree(source, home / "data" / asked.dataset / part)
        environment = {"THAW_HOME": folder, "THAW_DATASET": asked.dataset}
        text = measured(load_settings(environment), environment, home / "service.log", asked.seconds)
    print(text)
    if asked.write:
        replace_marked(PAGE, MARK, text)


def measured(settings: Settings, environment: dict[str, str], log: Path, seconds: float) -> str:
    """The table, and in what circumstances."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    paths, items = paths_of(settings)
    arguments = ["-m", "orchestration.cli", "serve", "--dataset", settings.dataset, "--port", str(port)]
    rows, busy = [], machine()
    with child(arguments, environment, log, f"{address}/healthz", START_SECONDS), updating(settings) as written:
        for connections in CONNECTIONS:
            rows.append((connections, load(address, paths, connections, seconds)))
            busy = machine()
            recovered = recovery(address + paths[0])
    about = (
        f"{settings.dataset}, {items:,} items, k 10, {len(paths):,} users by turns, {seconds:g} s per row beside "
        f"{written[0]:,} updates of {ITEMS} items in all; {busy}. After the last row the first answer came after "
        f"{recovered:.2f} s."
    )
    return f"{about}\n\n{table(rows)}"


def table(rows: list[tuple[int, Load]]) -> str:
    """A row per number of connections."""
    head = ("connections", "answered/s", "refused/s", "other", "errors", "p50 ms", "p99 ms", "max ms")
    cells = [
        (
            connections,
            f"{one.per_second:,.0f}",
            f"{one.refused / one.seconds:,.0f}",
            one.other,
            one.errors,
            *(f"{value:,.1f}" for value in (one.p50_ms, one.p99_ms, one.max_ms)),
        )
        for connections, one in rows
    ]
    return tabulate(cells, head, "pipe", disable_numparse=True, colalign=("right",) * len(head))


def paths_of(settings: Settings) -> tuple[list[str], int]:
    """What is asked for, and how many items there are."""
    with Retriever.open(settings.storage, settings) as retriever:
        users = retriever.users()[:USERS]
        return [f"/v1/recommend?user={urllib.parse.quote(user, safe='')}&k=10" for user in users], retriever.size


@contextmanager
def updating(settings: Settings) -> Iterator[list[int]]:
    """Writes deltas while the block runs; gives how many, in a list of one."""
    written, stop = [0], threading.Event()
    serving = open_serving(settings.storage, require_current(settings.storage), wall_clock)
    with serving.index.reading() as indexed:
        ids = list(indexed.index.ids)
        vectors = indexed.index.vectors(ids)

    def write() -> None:
        while not stop.wait(PAUSE_SECONDS):
            start = written[0] * ITEMS % max(1, len(ids) - ITEMS)
            part = slice(start, start + ITEMS)
            with serving.store.write() as writer:
                append_delta(writer, time.time_ns() // 1000, ids[part], vectors[part])
            written[0] += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield written
    finally:
        stop.set()
        thread.join()
        serving.close()


def recovery(url: str) -> float:
    """Seconds until an answer that is not a refusal."""
    started = time.perf_counter()
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                answer.read()
            return time.perf_counter() - started
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise


if __name__ == "__main__":
    main()
