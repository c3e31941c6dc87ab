"""From checkpoints and tables to ranks, metrics, leaderboard and decay: what the assets do, without Dagster."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from assets.config import Settings
from assets.evaluation.board import Board
from assets.evaluation.compare import Difference, model_draws, paired_difference, relative_to_first_window
from assets.evaluation.files import (
    Basis,
    RanksInfo,
    StaleResultsError,
    comparisons_path,
    decay_table_path,
    read_info,
    read_ranks,
    read_seed_means,
    write_metrics,
    write_ranks,
    write_results,
    write_seed_means,
)
from assets.evaluation.pairs import pair_table
from assets.evaluation.protocol import CaseSet, build_cases, drawn, of_protocol, rank_under_protocols
from assets.evaluation.report import REFERENCE, leaderboard, lists_table
from assets.evaluation.slices import HIT_RATE, NDCG, NLL, NO_K, Metric, metrics_frame, seed_means_frame
from assets.evaluation.soundness import FutureReport, future_report
from assets.ranking import Recommender
from assets.storage import Storage, read_compact
from assets.stream import DatasetTables, load_tables
from assets.training.checkpoints import checkpoint_digest, load_recommender, read_manifest, tables_version
from assets.training.counting import CountDecayed, CountingRecommender
from assets.training.presets import preset
from assets.training.registry import MODELS, roster
from assets.training.seeds import seeds_of

HEADLINE_K = 10


@dataclass(frozen=True)
class Ranked:
    """What ranking one model gave.

    Attributes:
        info: the file's account.
        ranks: one row per seed, protocol and case.
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
    """What the decay figures and tables are made of: headline metrics over seeds, each model's windows over its first.

    :attr:`relative` is per model; :attr:`points` holds the same ratios as a metrics table, to be drawn like one.
    """

    metrics: pd.DataFrame
    relative: dict[str, pd.DataFrame]
    shown: list[Metric]

    @property
    def points(self) -> pd.DataFrame:
        """Ratios of every model: columns model, slice, metric, k, window, value, ci_low, ci_high, n."""
        frames = [frame.assign(model=model) for model, frame in self.relative.items()]
        return pd.concat(frames, ignore_index=True).rename(columns={"ratio": "value"})


def headline_k(settings: Settings) -> int:
    """The k that leaderboards and figures show: 10 where it is measured, else the first."""
    ks = settings.evaluation.ks
    return HEADLINE_K if HEADLINE_K in ks else ks[0]


def floors(settings: Settings) -> set[str]:
    """Models of the roster that learn nothing."""
    return {name for name in roster(settings) if MODELS[name].kind == "counting"}


def fallback(tables: DatasetTables, settings: Settings) -> Recommender:
    """Who ranks for users without history: decayed popularity, as configured."""
    return CountingRecommender(_fallback_config(settings), settings.evaluation.smoothing, tables.cutoff)


def _fallback_config(settings: Settings) -> CountDecayed:
    config = preset(REFERENCE, settings.training, settings.dataset)
    if not isinstance(config, CountDecayed):
        raise TypeError(f"the preset of {REFERENCE} is a {type(config).__name__}, not a CountDecayed")
    return config


def basis(storage: Storage, settings: Settings, model: str) -> Basis:
    """What ranks of ``model`` must rest on now.

    Raises:
        StaleResultsError: when a checkpoint was made with another smoothing than ``evaluation.smoothing``.
    """
    smoothing, seeds = settings.evaluation.smoothing, seeds_of(model, settings)
    manifests = [read_manifest(storage, model, seed) for seed in seeds]
    for manifest in manifests:
        if (held := manifest["config"].get("smoothing", smoothing)) != smoothing:
            raise StaleResultsError(
                f"the checkpoint of {model} was made with smoothing {held}, now it is {smoothing}: "
                f"materialize training/{model} again"
            )
    return Basis(
        seeds=seeds,
        checkpoints=tuple(checkpoint_digest(manifest) for manifest in manifests),
        tables=tables_version(storage),
        protocols=tuple(f"{p.user_history}/{p.item_embeddings}" for p in settings.evaluation.protocols),
        max_cases=settings.evaluation.max_cases,
        fallback=json.dumps({**_fallback_config(settings).model_dump(), "smoothing": smoothing}, sort_keys=True),
    )


def cases_to_rank(storage: Storage, settings: Settings, tables: DatasetTables) -> CaseSet:
    """The test cases, at most ``evaluation.max_cases`` of them."""
    return drawn(build_cases(read_compact(storage.table("test_cases")), tables), settings.evaluation.max_cases)


