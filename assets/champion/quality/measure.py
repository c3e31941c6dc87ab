"""The champion's frozen weights on what landed since its cutoff, partition by partition, without Dagster.

Measured are the partitions asked for and, of the days that the decay alert compares (:mod:`.spans`), those that the
champion was never measured on or that have other cases since: a champion that was promoted today is held to its first
days tomorrow. Cases are the engagements of the partition's event time that were applied, from the champion's cutoff on,
repeats left out; what a file brings of another day counts for that day.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from assets.champion.quality import files
from assets.champion.quality.contenders import CONTENDER, Contest, K, draw_cases, open_contest, rank, stored_form
from assets.champion.quality.embeddings import embeddings_row
from assets.champion.quality.predictions import predictions_row
from assets.champion.quality.spans import Span, Windows, rows_of, span_of, spans_within, windows_of
from assets.config import Settings
from assets.evaluation.slices import COVERAGE, HIT_RATE, MRR, NDCG, PERPLEXITY, TRAIN_FREQUENCY, metrics_frame
from assets.instants import as_micros
from assets.schema import ALL_WINDOWS, Columns
from assets.serving.live.build import unfit
from assets.serving.live.generation import generations, open_generation
from assets.storage import Storage

METRICS: Final = (HIT_RATE, NDCG, MRR, PERPLEXITY, COVERAGE, TRAIN_FREQUENCY)

PARTITIONS_PER_WRITE: Final = 8
"""Held in memory before they are written; a run that is killed loses at most so many."""


@dataclass
class Measured:
    """What a run measured.

    Attributes:
        model, checkpoint: of the champion.
        windows: what the alert compares.
        accounts: of every partition measured, in time order.
        without_cases: partitions asked for that hold none, because nothing was engaged with or all was trained on.
        quality, predictions, embeddings: rows of the tables, of those partitions.
        seconds: for everything.
    """

    model: str
    checkpoint: str
    windows: Windows
    accounts: list[files.RanksAccount] = field(default_factory=list)
    without_cases: list[str] = field(default_factory=list)
    quality: pd.DataFrame = field(default_factory=pd.DataFrame)
    predictions: pd.DataFrame = field(default_factory=pd.DataFrame)
    embeddings: pd.DataFrame = field(default_factory=pd.DataFrame)
    seconds: float = 0.0


@dataclass(frozen=True)
class PartitionQuality:
    """One partition's part of every table, and its ranks."""

    account: files.RanksAccount
    quality: pd.DataFrame
    predictions: list[dict[str, Any]]
    embeddings: list[dict[str, Any]]
    ranks: pd.DataFrame


def measure_partitions(
    storage: Storage,
    settings: Settings,
    partitions: Collection[str],
    progress: Callable[[str], object] = lambda _: None,
) -> Measured:
    """Measure what serves now on ``partitions``, and on what the alert lacks; write tables and ranks.

    Raises:
        assets.serving.live.generation.NoIndexError: when nothing serves yet.
        ValueError: for what is no key of a partition, and when nothing from before the champion's cutoff is left.
    """
    started = time.perf_counter()
    with open_generation(storage) as opened:
        contest = open_contest(opened, settings)
    ends_at = last_instant(contest) + np.timedelta64(1, "us")
    windows = windows_of(contest.tables.cutoff, ends_at, settings.retraining.alert)
    done = Measured(contest.model, contest.checkpoint, windows)
    asked = {name: span_of(name) for name in partitions}
    spans = {**{span.partition: span for span in lacking(storage, settings, contest, windows)}, **asked}
    ordered = sorted(spans.values(), key=lambda span: (span.starts_at, span.partition))
    parts: list[PartitionQuality] = []
    for some in _chunks(ordered, PARTITIONS_PER_WRITE):
        measured = [part for span in some if (part := measure_span(contest, settings, span)) is not None]
        found = {part.account.partition for part in measured}
        done.without_cases += [span.partition for span in some if span.partition not in found]
        _write(storage, contest, some, measured)
        parts += [_without_ranks(part) for part in measured]
        progress(f"{len(parts):,} of {len(ordered):,} partitions measured")
    files.prune_ranks(storage, [one.record().checkpoint for one in generations(storage) if unfit(storage, one) is None])
    done.accounts = [part.account for part in parts]
    done.quality, done.predictions, done.embeddings = _frames(contest, parts)
    done.seconds = time.perf_counter() - started
    return done


def lacking(storage: Storage, settings: Settings, contest: Contest, windows: Windows) -> list[Span]:
    """Spans of the alert's days whose ranks are missing or were made of another number of cases."""
    instants = contest.cases[Columns.TIMESTAMP].to_numpy(dtype="datetime64[us]")
    spans = {span.partition: span for span in spans_within(instants, windows, settings.freshness.partition)}
    for partition in files.ranked_partitions(storage, contest.checkpoint):  # whose cases may all be gone
        if (span := span_of(partition)).overlaps(*windows.reference) or span.overlaps(*windows.recent):
            spans.setdefault(partition, span)
    most = settings.quality.max_cases
    return [span for span in spans.values() if not _up_to_date(storage, contest, span, most)]


