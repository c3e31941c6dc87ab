"""Training interactions per second of ``ihm_sasrec`` beside a plain per-row implementation, and peak memory.

    python benchmarks/training.py [--threads 1 2] [--plain-seconds 10] [--large-items 1000000]

Both sides train on everything before the cutoff of the exported tables, with the sizes of the model's preset, and
count the engagements that they predict, padding never. Exported are the datasets that ``thaw run`` has run; without
any, made-up engagements take their place. Every measurement has a process of its own. Other work on the machine shows
in wall time; CPU time is that of all threads of the process. Where other work keeps the cores busy, two threads wait
for each other (the plain side fell to a tenth of one thread's rate): quote the line on which the plain side is fastest.
"""

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from assets.config import Settings, load_settings
from assets.schema import Columns, ItemSlice
from assets.stream import Catalog, DatasetTables, EngagementStream, load_tables
from assets.training.batches import BatchSource
from assets.training.encoding import Encodings, Universe
from assets.training.loop import fit, seeded
from assets.training.past import before_cutoff
from assets.training.presets import FitPreset, preset
from assets.training.train import prepare
from assets.training.validation import NDCG
from benchmarks.plain_ihm import PlainIHM, PlainSampler, Shape, plain_step
from models.base import PADDING, Net
from models.ihm import HistoryItemsConfig
from models.sequence import SequenceUsersConfig

MODEL: Final = "ihm_sasrec"
REAL: Final = ("movietweetings-100k", "ml-100k")
SIMULATED: Final = "simulated"
MADE_UP: Final = "made-up"
PLAIN_USERS: Final = (32, 128)
"""Sequences per step of the plain side: the fastest here, and what public code takes. The better one counts."""

PLAIN_LEARNING_RATE: Final = 1e-3
MEMORY_STEPS: Final = 20
LARGE_CATALOG: Final = {"loss": "sampled_softmax"}
"""Hyper-parameters with which a catalog too large for scoring all of it at every step is trained."""

DAYS: Final = 90
GENRES: Final = 20
START: Final = np.datetime64("2020-01-01", "us")


@dataclass(frozen=True)
class Measured:
    """What a stretch of training took.

    Attributes:
        interactions: engagements predicted, with repetition over epochs.
        wall: seconds.
        cpu: seconds of all threads.
        sampling: seconds of ``wall`` that went into making batches; 0 where that is not measured apart.
        peak_mib: largest resident memory of the process.
    """

    interactions: int
    wall: float
    cpu: float
    sampling: float
    peak_mib: float

    @property
    def per_second(self) -> float:
        return self.interactions / self.wall

    @property
    def per_cpu_second(self) -> float:
        return self.interactions / self.cpu


class Metered:
    """A batch source that counts the targets it hands out, and ends an epoch early where it is told to.

    Args:
        steps: batches per epoch, at most; None for all.
    """

    def __init__(self, source: BatchSource, steps: int | None) -> None:
        self.source = source
        self.steps = len(source) if steps is None else min(steps, len(source))
        self.targets = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Any]:
        for batch in islice(self.source, self.steps):
            self.targets += len(batch.targets)
            yield batch


def fast_epoch_seconds(
    model: str, tables: DatasetTables, settings: Settings, threads: int, epochs: int, steps: int | None = None
) -> Measured:
    """Train ``model`` as its asset does, for a warm-up epoch and ``epochs`` more, which are measured.

    Encoding the tables is not part of the time; the loop, the optimiser and the making of every batch are.

    Args:
        steps: batches per epoch, at most; None for all.
    """
    config, seed = net_preset(model, settings), settings.training.seed
    past = before_cutoff(tables)
    stamps: list[tuple[int, float, float]] = []
    with seeded(seed, "cpu", threads):
        ready = prepare(config, past, past.stream, past.cutoff, settings)
        batches = Metered(ready.batches, steps)

        def stamp(net: Net) -> dict[str, float]:
            del net
            stamps.append((batches.targets, time.perf_counter(), time.process_time()))
            return {NDCG: float(len(stamps))}  # better every epoch: training must not stop early

        fit(ready.net, batches, config, "cpu", epochs + 1, stamp, NDCG)
    interactions, wall, cpu = (last - first for first, last in zip(stamps[0], stamps[-1], strict=True))
    return Measured(int(interactions), wall, cpu, 0.0, peak_mib())


