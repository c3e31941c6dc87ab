"""From checkpoints to ranks among sampled negatives and their metrics: what the assets do, without Dagster."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from assets.config import ConfigError, Settings
from assets.evaluation.board import Board
from assets.evaluation.files import StaleResultsError, read_account, read_info, read_seed_means, write_with_account
from assets.evaluation.paper_tables import head_words, leave_one_out_table, sampled_boards
from assets.evaluation.protocol import CASE_COLUMNS, RUN_COLUMNS, build_cases
from assets.evaluation.run import basis, fallback
from assets.evaluation.sampled.cases import LEGACY_PROTOCOLS, SampledCases, legacy_cases, sampled_cases
from assets.evaluation.sampled.rank import Run, SampledRanks, rank_runs
from assets.evaluation.slices import metrics_frame, seed_means_frame
from assets.storage import Storage, read_compact
from assets.stream import DatasetTables, load_tables
from assets.training.checkpoints import load_recommender
from assets.training.registry import roster
from assets.training.seeds import seeds_of

Account = dict[str, Any]
"""What results rest on, as JSON values."""

RANK_COLUMNS = ("has_history", "above", "tied", "nll", "negatives", "copies")
"""What ranking adds to a case.

``nll`` is NaN: a sample has no likelihood. ``negatives`` were drawn for it, ``copies`` of them were the target itself.
"""


@dataclass(frozen=True)
class Sampled:
    """What ranking one model among sampled negatives gave.

    Attributes:
        ranks: one row per seed, run and case.
        short: cases of ``sampled`` with fewer negatives than asked for, because fewer exist.
        with_copies: share of the cases of ``sampled_legacy`` whose target is among its own negatives.
        seconds: spent drawing and ranking, loading left out.
    """

    ranks: pd.DataFrame
    short: int
    with_copies: float
    seconds: float

    @property
    def cases_per_second(self) -> float:
        return len(self.ranks) / max(self.seconds, 1e-9)


def sampled_path(storage: Storage, model: str) -> Path:
    """One model's ranks under both sampled protocols."""
    return storage.evaluation / "sampled" / f"{model}.parquet"


def sampled_metrics_path(storage: Storage) -> Path:
    """Tidy metrics of both sampled protocols, a row set per seed."""
    return storage.evaluation / "sampled_metrics.parquet"


def sampled_means_path(storage: Storage) -> Path:
    """The same over seeds."""
    return storage.evaluation / "sampled_seed_means.parquet"


def sampled_tables_path(storage: Storage) -> Path:
    """Both protocols laid out like the IHM paper's tables."""
    return storage.evaluation / "sampled.md"


def leave_one_out_path(storage: Storage) -> Path:
    """The leave-one-out table laid out like the CDN paper's."""
    return storage.evaluation / "leave_one_out.md"


def sampled_basis(storage: Storage, settings: Settings, model: str) -> Account:
    """What ranks of ``model`` among sampled negatives must rest on now."""
    shared = {name: value for name, value in asdict(basis(storage, settings, model)).items() if name != "protocols"}
    rules = {**settings.sampled.model_dump(mode="json"), "tail_max_count": settings.split.tail_max_count}
    account: Account = json.loads(json.dumps({"model": model, **shared, "sampled": rules}))
    del account["sampled"]["ks"]  # metrics are cut there, not ranks
    return account


def sample_model(
    storage: Storage, settings: Settings, model: str, progress: Callable[[int, int], None] = lambda *_: None
) -> Sampled:
    """Rank every sampled case with every seed's checkpoint, and write the ranks.

    Args:
        progress: called with the cases done since the last call, and the number in all.
    """
    made_from = sampled_basis(storage, settings, model)
    tables = load_tables(storage)
    started = time.perf_counter()
    clean, legacy = draw_cases(storage, settings, tables)
    runs = [
        *(Run(clean, protocol) for protocol in settings.sampled.protocols),
        *(Run(legacy, protocol, use_fallback=False) for protocol in LEGACY_PROTOCOLS),
    ]
    seconds = time.perf_counter() - started
    seeds = seeds_of(model, settings)
    total, frames = len(seeds) * sum(len(run.sampled) for run in runs), []
    for seed in seeds:
        recommender = load_recommender(storage, model, seed, tables)
        started = time.perf_counter()
        results = rank_runs(
            recommender, fallback(tables, settings), runs, tables.stream, tables.cutoff,
            lambda done: progress(done, total),
        )  # fmt: skip
        seconds += time.perf_counter() - started
        identity: dict[str, str | int] = {"dataset": storage.dataset, "model": model, "seed": seed}
        frames += [_frame(run, ranks, identity) for run, ranks in zip(runs, results, strict=True)]
    ranks = pd.concat(frames, ignore_index=True)
    write_with_account(sampled_path(storage, model), ranks, made_from)
    return Sampled(ranks, clean.short, float((legacy.copies > 0).mean()) if len(legacy) else 0.0, seconds)


