"""The contest: champion and challenger ranked on the newest window's engagements, which neither was trained on.

Both meet the same cases, candidates and histories, under rolling histories and daily refreshed items: what
:mod:`assets.evaluation.protocol` calls the rules. The floor, decayed popularity, is ranked beside them. What counts is
the paired difference in NDCG@10 over users with some history, with a bootstrap over users.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from assets.champion.files import (
    Challenger,
    contest_path,
    contest_ranks_path,
    read_contests,
)
from assets.champion.grounds import (
    CASES_SEED,
    CHALLENGER,
    CHAMPION,
    CONTENDERS,
    FLOOR,
    MOST_CASES,
    PROTOCOL,
    ContestError,
    Grounds,
    K,
    folders,
    grounds_of,
)
from assets.champion.history import cases_between
from assets.champion.verdict import Verdict, judge, not_comparable
from assets.config import Settings
from assets.evaluation.compare import Difference, paired_difference
from assets.evaluation.protocol import CaseSet, build_cases, drawn, rank_under_protocols
from assets.evaluation.run import fallback
from assets.evaluation.slices import NDCG, metrics_frame
from assets.ranking import Recommender
from assets.schema import ALL_WINDOWS, CaseSlice
from assets.storage import Storage, write_json, write_parquet
from assets.training.checkpoints import read_manifest_in, recommender_in

SHOWN: Final = ("hr", "ndcg", "perplexity", "coverage", "train_frequency")
METRIC_COLUMNS: Final = ["contender", "slice", "metric", "k", "value", "ci_low", "ci_high", "n"]


@dataclass(frozen=True)
class Contest:
    """A contest that was held.

    Attributes:
        account: what was written of it, JSON values.
        ranks: of every contender, by column ``contender``; empty where nobody was ranked.
    """

    account: dict[str, Any]
    ranks: pd.DataFrame

    @property
    def metrics(self) -> pd.DataFrame:
        """Columns :data:`METRIC_COLUMNS`."""
        return pd.DataFrame(self.account["metrics"], columns=METRIC_COLUMNS)


def hold_contest(
    storage: Storage, settings: Settings, now: int, progress: Callable[[str], object] = lambda _: None
) -> Contest:
    """Rank champion, challenger and floor on the newest window, judge, and write the account.

    Args:
        now: wall clock, microseconds.

    Raises:
        ContestError: when there is no challenger of this champion and window.
        NoIndexError: when nothing serves.
    """
    grounds = grounds_of(storage, settings)
    if grounds.trained_until > grounds.starts_at:
        verdict = not_comparable(f"{grounds.trained_until}Z", f"{grounds.starts_at}Z")
        return _written(storage, grounds, pd.DataFrame(), verdict, settings, now)
    try:
        every = build_cases(cases_between(grounds.tables, *grounds.bounds), grounds.tables)
    except ValueError:  # repeats alone, or nothing at all
        return _written(storage, grounds, pd.DataFrame(), judge(None, 0, settings.retraining), settings, now)
    cases = drawn(every, MOST_CASES, CASES_SEED)
    progress(f"{len(cases):,} of {len(every):,} cases from {grounds.starts_at} on")
    ranks = _ranked(storage, grounds, cases, settings, progress)
    verdict = judge(difference(ranks, CHALLENGER, CHAMPION, settings), compared(ranks), settings.retraining)
    return _written(storage, grounds, ranks, verdict, settings, now, len(every))


def latest_contest(storage: Storage) -> dict[str, Any]:
    """The account of the contest that was held last.

    Raises:
        ContestError: when none was.
    """
    held = read_contests(storage)
    if not held:
        raise ContestError("no contest was held: materialize champion/contest, or run `thaw retrain`")
    return held[-1]


def difference(ranks: pd.DataFrame, contender: str, reference: str, settings: Settings) -> Difference | None:
    """NDCG@10 of one contender minus that of another; ``None`` where no case is of a user with history."""
    left, right = (ranks[ranks["contender"] == name] for name in (contender, reference))
    if not left["has_history"].any():
        return None
    samples, seed = settings.evaluation.bootstrap_samples, settings.training.seed
    return paired_difference(left, right, (NDCG, K), samples, seed)


def compared(ranks: pd.DataFrame) -> int:
    """Cases that a difference rests on."""
    return int(ranks.loc[ranks["contender"] == CHAMPION, "has_history"].sum())


def _ranked(
    storage: Storage, grounds: Grounds, cases: CaseSet, settings: Settings, progress: Callable[[str], object]
) -> pd.DataFrame:
    tables = grounds.tables
    floor: Recommender = fallback(tables, settings)
    two = {name: recommender_in(folder, tables) for name, folder in folders(storage, grounds).items()}
    models = {CHAMPION: grounds.record.model, CHALLENGER: grounds.challenger.model, FLOOR: "decayed_popularity"}
    frames = []
    for name, recommender in {**two, FLOOR: floor}.items():
        progress(f"ranking {name}, {models[name]}")
        identity: dict[str, str | int] = {"dataset": storage.dataset, "model": models[name], "seed": 0}
        ranks = rank_under_protocols(recommender, floor, cases, tables, [PROTOCOL], identity, list_length=K)
        frames.append(ranks.assign(contender=name))
    return pd.concat(frames, ignore_index=True)


def _written(
    storage: Storage,
    grounds: Grounds,
    ranks: pd.DataFrame,
    verdict: Verdict,
    settings: Settings,
    now: int,
    available: int = 0,
) -> Contest:
    """Write the account last: it names a contest whose ranks are there."""
    challenger, manifest = grounds.challenger, read_manifest_in(grounds.champion.checkpoint)
    starts, ends = (int(each.astype(np.int64)) for each in grounds.bounds)
    account: dict[str, Any] = {
        "name": grounds.name,
        "at": now,
        "window": {"starts_at": starts, "ends_at": ends},
        "cases": 0 if ranks.empty else int((ranks["contender"] == CHAMPION).sum()),
        "compared": 0 if ranks.empty else compared(ranks),
        "available": available,
        "cases_seed": CASES_SEED,
        "champion": {
            "model": grounds.record.model,
            "generation": grounds.champion.name,
            "checkpoint": grounds.record.checkpoint,
            "trained_until": int(grounds.trained_until.astype(np.int64)),
            "validation": manifest["metrics"]["validation"],
        },
        "challenger": _described(challenger),
        "field": [_described(one) for one in grounds.field],
        "metrics": [] if ranks.empty else _metrics(ranks, settings).to_dict("records"),
        "difference": _difference(ranks, CHALLENGER, CHAMPION, settings),
        "against_floor": {name: _difference(ranks, name, FLOOR, settings) for name in (CHAMPION, CHALLENGER)},
        "verdict": verdict.outcome,
        "promoted": verdict.promoted,
        "reason": verdict.reason,
    }
    account = _plain(account)
    if not ranks.empty:
        write_parquet(contest_ranks_path(storage, grounds.name), ranks)
    write_json(contest_path(storage, grounds.name), account)
    return Contest(account, ranks)


def _described(challenger: Challenger) -> dict[str, Any]:
    named = ("name", "model", "checkpoint", "trained_until", "engagements", "validation", "seconds")
    return {name: getattr(challenger, name) for name in named}


def _metrics(ranks: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    samples, seed = settings.evaluation.bootstrap_samples, settings.training.seed
    frames = []
    for name in CONTENDERS:
        table = metrics_frame(ranks[ranks["contender"] == name], (K,), samples, seed)
        frames.append(table[(table["window"] == ALL_WINDOWS) & table["metric"].isin(SHOWN)].assign(contender=name))
    return pd.concat(frames, ignore_index=True)[METRIC_COLUMNS]


def _difference(ranks: pd.DataFrame, left: str, right: str, settings: Settings) -> dict[str, Any] | None:
    found = None if ranks.empty else difference(ranks, left, right, settings)
    if found is None:
        return None
    told = {"metric": NDCG, "k": K, "slice": CaseSlice.OVERALL.value}
    return told | {"value": found.value, "ci_low": found.ci_low, "ci_high": found.ci_high}


def _plain(value: Any) -> Any:
    """JSON values; what is not finite is null."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