def _up_to_date(storage: Storage, contest: Contest, span: Span, most: int) -> bool:
    held = files.read_ranks_account(storage, contest.checkpoint, span.partition)
    cases = len(rows_of(contest.cases, span))
    return held is not None and (held.cases, held.ranked) == (cases, min(cases, most))


def measure_span(contest: Contest, settings: Settings, span: Span) -> PartitionQuality | None:
    """Everything about one partition; ``None`` where it has no case from the champion's cutoff on."""
    config, seed = settings.quality, settings.training.seed
    case_set = draw_cases(contest, span, config.max_cases, seed)
    if case_set is None:
        return None
    ranks, rows = rank(contest, case_set), rows_of(contest.cases, span)
    account = files.RanksAccount(
        checkpoint=contest.checkpoint,
        model=contest.model,
        cutoff=as_micros(contest.tables.cutoff),
        partition=span.partition,
        cases=len(rows),
        ranked=len(case_set),
        last_case=as_micros(np.datetime64(contest.cases[Columns.TIMESTAMP].iloc[rows[-1]])),
    )
    predicted = predictions_row(contest, span, case_set, ranks, config.lists, seed)
    embedded = embeddings_row(contest, span, config.items)
    return PartitionQuality(
        account=account,
        quality=quality_rows(ranks, account, span, settings.evaluation.bootstrap_samples, seed),
        predictions=[] if predicted is None else [predicted],
        embeddings=[] if embedded is None else [embedded],
        ranks=stored_form(contest, case_set, ranks),
    )


def quality_rows(
    ranks: dict[str, pd.DataFrame], account: files.RanksAccount, span: Span, samples: int, seed: int
) -> pd.DataFrame:
    """Rows of ``quality.parquet`` of one partition: both contenders, every slice that has a case."""
    frames = []
    for contender, frame in ranks.items():
        table = metrics_frame(frame, [K], samples, seed)
        table = table[(table["window"] == ALL_WINDOWS) & table["metric"].isin(METRICS)]
        frames.append(table.assign(**{CONTENDER: contender}))
    described = pd.concat(frames, ignore_index=True).assign(
        checkpoint=account.checkpoint[: files.SHORT],
        partition=span.partition,
        starts_at=span.starts_at,
        ends_at=span.ends_at,
        cases=account.cases,
        ranked=account.ranked,
    )
    return described[list(files.QUALITY_COLUMNS)]


def headline(measured: Measured, partition: str) -> dict[str, float]:
    """The few numbers that a partition is told by: HR@10 and NDCG@10 of champion and floor, and what moved."""
    quality = measured.quality[measured.quality["partition"] == partition]
    main = quality[(quality["slice"] == "overall") & quality["metric"].isin([HIT_RATE, NDCG])]
    named = main[CONTENDER] + "_" + main["metric"] + "@" + main["k"].astype(str)
    numbers = dict(zip(named, main["value"].astype(float), strict=True))
    for table, names in (
        (measured.predictions, ("coverage", "mean_popularity", "score_p50")),
        (measured.embeddings, ("mean_distance", "moved_share", "from_cutoff")),
    ):
        for values in table[table["partition"] == partition][list(names)].to_numpy(dtype=np.float64):
            numbers |= {name: float(value) for name, value in zip(names, values, strict=True) if np.isfinite(value)}
    return numbers


def last_instant(contest: Contest) -> np.datetime64:
    """Of the latest case; the cutoff where there is none."""
    instants = contest.cases[Columns.TIMESTAMP].to_numpy(dtype="datetime64[us]")
    return np.datetime64(instants[-1], "us") if len(instants) else contest.tables.cutoff


def _write(storage: Storage, contest: Contest, spans: Iterable[Span], parts: list[PartitionQuality]) -> None:
    """The tables first, then the ranks; ranks of a partition that has no case any more are removed."""
    short = contest.checkpoint[: files.SHORT]
    names = {span.partition for span in spans}
    found = {part.account.partition for part in parts}
    measured = [(short, name) for name in sorted(names)]
    for table, rows in zip(files.TABLES, _frames(contest, parts), strict=True):
        files.upsert(storage, table, rows, measured)
    for name in names - found:
        files.ranks_path(storage, contest.checkpoint, name).unlink(missing_ok=True)
    for part in parts:
        files.write_ranks(storage, part.ranks, part.account)


def _frames(contest: Contest, parts: list[PartitionQuality]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    identity = {"checkpoint": contest.checkpoint[: files.SHORT], "model": contest.model}
    quality = [part.quality for part in parts]
    return (
        pd.concat(quality, ignore_index=True) if quality else files.frame_of("quality", [], identity),
        files.frame_of("predictions", [row for part in parts for row in part.predictions], identity),
        files.frame_of("embeddings", [row for part in parts for row in part.embeddings], identity),
    )


def _without_ranks(part: PartitionQuality) -> PartitionQuality:
    return PartitionQuality(part.account, part.quality, part.predictions, part.embeddings, pd.DataFrame())


def _chunks(spans: list[Span], size: int) -> Iterator[list[Span]]:
    return (spans[start : start + size] for start in range(0, len(spans), size))
