"""From checkpoints and tables to ranks, metrics, leaderboard and decay: what the assets do, without Dagster."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from assets.config import Settings
from assets.evaluation.board import Board
from assets.evaluation.compare import Difference, paired_difference, relative_to_first_window
from assets.evaluation.files import Basis, RanksInfo, read_info, read_metrics, read_ranks, write_metrics, write_ranks
from assets.evaluation.protocol import build_cases, of_protocol, rank_under_protocols
from assets.evaluation.report import REFERENCE, leaderboard
from assets.evaluation.slices import HIT_RATE, NDCG, Metric, metrics_frame
from assets.evaluation.soundness import FutureReport, future_report
from assets.ranking import Recommender
from assets.storage import Storage
from assets.stream import DatasetTables, load_tables
from assets.training.checkpoints import checkpoint_digest, load_recommender, read_manifest, tables_version
from assets.training.counting import CountDecayed, CountingRecommender
from assets.training.presets import preset
from assets.training.registry import MODELS, roster

HEADLINE_K = 10


@dataclass(frozen=True)
class Ranked:
    """What ranking one model gave.

    Attributes:
        info: the file's account.
        ranks: one row per protocol and case.
        seconds: spent ranking, loading left out.
    """

    info: RanksInfo
    ranks: pd.DataFrame
    seconds: float

    @property
    def cases_per_second(self) -> float:
        return len(self.ranks) / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class Decay:
    """What the decay figure and table are made of: headline metrics, and each model's windows over its first."""

    metrics: pd.DataFrame
    relative: dict[str, pd.DataFrame]
    shown: list[Metric]


def headline_k(settings: Settings) -> int:
    """The k that leaderboards and figures show: 10 where it is measured, else the first."""
    ks = settings.evaluation.ks
    return HEADLINE_K if HEADLINE_K in ks else ks[0]


def floors(settings: Settings) -> set[str]:
    """Models of the roster that learn nothing."""
    return {name for name in roster(settings) if MODELS[name].kind == "counting"}


def fallback(tables: DatasetTables, settings: Settings) -> Recommender:
    """Who ranks for users without history: decayed popularity, as configured."""
    config = preset(REFERENCE, settings.training)
    if not isinstance(config, CountDecayed):
        raise TypeError(f"the preset of {REFERENCE} is a {type(config).__name__}, not a CountDecayed")
    return CountingRecommender(config, settings.evaluation.smoothing, tables.cutoff)


def basis(storage: Storage, settings: Settings, model: str) -> Basis:
    """What ranks of ``model`` must rest on now."""
    manifest = read_manifest(storage, model, settings.training.seed)
    return Basis(
        seed=settings.training.seed,
        checkpoint=checkpoint_digest(manifest),
        tables=tables_version(storage),
        protocols=tuple(f"{p.user_history}/{p.item_embeddings}" for p in settings.evaluation.protocols),
    )


def rank_model(
    storage: Storage, settings: Settings, model: str, progress: Callable[[int, int], None] = lambda *_: None
) -> Ranked:
    """Rank every case with one checkpoint under every protocol, and write the ranks.

    Args:
        progress: called with the cases done since the last call, and the number in all.
    """
    seed, protocols = settings.training.seed, settings.evaluation.protocols
    made_from = basis(storage, settings, model)
    tables = load_tables(storage)
    case_set = build_cases(storage.read_table("test_cases"), tables)
    recommender = load_recommender(storage, model, seed, tables)
    identity: dict[str, str | int] = {"dataset": storage.dataset, "model": model, "seed": seed}
    total = len(case_set) * len(protocols)
    started = time.perf_counter()
    ranks = rank_under_protocols(
        recommender,
        fallback(tables, settings),
        case_set,
        tables,
        protocols,
        identity,
        lambda done: progress(done, total),
    )
    seconds = time.perf_counter() - started
    info = RanksInfo(model, made_from, len(case_set), case_set.repeats_dropped, case_set.off_catalog)
    write_ranks(storage, ranks, info)
    return Ranked(info, ranks, seconds)


def report_future(storage: Storage, settings: Settings, model: str) -> FutureReport:
    """Whether one checkpoint's ranks change when the future is removed; see :mod:`assets.evaluation.soundness`."""
    tables = load_tables(storage)
    return future_report(
        lambda held: load_recommender(storage, model, settings.training.seed, held),
        fallback(tables, settings),
        build_cases(storage.read_table("test_cases"), tables),
        tables,
        settings.evaluation.protocols,
    )


def gather_metrics(
    storage: Storage, settings: Settings, progress: Callable[[str], object] = lambda _: None
) -> pd.DataFrame:
    """Metrics of the roster's ranks, every slice, window and protocol; written as one tidy table.

    Raises:
        FileNotFoundError: when a model of the roster has no ranks.
        StaleResultsError: when a model's ranks rest on another checkpoint, seed, tables or protocols than the current.
    """
    config, frames = settings.evaluation, []
    infos = _infos(storage, settings)
    for model in roster(settings):
        ranks = read_ranks(storage, model, basis(storage, settings, model))
        frames.append(metrics_frame(ranks, config.ks, config.bootstrap_samples, settings.training.seed))
        progress(model)
    metrics = pd.concat(frames, ignore_index=True)
    write_metrics(storage, metrics, infos)
    return metrics


def build_leaderboard(storage: Storage, settings: Settings) -> Board:
    """The leaderboard of the headline protocol."""
    config, k = settings.evaluation, headline_k(settings)
    infos = _infos(storage, settings)
    metrics = of_protocol(read_metrics(storage, infos), config.headline)
    return leaderboard(
        metrics, k, floors(settings), _differences(storage, settings, k), infos[0], config.min_cases,
        config.bootstrap_samples,
    )  # fmt: skip


def build_decay(storage: Storage, settings: Settings) -> Decay:
    """Windows of the headline protocol, per model."""
    config, k = settings.evaluation, headline_k(settings)
    metrics = of_protocol(read_metrics(storage, _infos(storage, settings)), config.headline)
    shown: list[Metric] = [(HIT_RATE, k), (NDCG, k)]
    relative = {
        model: relative_to_first_window(
            _headline_ranks(storage, settings, model), shown, config.bootstrap_samples, settings.training.seed
        )
        for model in roster(settings)
    }
    return Decay(metrics, relative, shown)


def _infos(storage: Storage, settings: Settings) -> Sequence[RanksInfo]:
    return [read_info(storage, model) for model in roster(settings)]


def _differences(storage: Storage, settings: Settings, k: int) -> dict[str, Difference]:
    models = roster(settings)
    if REFERENCE not in models:
        return {}
    reference = _headline_ranks(storage, settings, REFERENCE)
    samples, seed = settings.evaluation.bootstrap_samples, settings.training.seed
    return {
        model: paired_difference(_headline_ranks(storage, settings, model), reference, (HIT_RATE, k), samples, seed)
        for model in models
        if model != REFERENCE
    }


def _headline_ranks(storage: Storage, settings: Settings, model: str) -> pd.DataFrame:
    return of_protocol(read_ranks(storage, model, basis(storage, settings, model)), settings.evaluation.headline)
