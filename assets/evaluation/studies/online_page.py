"""The retraining study as a page: what was run, means over frames, the bar, every frame, and what the paper has."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from assets.config import Settings
from assets.evaluation.slices import HIT_RATE, NDCG, PERPLEXITY
from assets.evaluation.studies.files import figure_path, write_study
from assets.evaluation.studies.online import FLOORS, FRAME, NAMES, FrameResult
from assets.evaluation.studies.online_files import basis_of, gather
from assets.evaluation.studies.online_measures import (
    AGAINST,
    BAR,
    MEAN,
    REFERENCE,
    Compared,
    K,
    Number,
    compare,
    measure,
    pick,
)
from assets.storage import Storage
from dashboards.online import online_png

STUDY: Final = "online"
"""Name of the study, and stem of its files."""


@dataclass(frozen=True)
class Published:
    """What was written; ``path`` is the table's."""

    table: pd.DataFrame
    text: str
    figure: bytes
    path: Path


def publish(storage: Storage, settings: Settings) -> Published:
    """Gather every frame of the split into the study's table, page and figure, and write them.

    Raises:
        FileNotFoundError: naming the partitions that are to be made first.
        StaleResultsError: when a frame rests on something else than the current tables and settings.
    """
    results, config = gather(storage, settings), settings.evaluation
    table = measure(results, config.bootstrap_samples, settings.training.seed)
    figure = draw(table, results, settings)
    text = page(table, results, settings, figure_path(storage, STUDY).name)
    rests_on = {"frames": json.loads(basis_of(storage, settings)), "bootstrap_samples": config.bootstrap_samples}
    return Published(table, text, figure, write_study(storage, settings, STUDY, table, text, figure, rests_on))


def draw(table: pd.DataFrame, results: Sequence[FrameResult], settings: Settings) -> bytes:
    """The figure: every contender's own values per frame."""
    starts = {str(result.frame.number): result.frame.starts_at for result in results}
    points = table[(table[FRAME] != MEAN) & (table[AGAINST] == "")]
    points = points.assign(starts_at=points[FRAME].map(starts))
    title = f"{settings.dataset}: {settings.studies.online.model} retrained before each frame, or frozen"
    return online_png(points, NAMES, FLOORS, (HIT_RATE, NDCG, PERPLEXITY), settings.evaluation.min_cases, title)


def page(table: pd.DataFrame, results: Sequence[FrameResult], settings: Settings, figure: str) -> str:
    """The study as Markdown.

    Args:
        table: what :func:`measure` gave.
        figure: file name of the figure.
    """
    parts = [
        _setup(table, results, settings),
        _means(table),
        _verdict(compare(table, BAR)),
        f"![HR@{K}, NDCG@{K} and perplexity per frame]({figure})",
        f"HR@{K} per frame:\n\n{_frames(table, results)}",
        PAPER,
    ]
    return "\n\n".join(parts) + "\n"


PAPER: Final = (
    "The paper (Ma et al., KDD 2020, section 4.5) has a figure and no numbers, on Outbrain news in frames of one hour,"
    " retrained on the latest ten: offline falls drastically within 20 hours, online and recent popularity are far"
    " better, and online is above recent popularity most of the time. Those are news, which expire within hours:"
    " another dataset and another pace, to be compared with these frames in direction only."
)


def _setup(table: pd.DataFrame, results: Sequence[FrameResult], settings: Settings) -> str:
    online, split = settings.studies.online, settings.split
    cases = pick(table, BAR, "", HIT_RATE)[MEAN].n
    ranked = sum(len(result.rows) for result in results) // len(NAMES)
    seconds = [result.seconds["training"] for result in results if result.seconds]
    kind = f"{split.kind} {split.fraction:g}, frame {split.frame}" if split.kind == "fraction" else split.kind
    return (
        f"`{online.model}` on {settings.dataset}, split {kind}: {len(results)} frames from"
        f" {_date(results[0].frame.starts_at)} to {_date(results[-1].frame.ends_at)}. Offline is trained once on all"
        f" before the first frame; online before each frame on the latest {online.window_days:g} days, which took"
        f" {np.mean(seconds):.0f} seconds for both nets on average. All: {_epochs(settings)} epochs, no validation,"
        f" seed {settings.training.seed}. Trends and counts are refreshed at a frame's start and then daily, but for"
        f" `offline` and `trend frozen`. Full ranking, rolling user histories; {cases:,} cases of users with history"
        f" (of {ranked:,}). Means over frames, each counting alike; brackets: 95 % bootstrap intervals over users."
    )


def _epochs(settings: Settings) -> int:
    return settings.training.max_epochs or settings.studies.online.epochs


def _means(table: pd.DataFrame) -> str:
    rows = []
    for name in NAMES:
        hits, ndcg, perplexity = (pick(table, name, "", metric)[MEAN] for metric in (HIT_RATE, NDCG, PERPLEXITY))
        rows.append(
            {
                "": f"{name} (floor)" if name in FLOORS else name,
                f"HR@{K}": _interval(hits, ".4f"),
                f"NDCG@{K}": _interval(ndcg, ".4f"),
                "perplexity": _interval(perplexity, ".0f"),
                **_compared(table, name),
            }
        )
    return pd.DataFrame(rows).to_markdown(index=False)


def _compared(table: pd.DataFrame, name: str) -> dict[str, str]:
    """Per floor the difference, and behind it in how many frames the contender is above."""
    cells = {}
    for floor in FLOORS:
        result = compare(table, name, floor) if name != floor else None
        cell = f"{_interval(result.mean, '+.4f')}, {result.above} of {result.frames}" if result else ""
        cells[f"HR@{K} against {floor}, frames above"] = cell
    return cells


def _verdict(result: Compared) -> str:
    return (
        f"Bar: `{BAR}` above `{REFERENCE}` on average over frames: **{'held' if result.held else 'missed'}**,"
        f" {_interval(result.mean, '+.4f')} HR@{K}, above it in {result.above} of {result.frames} frames."
    )


def _frames(table: pd.DataFrame, results: Sequence[FrameResult]) -> str:
    values = {name: pick(table, name, "", HIT_RATE) for name in NAMES}
    starts = {str(result.frame.number): _date(result.frame.starts_at) for result in results}
    rows = [
        {
            "frame": starts[frame],
            "cases": number.n,
            **{name: f"{values[name][frame].value:.4f}" for name in NAMES},
        }
        for frame, number in values[BAR].items()
        if frame != MEAN
    ]
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)


def _date(instant: np.datetime64) -> str:
    return str(np.datetime_as_string(instant, unit="m")).replace("T", " ")


def _interval(number: Number, form: str) -> str:
    return f"{number.value:{form}} [{number.ci_low:{form}}, {number.ci_high:{form}}]"