def plain_speed(
    tables: DatasetTables, settings: Settings, shape: Shape, threads: int, users: int, seconds: float
) -> Measured:
    """Train the plain model for about ``seconds`` after one step of warm-up.

    Args:
        users: sequences per step.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(settings.training.seed)
    net, sampler = plain_side(tables, settings, shape)
    optimizer = torch.optim.Adam(net.parameters(), lr=PLAIN_LEARNING_RATE, fused=True)
    plain_step(net, optimizer, next(sampler.epoch(users)))
    interactions, sampling = 0, 0.0
    started, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - started < seconds:
        epoch = sampler.epoch(users)
        before = time.perf_counter()
        # Whole epochs would take minutes; a part of a shuffled one is a fair sample of it.
        while (batch := next(epoch, None)) is not None and before - started < seconds:
            sampling += time.perf_counter() - before
            plain_step(net, optimizer, batch)
            interactions += batch.interactions
            before = time.perf_counter()
    return Measured(interactions, time.perf_counter() - started, time.process_time() - cpu, sampling, peak_mib())


def plain_side(tables: DatasetTables, settings: Settings, shape: Shape) -> tuple[PlainIHM, PlainSampler]:
    """The plain model and its sampler on everything before the cutoff, with our ids and features."""
    past = before_cutoff(tables)
    encodings = Encodings.fit(past, past.stream, settings.split.qualified_user_min)
    universe = Universe.encode(encodings, past)
    sizes = encodings.sizes
    features = {name: _by_id(universe.item_ids, values) for name, values in universe.item_features.items()}
    net = PlainIHM(sizes.history_users, sizes.items, features, dict(sizes.item_features), shape)
    ids, members = universe.item_ids.numpy(), universe.history_user_ids
    return net, PlainSampler.build(past.stream, ids, members, shape, settings.training.seed)


def _by_id(ids: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Values [N, S] of universe rows at their dense ids [N]; what row OOV holds does not matter here."""
    table = torch.full((int(ids.max()) + 1, values.shape[1]), PADDING)
    table[ids] = values
    return table


def net_preset(model: str, settings: Settings) -> FitPreset:
    config = preset(model, settings.training, settings.dataset)
    assert isinstance(config, FitPreset), f"{model} is not trained"
    return config


def shape_of(model: str, settings: Settings) -> Shape:
    """The plain side's sizes: those of ``model``'s preset.

    Raises:
        TypeError: when the model's items have no history.
    """
    net = net_preset(model, settings).net
    items, users = net.items, net.users
    if not isinstance(items, HistoryItemsConfig) or not isinstance(users, SequenceUsersConfig):
        raise TypeError(f"{model} is no item history model on a sequence tower: the plain side has no such thing")
    return Shape(
        dim=net.dim,
        layers=users.layers,
        heads=users.heads,
        length=users.history_length,
        experts=items.heads,
        item_history=items.history_length,
        feature_dim=items.feature_dim,
        ids=items.ids,
        dropout=users.dropout,
    )


