"""Throughput, memory and perplexity of sampled against dense output as the catalog grows: Table 8 of HRNN-meta.

    python benchmarks/large_catalogs.py [--items 1000 10000 100000 1000000] [--threads 2] [--rounds 2]

Both sides are the ``gru`` preset on the same made-up sequences, trained by the project's own loop (batches, loss,
backward pass, optimiser). ``dense`` scores the whole catalog at every step (full softmax, AdamW over every row);
``sampled`` scores a batch's targets and shared draws (sampled softmax) and steps the rows that it touched
(``lazy_adamw``). Every measurement has a process of its own, and the two sides take turns, so that other work on the
machine is on both. Made-up sequences follow a known distribution, whose own perplexity is printed beside the models'.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from assets.config import Settings, load_settings
from assets.schema import Columns, ItemSlice
from assets.stream import Catalog, DatasetTables, EngagementStream
from assets.training.loop import fit, seeded
from assets.training.presets import FitPreset, preset
from assets.training.recommender import NetRecommender
from assets.training.train import Ready, prepare
from assets.training.validation import LOG_LIKELIHOOD, NDCG, validator
from benchmarks.measuring import Cost, in_child, machine, peak_mib, verdict
from models.base import Net

MODEL: Final = "gru"
OUTPUTS: Final[dict[str, dict[str, Any]]] = {
    "sampled": {"loss": "sampled_softmax", "optimizer": "lazy_adamw"},
    "dense": {"loss": "full_softmax", "optimizer": "adamw"},
}
BATCH: Final = 256
"""Targets per step, of both sides: of 1M items, each target costs the dense side some 16 MB."""

STEPS: Final = 100
CELLS: Final = 1.2e9
"""Scores that the dense side computes in a measurement, about: what bounds its steps."""

GROUPS, STAYS = 20, 0.8
LENGTH, DAYS = 20, 30
START: Final = np.datetime64("2020-01-01", "us")
DAY: Final = np.timedelta64(1, "D")
HOUR_US: Final = 3_600_000_000
FASTER, SMALLER, WORSE = 8.0, 2.0, 0.03
"""Bars: speed and memory of sampled against dense at the largest catalog; perplexity wherever it is measured."""


@dataclass(frozen=True)
class Sequences:
    """Users who read in sessions of one kind: a distribution of which everything is known.

    Items are in :data:`GROUPS` equal groups. A user's next item is of the previous one's group with probability
    :data:`STAYS`, else of a uniformly drawn group; within a group, item number k is drawn in proportion to 1 / (k + 1).
    """

    items: int

    @property
    def within(self) -> NDArray[np.float64]:
        """[items // GROUPS] probability of an item given its group."""
        weights = 1.0 / np.arange(1, self.items // GROUPS + 1)
        return weights / weights.sum()

    def draw(self, users: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """[users, LENGTH] items."""
        group = generator.integers(0, GROUPS, (users, LENGTH))
        changes = generator.random((users, LENGTH)) >= STAYS
        changes[:, 0] = True
        latest = np.maximum.accumulate(np.where(changes, np.arange(LENGTH), 0), axis=1)  # step of the latest change
        group = np.take_along_axis(group, latest, axis=1)
        cumulative = np.cumsum(self.within)
        place = np.searchsorted(cumulative, generator.random((users, LENGTH)) * cumulative[-1], side="right")
        return group * len(cumulative) + place.clip(max=len(cumulative) - 1)

    @property
    def perplexity(self) -> tuple[float, float]:
        """Of who knows the distribution and the previous item, and of who knows popularity alone; repeats allowed."""
        place = -(self.within * np.log(self.within)).sum()
        other = (1 - STAYS) / GROUPS
        same = STAYS + other
        group = -same * np.log(same) - (GROUPS - 1) * other * np.log(other)
        return float(np.exp(place + group)), float(np.exp(place) * GROUPS)


def made_up(items: int, users: int) -> DatasetTables:
    """Sequences of ``users`` over 29 days, after a day on which one more user engaged with every item once.

    That user gives every item an id and a count. Items join the catalog a day later, so none of these is a target.

    Args:
        items: a multiple of :data:`GROUPS`.
    """
    generator = np.random.default_rng(0)
    chosen = Sequences(items).draw(users, generator)  # [U, LENGTH]
    begins = generator.integers(24 * HOUR_US, (DAYS - 2) * 24 * HOUR_US, (users, 1))
    gaps = generator.integers(HOUR_US // 60, HOUR_US, (users, LENGTH))
    instants = begins + np.cumsum(gaps, axis=1)  # [U, LENGTH] microseconds; LENGTH gaps are less than a day
    order = np.argsort(instants, axis=None, kind="stable")
    stream = EngagementStream(
        users=np.concatenate([np.full(items, users), np.repeat(np.arange(users), LENGTH)[order]]),
        items=np.concatenate([np.arange(items), chosen.ravel()[order]]),
        timestamps=START + np.concatenate([np.zeros(items, np.int64), instants.ravel()[order]]).astype("m8[us]"),
        values=np.ones(items + chosen.size, np.float32),
        events=np.zeros(items + chosen.size, np.int64),
        n_users=users + 1,
        n_items=items,
        event_types=("view",),
    )
    return DatasetTables(
        stream=stream,
        catalog=Catalog.from_table(_item_frame(np.bincount(stream.items, minlength=items))),
        users=pd.DataFrame({Columns.USER: _names("user", users + 1), Columns.TRAIN_COUNT: 0}),
        interactions=pd.DataFrame(),  # of what is used here, nothing reads it
        cutoff=START + DAYS * DAY,
        validation_start=START + np.timedelta64(DAYS * 9 // 10, "D"),
    )


def _item_frame(counts: NDArray[np.int64]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            Columns.ITEM: _names("item", len(counts)),
            Columns.TITLE: "",
            Columns.CREATED_AT: START + DAY,
            Columns.AVAILABLE_AT: START + DAY,
            Columns.FIRST_ENGAGED_AT: START,
            Columns.TRAIN_COUNT: counts,
            Columns.SLICE: np.where(counts > 10, ItemSlice.HEAD.value, ItemSlice.TAIL.value),
        }
    )


def _names(kind: str, count: int) -> NDArray[Any]:
    return np.array([f"{kind}-{number:07}" for number in range(count)], dtype=object)


def configured(output: str, epochs: int) -> tuple[FitPreset, Settings]:
    """The preset of one side, and the settings that apply to it."""
    settings = load_settings()
    own = {**OUTPUTS[output], "batch_size": BATCH, "max_epochs": epochs, "keep": "last"}
    training = settings.training.model_copy(update={"hyper_parameters": {MODEL: own}, "max_epochs": None})
    config = preset(MODEL, training, "made-up")
    assert isinstance(config, FitPreset)
    return config, settings


class Metered:
    """A batch source that ends an epoch after some steps, and counts the targets it hands out."""

    def __init__(self, source: Any, steps: int) -> None:
        self.source = source
        self.steps = min(steps, len(source))
        self.targets = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Any]:
        for batch in islice(self.source, self.steps):
            self.targets += len(batch.targets)
            yield batch


@dataclass(frozen=True)
class Speed:
    """One measurement.

    Attributes:
        targets: that were predicted in ``cost``.
        cost: of an epoch after one of warm-up.
        before_mib: largest resident memory before the net was made: data, libraries.
        peak_mib: largest of all.
    """

    targets: int
    cost: Cost
    before_mib: float
    peak_mib: float


def speed(items: int, users: int, output: str, threads: int, steps: int = STEPS) -> Speed:
    """Train for two epochs of a few steps and measure the second."""
    config, settings = configured(output, epochs=2)
    tables = made_up(items, users)
    before = peak_mib()
    stamps: list[tuple[int, float, float]] = []
    with seeded(0, "cpu", threads):
        ready = prepare(config, tables, tables.stream, tables.cutoff, settings)
        source = Metered(ready.batches, steps_of(items, output, steps))

        def stamp(net: Net) -> dict[str, float]:
            del net
            stamps.append((source.targets, time.perf_counter(), time.process_time()))
            return {NDCG: 0.0}

        fit(ready.net, source, config, "cpu", 2, stamp, NDCG)
    targets, wall, cpu = (end - begin for begin, end in zip(*stamps, strict=True))
    return Speed(int(targets), Cost(wall, cpu), before, peak_mib())


def steps_of(items: int, output: str, most: int) -> int:
    """Steps of a measured epoch: ``most``, or what the dense side's scores allow, at least 3."""
    return most if output == "sampled" else int(np.clip(CELLS / (BATCH * items), 3, most))


def quality(items: int, users: int, output: str, epochs: int, threads: int) -> dict[str, float]:
    """Train on all but the last tenth of the time, and rank the whole catalog for that: see ``validation.py``."""
    config, settings = configured(output, epochs)
    tables = made_up(items, users)
    with seeded(0, "cpu", threads):
        ready: Ready = prepare(
            config, tables, tables.stream.before(tables.validation_start), tables.validation_start, settings
        )
        fitted = fit(ready.net, ready.batches, config, "cpu", epochs)
        found = validator(tables, seed=0)(NetRecommender(fitted.net, ready.batches.refresher))
    return {"perplexity": float(np.exp(-found[LOG_LIKELIHOOD])), NDCG: found[NDCG]}


def speed_rows(measured: dict[int, dict[str, list[Speed]]]) -> tuple[list[list[Any]], dict[int, tuple[float, float]]]:
    """Lines of the table by catalog size, and (times as fast, times the memory) per size; medians over rounds."""
    rows, ratios = [], {}
    for items, outputs in measured.items():
        rates = {name: np.median([one.targets / one.cost.wall for one in runs]) for name, runs in outputs.items()}
        busy = {name: np.median([one.targets / one.cost.cpu for one in runs]) for name, runs in outputs.items()}
        peak = {name: max(one.peak_mib for one in runs) for name, runs in outputs.items()}
        before = max(one.before_mib for runs in outputs.values() for one in runs)
        faster = float(rates["sampled"] / rates["dense"])
        ratios[items] = (faster, peak["dense"] / peak["sampled"])
        times = busy["sampled"] / busy["dense"]
        row = [f"{items:,}", rates["sampled"], rates["dense"], faster, busy["sampled"], busy["dense"], times]
        rows.append([*row, before, peak["sampled"], peak["dense"], ratios[items][1]])
    return rows, ratios


SPEED_HEADERS: Final = (
    "items",
    "sampled /s",
    "dense /s",
    "times",
    "sampled /CPU s",
    "dense /CPU s",
    "times",
    "MiB before",
    "sampled MiB",
    "dense MiB",
    "times",
)


def measure_speed(options: argparse.Namespace) -> None:
    measured: dict[int, dict[str, list[Speed]]] = {}
    for items in options.items:
        measured[items] = {name: [] for name in OUTPUTS}
        for _ in range(options.rounds):
            for name in OUTPUTS:
                print(f"{items:,} items, {name}", file=sys.stderr, flush=True)
                measured[items][name].append(
                    in_child(speed, items, options.users, name, options.threads, options.steps)
                )
    rows, ratios = speed_rows(measured)
    print(f"Targets per second and peak memory of {MODEL}, {BATCH} targets a step, {options.threads} threads")
    print(tabulate(rows, SPEED_HEADERS, floatfmt=",.1f", tablefmt="github"))
    faster, smaller = ratios[max(ratios)]
    print(f"{max(ratios):,} items: {faster:.1f} times as fast, bar {FASTER}: {verdict(faster >= FASTER)}")
    print(f"{max(ratios):,} items: 1/{smaller:.1f} of the memory, bar 1/{SMALLER}: {verdict(smaller >= SMALLER)}\n")


def measure_quality(options: argparse.Namespace) -> None:
    rows, worst = [], 0.0
    for items in options.quality_items:
        found = {}
        for name in OUTPUTS:
            print(f"{items:,} items, quality of {name}", file=sys.stderr, flush=True)
            found[name] = in_child(quality, items, options.users, name, options.epochs, options.threads)
        ratio = found["sampled"]["perplexity"] / found["dense"]["perplexity"]
        worst = max(worst, ratio)
        row = [f"{items:,}", *(found[name]["perplexity"] for name in OUTPUTS), ratio]
        rows.append([*row, *Sequences(items).perplexity, *(found[name][NDCG] for name in OUTPUTS)])
    print(f"Perplexity on held-out targets, full softmax, {options.epochs} epochs of the same targets")
    headers = (
        "items",
        *OUTPUTS,
        "ratio",
        "of the distribution",
        "of popularity",
        *(f"{NDCG} {name}" for name in OUTPUTS),
    )
    print(
        tabulate(rows, headers, floatfmt=("", ",.1f", ",.1f", ".3f", ",.1f", ",.1f", ".4f", ".4f"), tablefmt="github")
    )
    print(f"at most {WORSE:.0%} worse: {verdict(worst <= 1 + WORSE)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="*", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--users", type=int, default=10_000, help=f"of {LENGTH} engagements each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2, help="measurements of each side, taking turns")
    parser.add_argument("--steps", type=int, default=STEPS, help="of a measurement, at most")
    parser.add_argument("--quality-items", type=int, nargs="*", default=[1_000, 10_000])
    parser.add_argument("--epochs", type=int, default=2, help="of the perplexity runs")
    options = parser.parse_args()
    print(f"{machine()}, torch {torch.__version__}")
    if options.items:
        measure_speed(options)
    if options.quality_items:
        measure_quality(options)


if __name__ == "__main__":
    main()