def rank_model(
    storage: Storage, settings: Settings, model: str, progress: Callable[[int, int], None] = lambda *_: None
) -> Ranked:
    """Rank every case with the checkpoint of every seed, under every protocol, and write the ranks.

    Args:
        progress: called with the cases done since the last call, and the number in all.
    """
    protocols = settings.evaluation.protocols
    made_from = basis(storage, settings, model)
    tables = load_tables(storage)
    case_set = cases_to_rank(storage, settings, tables)
    total = len(case_set) * len(protocols) * len(made_from.seeds)
    runs, seconds = [], 0.0
    for seed in made_from.seeds:
        recommender = load_recommender(storage, model, seed, tables)
        started = time.perf_counter()
        run = rank_under_protocols(
            recommender,
            fallback(tables, settings),
            case_set,
            tables,
            protocols,
            {"dataset": storage.dataset, "model": model, "seed": seed},
            lambda done: progress(done, total),
            headline_k(settings),
        )
        seconds += time.perf_counter() - started
        runs.append(run)
    ranks = pd.concat(runs, ignore_index=True)
    info = RanksInfo(model, made_from, len(case_set), case_set.repeats_dropped, case_set.off_catalog, case_set.in_all)
    write_ranks(storage, ranks, info)
    return Ranked(info, ranks, seconds)


def report_future(storage: Storage, settings: Settings, model: str) -> FutureReport:
    """Whether the first seed's ranks change when the future is removed; see :mod:`assets.evaluation.soundness`."""
    tables = load_tables(storage)
    return future_report(
        lambda held: load_recommender(storage, model, settings.training.seed, held),
        fallback(tables, settings),
        cases_to_rank(storage, settings, tables),
        tables,
        settings.evaluation.protocols,
    )


def gather_metrics(
    storage: Storage, settings: Settings, progress: Callable[[str], object] = lambda _: None
) -> pd.DataFrame:
    """Metrics of the roster's ranks, every slice, window and protocol; written as one tidy table, and over seeds.

    Returns:
        The table with a row set per seed.

    Raises:
        FileNotFoundError: when a model of the roster has no ranks.
        StaleResultsError: when a model's ranks rest on another checkpoint, seed, tables or protocols than the current.
    """
    config, frames, means = settings.evaluation, [], []
    seed, infos = settings.training.seed, _infos(storage, settings)
    for model in roster(settings):
        ranks = read_ranks(storage, model, basis(storage, settings, model))
        frames.append(metrics_frame(ranks, config.ks, config.bootstrap_samples, seed))
        means.append(seed_means_frame(ranks, frames[-1], config.ks, config.bootstrap_samples, seed))
        progress(model)
    metrics = pd.concat(frames, ignore_index=True)
    write_metrics(storage, metrics, infos)
    write_seed_means(storage, pd.concat(means, ignore_index=True), infos)
    return metrics


def build_leaderboard(storage: Storage, settings: Settings) -> Board:
    """The leaderboard of the headline protocol."""
    config, k = settings.evaluation, headline_k(settings)
    infos = _infos(storage, settings)
    metrics = of_protocol(read_seed_means(storage, infos), config.headline)
    return leaderboard(
        metrics, k, floors(settings), _differences(storage, settings, k), infos[0], config.min_cases,
        config.bootstrap_samples,
    )  # fmt: skip


def build_lists_table(storage: Storage, settings: Settings) -> str:
    """Markdown of what the headline protocol's recommended lists hold."""
    means = of_protocol(read_seed_means(storage, _infos(storage, settings)), settings.evaluation.headline)
    return lists_table(means)


def build_decay(storage: Storage, settings: Settings) -> Decay:
    """Windows of the headline protocol, per model; the ratios are written as a table too."""
    config, k, infos = settings.evaluation, headline_k(settings), _infos(storage, settings)
    metrics = of_protocol(read_seed_means(storage, infos), config.headline)
    shown: list[Metric] = [(HIT_RATE, k), (NDCG, k)]
    relative = {
        model: relative_to_first_window(
            _headline_ranks(storage, settings, model), shown, config.bootstrap_samples, settings.training.seed
        )
        for model in roster(settings)
    }
    decay = Decay(metrics, relative, shown)
    write_results(decay_table_path(storage), decay.points, infos)
    return decay


def pair_metrics(settings: Settings) -> list[Metric]:
    """What models are compared by."""
    k = headline_k(settings)
    return [(HIT_RATE, k), (NDCG, k), (NLL, NO_K)]


def build_comparisons(
    storage: Storage, settings: Settings, progress: Callable[[str], object] = lambda _: None
) -> pd.DataFrame:
    """Every model of the roster against every other, under the headline protocol; written as one table.

    Returns:
        Columns ``dataset``, ``user_history``, ``item_embeddings`` and :data:`assets.evaluation.pairs.PAIR_COLUMNS`.
    """
    config, metrics, drawn = settings.evaluation, pair_metrics(settings), {}
    infos = _infos(storage, settings)
    for model in roster(settings):
        ranks = _headline_ranks(storage, settings, model)
        drawn[model] = model_draws(ranks, metrics, config.bootstrap_samples, settings.training.seed)
        progress(model)
    table = pair_table(drawn, metrics)
    table.insert(0, "dataset", storage.dataset)
    table.insert(1, "user_history", config.headline.user_history.value)
    table.insert(2, "item_embeddings", config.headline.item_embeddings.value)
    write_results(comparisons_path(storage), table, infos)
    return table


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