def made_up(users: int, items: int, engagements: int) -> DatasetTables:
    """Random engagements over 90 days, all before the cutoff: every item has one, the others go to few items.

    Says nothing about quality; ids, one list-valued feature and times are there because they cost time and memory.

    Args:
        engagements: at least ``items``.
    """
    generator = np.random.default_rng(0)
    popular = (items * generator.random(engagements - items) ** 3).astype(np.int64)
    chosen = np.concatenate([np.arange(items), popular])
    generator.shuffle(chosen)
    instants = np.sort(generator.integers(0, DAYS * 86_400_000_000, engagements)).astype("timedelta64[us]")
    interactions = pd.DataFrame(
        {
            Columns.USER: _names("user", users)[generator.integers(0, users, engagements)],
            Columns.ITEM: _names("item", items)[chosen],
            Columns.TIMESTAMP: START + instants,
            Columns.VALUE: np.float32(1),
            Columns.EVENT_TYPE: "engagement",
            Columns.SOURCE_ROW: np.arange(engagements),
        }
    )
    counts = np.bincount(chosen, minlength=items)
    item_frame = pd.DataFrame(
        {
            Columns.ITEM: _names("item", items),
            Columns.TITLE: "",
            Columns.CREATED_AT: START,
            Columns.AVAILABLE_AT: START,
            Columns.FIRST_ENGAGED_AT: START,
            Columns.TRAIN_COUNT: counts,
            Columns.SLICE: np.where(counts > 10, ItemSlice.HEAD.value, ItemSlice.TAIL.value),
            "genre": list(_names("genre", GENRES)[generator.integers(0, GENRES, (items, 2))]),
        }
    )
    user_frame = pd.DataFrame({Columns.USER: _names("user", users), Columns.TRAIN_COUNT: 0})
    return DatasetTables(
        stream=EngagementStream.from_tables(interactions, user_frame, item_frame),
        catalog=Catalog.from_table(item_frame),
        users=user_frame,
        interactions=interactions,
        cutoff=START + np.timedelta64(DAYS, "D"),
        validation_start=START + np.timedelta64(DAYS * 9 // 10, "D"),
    )


def _names(kind: str, count: int) -> Any:
    return np.array([f"{kind}-{number:07}" for number in range(count)], dtype=object)


def tables_of(dataset: str) -> tuple[DatasetTables, Settings]:
    """A dataset's exported tables, or made-up ones, and the settings that apply to it."""
    if dataset == MADE_UP:
        return made_up(2_000, 2_000, 50_000), load_settings()
    settings = load_settings(dataset=dataset)
    return load_tables(settings.storage), settings


def exported() -> list[str]:
    """The real datasets that are exported, or else the simulated one, or else made-up data."""

    def there(name: str) -> bool:
        return load_settings(dataset=name).storage.table("split_bounds").exists()

    return [name for name in REAL if there(name)] or [name for name in (SIMULATED,) if there(name)] or [MADE_UP]


def measure_fast(dataset: str, model: str, threads: int, epochs: int) -> Measured:
    tables, settings = tables_of(dataset)
    return fast_epoch_seconds(model, tables, settings, threads, epochs)


def measure_plain(dataset: str, model: str, threads: int, users: int, seconds: float) -> Measured:
    tables, settings = tables_of(dataset)
    return plain_speed(tables, settings, shape_of(model, settings), threads, users, seconds)


def measure_memory(model: str, items: int, engagements: int, steps: int, hyper_parameters: dict[str, Any]) -> Measured:
    """A short epoch on a made-up catalog: every table, gradient and moment of the optimiser is in memory after it."""
    settings = load_settings()
    own = settings.training.hyper_parameters.get(model, {}) | hyper_parameters
    training = settings.training.model_copy(
        update={"hyper_parameters": {**settings.training.hyper_parameters, model: own}}
    )
    settings = settings.model_copy(update={"training": training})
    tables = made_up(max(1, engagements // 20), items, engagements)
    return fast_epoch_seconds(model, tables, settings, threads=1, epochs=1, steps=steps)


def peak_mib() -> float:
    """Largest resident memory of this process so far (``ru_maxrss`` is in KiB on Linux, in bytes on macOS)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))


def in_child(function: Callable[..., Measured], *arguments: Any) -> Measured:
    """Call in a process of its own, whose peak memory is the call's. This process stays small: a child inherits it."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def speed_row(dataset: str, threads: int, fast: Measured | None, plain: Measured) -> list[Any]:
    """One line of the table; ``fast`` is None where only the plain side was asked for."""
    row: list[Any] = [dataset, threads]
    for rate in (attrgetter("per_second"), attrgetter("per_cpu_second")):
        ours, theirs = fast and rate(fast), rate(plain)
        row += [ours, theirs, ours and ours / theirs]
    return [*row, f"{plain.sampling / plain.wall:.0%}", fast and fast.peak_mib, plain.peak_mib]


SPEED_HEADERS: Final = (
    "dataset",
    "threads",
    "ours /s",
    "plain /s",
    "times",
    "ours /CPU s",
    "plain /CPU s",
    "times",
    "plain: sampling",
    "ours MiB",
    "plain MiB",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", help="exported datasets (default: the real ones)")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--epochs", type=int, default=2, help="measured epochs of ours, after one of warm-up")
    parser.add_argument("--plain-seconds", type=float, default=10)
    parser.add_argument(
        "--plain-users", type=int, nargs="+", default=PLAIN_USERS, help="sequences per step of the plain side; the best"
    )
    parser.add_argument("--plain-only", action="store_true", help="neither time ours nor measure its memory")
    parser.add_argument("--large-items", type=int, default=1_000_000, help="items of the large made-up catalog")
    options = parser.parse_args()
    speed(options)
    if not options.plain_only:
        memory(options)


def speed(options: argparse.Namespace) -> None:
    model, rows = options.model, []
    for dataset in options.datasets or exported():
        for threads in options.threads:
            print(f"measuring {dataset} on {threads} threads", file=sys.stderr, flush=True)
            fast = None if options.plain_only else in_child(measure_fast, dataset, model, threads, options.epochs)
            tried = [
                in_child(measure_plain, dataset, model, threads, users, options.plain_seconds)
                for users in options.plain_users
            ]
            plain = max(tried, key=lambda measured: measured.per_cpu_second)
            rows.append(speed_row(dataset, threads, fast, plain))
    print(f"Training interactions per second: {model} and the plain implementation, {shape_of(model, load_settings())}")
    print(tabulate(rows, SPEED_HEADERS, floatfmt=",.1f", tablefmt="github"))


def memory(options: argparse.Namespace) -> None:
    rows = []
    for items, engagements, hyper_parameters in (
        (10_000, 100_000, {}),
        (options.large_items, 2 * options.large_items, LARGE_CATALOG),
    ):
        measured = in_child(measure_memory, options.model, items, engagements, MEMORY_STEPS, hyper_parameters)
        rows.append([f"{items:,}", f"{engagements:,}", measured.per_second, measured.peak_mib])
    print(f"Peak memory of {options.model} on made-up engagements, {MEMORY_STEPS} steps an epoch, 1 thread")
    print(tabulate(rows, ("items", "engagements", "interactions /s", "peak MiB"), floatfmt=",.0f", tablefmt="github"))


if __name__ == "__main__":
    main()
