"""Champion and floor over the tables of what serves, and their ranks on a partition's cases."""

import zlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from assets.champion.history import cases_between, read_served, tables_at
from assets.champion.quality.refreshes import Refreshes
from assets.champion.quality.spans import Span, rows_of
from assets.config import Protocol, Settings
from assets.evaluation.protocol import CaseSet, build_cases, rank_under_protocols
from assets.evaluation.run import fallback
from assets.evaluation.slices import list_columns
from assets.ranking import Recommender
from assets.schema import Columns
from assets.serving.live.generation import Generation, OpenGeneration
from assets.stream import PADDING, DatasetTables, Int, Time
from assets.training.checkpoints import load_counting, load_net

CHAMPION: Final = "champion"
FLOOR: Final = "floor"
CONTENDER: Final = "contender"

K: Final = 10
"""Length of the lists, and of the head of the ranking that metrics look at."""

PROTOCOL: Final = Protocol()
"""Users' histories go on and items are embedded anew every day, as in serving."""

DAY: Final = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Contest:
    """The champion and the floor over the same rows.

    Attributes:
        dataset: its name.
        model, seed, checkpoint: of the champion; the digest of its manifest.
        dimension: of the champion's embeddings, the trend left out; 0 for a counting model.
        tables: what serves; test time begins at the champion's cutoff.
        cases: every engagement from the cutoff on that is no repeat, in time order, as rows for ``build_cases``.
        champion, floor: over ``tables``.
    """

    dataset: str
    model: str
    seed: int
    checkpoint: str
    dimension: int
    tables: DatasetTables
    cases: pd.DataFrame
    champion: Refreshes
    floor: Refreshes


def open_contest(opened: OpenGeneration, settings: Settings) -> Contest:
    """What the generation serves by, over everything it was told so far.

    Raises:
        assets.serving.live.batch_rows.BatchError: when a landed file that was applied is missing.
        ValueError: when no engagement before the champion's cutoff is left.
    """
    served, live = read_served(opened), opened.model
    tables = tables_at(served, live.trained_until, settings.split)
    every = cases_between(tables, tables.cutoff, served.ends_at)
    cases = every[~every[Columns.IS_REPEAT].to_numpy(dtype=bool)]
    return Contest(
        dataset=opened.storage.dataset,
        model=live.name,
        seed=live.seed,
        checkpoint=live.digest,
        dimension=0 if live.encodings is None else live.dimension,
        tables=tables,
        cases=cases.sort_values([Columns.TIMESTAMP, Columns.SOURCE_ROW], kind="stable", ignore_index=True),
        champion=Refreshes(_recommender(opened.generation, live.manifest, tables), tables.stream),
        floor=Refreshes(fallback(tables, settings), tables.stream),
    )


def draw_cases(contest: Contest, span: Span, most: int, seed: int) -> CaseSet | None:
    """At most ``most`` of the span's cases, drawn without replacement; ``None`` without any.

    The draw depends on the span, on how many cases it has and on ``seed`` alone.
    """
    rows = rows_of(contest.cases, span)
    if not len(rows):
        return None
    return build_cases(contest.cases.iloc[drawn(rows, most, span.partition, seed)], contest.tables)


def drawn(rows: Int, most: int, name: str, seed: int) -> Int:
    """At most ``most`` of ``rows``, in their order; which ones is settled by ``name`` and ``seed``."""
    if len(rows) <= most:
        return rows
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return np.sort(generator.choice(rows, most, replace=False))


def rank(contest: Contest, case_set: CaseSet) -> dict[str, pd.DataFrame]:
    """Per contender a row per case, in the order of ``case_set``; lists are universe rows.

    Returns:
        Frames as :func:`assets.evaluation.protocol.rank_under_protocols` gives them, with lists of :data:`K`.
    """
    return {
        CHAMPION: _ranks(contest, contest.champion, contest.model, contest.seed, case_set),
        FLOOR: _ranks(contest, contest.floor, "decayed_popularity", 0, case_set),
    }


def stored_form(contest: Contest, case_set: CaseSet, ranks: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The ranks of both as they are kept: lists as ids, since rows are numbered anew whenever something lands.

    Returns:
        The evaluation's columns without the numbered list columns, and ``contender``, ``timestamp``, ``refresh_at``,
        ``available_at`` (of the target), ``list_items`` (item ids, the best first, empty without a list) and
        ``list_age_days`` (float32, days from an item's availability to the case).
    """
    catalog, cases = contest.tables.catalog, case_set.cases
    frames = []
    for name, frame in ranks.items():
        lists = frame[list_columns(frame)].to_numpy(dtype=np.int64)
        more: dict[str, Any] = {
            CONTENDER: name,
            Columns.TIMESTAMP: cases.timestamps,
            Columns.REFRESH_AT: cases.refresh_at,
            Columns.AVAILABLE_AT: catalog.available_at[cases.items],
            "list_items": _rows(catalog.item_ids[lists], lists),
            "list_age_days": _rows(_ages(catalog.available_at[lists], cases.timestamps), lists),
        }
        frames.append(frame.drop(columns=list_columns(frame)).assign(**more))
    return pd.concat(frames, ignore_index=True)


def _recommender(generation: Generation, manifest: dict[str, Any], tables: DatasetTables) -> Recommender:
    if manifest["kind"] == "counting":
        return load_counting(manifest)
    return load_net(generation.checkpoint, manifest).over(tables)


def _ranks(contest: Contest, contender: Recommender, model: str, seed: int, case_set: CaseSet) -> pd.DataFrame:
    identity: dict[str, str | int] = {"dataset": contest.dataset, "model": model, "seed": seed}
    return rank_under_protocols(
        contender, contest.floor, case_set, contest.tables, [PROTOCOL], identity, list_length=K
    ).reset_index(drop=True)


def _ages(available_at: Time, instants: Time) -> Any:
    """[C, K] days, float32."""
    return ((instants[:, None] - available_at) / DAY).astype(np.float32)


def _rows(values: Any, lists: Int) -> Any:
    """[C] arrays: each case's values where its list [C, K] has an item."""
    filled = lists != PADDING
    held = np.empty(len(lists), dtype=object)  # numpy would make a matrix of arrays of one length
    held[:] = np.split(values[filled], np.cumsum(filled.sum(axis=1))[:-1])
    return held