def draw_cases(storage: Storage, settings: Settings, tables: DatasetTables) -> tuple[SampledCases, SampledCases]:
    """Cases and negatives of ``sampled`` and of ``sampled_legacy``: the same for every model and training seed."""
    config, case_set = settings.sampled, build_cases(read_compact(storage.table("test_cases")), tables)
    clean = sampled_cases(case_set, tables, config.negatives, config.seed)
    return clean, legacy_cases(case_set, tables, config.negatives, config.seed, settings.split.tail_max_count)


def _frame(run: Run, ranks: SampledRanks, identity: dict[str, str | int]) -> pd.DataFrame:
    sampled, protocol = run.sampled, run.protocol
    frame = sampled.labels.assign(
        **identity,
        protocol=sampled.protocol,
        user_history=protocol.user_history.value,
        item_embeddings=protocol.item_embeddings.value,
        has_history=ranks.has_history | (not run.use_fallback),
        above=ranks.above,
        tied=ranks.tied,
        nll=float("nan"),
        negatives=sampled.drawn,
        copies=sampled.copies,
    )
    return frame[[*RUN_COLUMNS, *CASE_COLUMNS, *RANK_COLUMNS]]


def read_sampled(storage: Storage, settings: Settings, model: str) -> pd.DataFrame:
    """One model's ranks among sampled negatives, after making sure that they rest on what holds now.

    Raises:
        FileNotFoundError: when there are none.
        StaleResultsError: when they rest on another checkpoint, table or rule.
    """
    path, again = sampled_path(storage, model), f"materialize evaluation/{model}_sampled"
    held, wanted = read_account(path, again), sampled_basis(storage, settings, model)
    if differing := [name for name in wanted if held.get(name) != wanted[name]]:
        raise StaleResultsError(
            f"the sampled ranks of {model} were made with another {', '.join(differing)}: {again} again"
        )
    return pq.read_table(path, partitioning=None).to_pandas()


def gather_sampled(
    storage: Storage, settings: Settings, progress: Callable[[str], object] = lambda _: None
) -> pd.DataFrame:
    """Metrics of the roster's sampled ranks; written tidy, a row set per seed, and over seeds (which is returned).

    Raises:
        FileNotFoundError: when a model of the roster has no sampled ranks.
        StaleResultsError: when a model's rest on something else than what holds now.
    """
    ks, samples, seed = settings.sampled.ks, settings.evaluation.bootstrap_samples, settings.training.seed
    per_seed, means = [], []
    for model in roster(settings):
        ranks = read_sampled(storage, settings, model)
        per_seed.append(metrics_frame(ranks, ks, samples, seed))
        means.append(seed_means_frame(ranks, per_seed[-1], ks, samples, seed))
        progress(model)
    account = sampled_account(storage, settings)
    write_with_account(sampled_metrics_path(storage), pd.concat(per_seed, ignore_index=True), account)
    over_seeds = pd.concat(means, ignore_index=True)
    write_with_account(sampled_means_path(storage), over_seeds, account)
    return over_seeds


def sampled_account(storage: Storage, settings: Settings) -> Account:
    """What the metrics of the sampled protocols must rest on now."""
    cut = {"ks": list(settings.sampled.ks), "bootstrap_samples": settings.evaluation.bootstrap_samples}
    return {"cut": cut, **{model: sampled_basis(storage, settings, model) for model in roster(settings)}}


def read_sampled_means(storage: Storage, settings: Settings) -> pd.DataFrame:
    """The metrics over seeds of the roster, after making sure that they rest on what holds now.

    Raises:
        FileNotFoundError: when there are none.
        StaleResultsError: naming what differs.
    """
    path, again = sampled_means_path(storage), "materialize evaluation/sampled_metrics"
    held, wanted = read_account(path, again), sampled_account(storage, settings)
    if differing := [name for name in wanted if held.get(name) != wanted[name]]:
        raise StaleResultsError(f"{path} was not computed from the current {', '.join(differing)}: {again} again")
    means = pq.read_table(path, partitioning=None).to_pandas()
    return means[means["model"].isin(roster(settings))]


def build_sampled_tables(storage: Storage, settings: Settings) -> list[Board]:
    """The IHM paper's tables of both protocols and every run, in the first window, and HR@10 by window."""
    means = read_sampled_means(storage, settings)
    return sampled_boards(means, settings.sampled, settings.evaluation.min_cases, settings.split.kind)


def build_leave_one_out(storage: Storage, settings: Settings) -> Board:
    """The CDN paper's table.

    Raises:
        ConfigError: when the split is another.
    """
    if settings.split.kind != "leave_one_out":
        raise ConfigError(f"the leave-one-out table needs split.kind leave_one_out, not {settings.split.kind}")
    infos = [read_info(storage, model) for model in roster(settings)]
    means = read_seed_means(storage, infos)
    return leave_one_out_table(
        means, settings.evaluation.headline, settings.evaluation.min_cases, head_words(settings.split)
    )
