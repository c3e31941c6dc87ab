"""The decay page: quality of frozen weights over test windows, and of what serves over landed partitions."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from assets.schema import ALL_WINDOWS, CaseSlice
from dashboards.headline import measured_k
from dashboards.site_parts import Figure, LineStyle, Link, Page, Section, missing, styles, thinned, with_interval

FILE = "decay.html"
SLICES: Final = (CaseSlice.OVERALL, CaseSlice.HEAD, CaseSlice.TAIL, CaseSlice.COLD)
SHOWN: Final = {"hr": "HR", "ndcg": "NDCG"}


def decay_page(
    metrics: pd.DataFrame | None,
    starts: Mapping[str, Any],
    floors: Collection[str],
    quality: pd.DataFrame | None,
    marks: Sequence[tuple[Any, str]],
    links: Sequence[Link],
) -> Page:
    """The page.

    Args:
        metrics: tidy, of one protocol; None before an evaluation. Shown at k 10 if it is there, else at the first k.
        starts: instant of each window's beginning, where known.
        floors: counting models, drawn dashed.
        quality: the champion's and the floor's per landed partition; of each champion its own floor.
        marks: changes of champion.
        links: the same as files.
    """
    windows = metrics[metrics["window"] != ALL_WINDOWS] if metrics is not None else None
    sections = [
        missing("Evaluation windows", "thaw run ranks every test window.")
        if windows is None or windows.empty
        else _windows(windows, starts, floors),
        missing("Landed partitions", "champion/quality_over_time measures what serves on what lands.")
        if quality is None or quality.empty
        else _partitions(quality, marks),
    ]
    if links:
        sections.append(Section("As files", links=links))
    return Page(FILE, "Decay", "How quality changes after the weights were frozen.", sections)


def _windows(metrics: pd.DataFrame, starts: Mapping[str, Any], floors: Collection[str]) -> Section:
    time = all(window in starts for window in metrics["window"].unique())
    frame = metrics.assign(
        line=metrics["model"],
        x=pd.to_datetime(metrics["window"].map(starts)) if time else metrics["window"].astype(int),
    )
    models = list(dict.fromkeys(metrics["model"]))
    lines = styles([name for name in models if name not in floors], [name for name in models if name in floors])
    summary = f"{len(models)} models on {metrics['window'].nunique()} test windows after the cutoff. "
    figures = _figures(frame, lines, "windows", summary, "start of the window" if time else "window", time, ())
    text = ["Weights are frozen at the cutoff. Floors (counting models) are dashed; bands are intervals over users."]
    return Section("Evaluation windows", text=text, figures=figures)


def _partitions(quality: pd.DataFrame, marks: Sequence[tuple[Any, str]]) -> Section:
    champion, short = quality["contender"] == "champion", quality["checkpoint"].str[:6]
    # What is cold, or known, is so to one champion: the floor that it is held to was measured on its own slices.
    line = (quality["model"] + " " + short).where(champion, "floor " + short)
    frame = quality.assign(line=line, x=pd.to_datetime(quality["starts_at"]))
    # A day and its first hour begin together; one point of them is enough.
    frame = frame.drop_duplicates(["line", "x", "slice", "metric", "k"], keep="last")
    lines = _paired(list(dict.fromkeys(line[champion])), list(dict.fromkeys(line[~champion])))
    summary = f"Champion and floor on {quality['partition'].nunique()} landed partitions. "
    # A replay puts the event clock back: what was decided before it stands behind the last partition.
    ends_at = pd.to_datetime(quality["ends_at"]).max()
    inside = [mark for mark in marks if frame["x"].min() <= pd.Timestamp(mark[0]) <= ends_at]
    figures = _figures(frame, lines, "partitions", summary, "start of the partition", True, inside)
    text = (
        "Each champion's frozen weights on what landed after its cutoff, beside the floor on its slices (dashed, in its"
        " colour). Dotted uprights are changes of what serves."
    )
    return Section("Landed partitions", text=[text], figures=figures)


def _paired(champions: Sequence[str], floors: Sequence[str]) -> dict[str, LineStyle]:
    """A style per line; each floor, named by its champion's checkpoint, has the champion's colour, dashed."""
    solid = styles(champions)
    slots = {name.rsplit(" ", 1)[-1]: style.slot for name, style in solid.items()}
    after = len(solid)  # a floor whose champion has no row of its own
    return solid | {name: LineStyle(slots.get(name.rsplit(" ", 1)[-1], after), "dash") for name in floors}


def _figures(
    frame: pd.DataFrame,
    lines: Mapping[str, Any],
    name: str,
    summary: str,
    x_title: str,
    time: bool,
    marks: Sequence[tuple[Any, str]],
) -> list[Figure]:
    figures, k = [], measured_k(frame)
    for metric, measure in SHOWN.items():
        title = f"{measure}@{k}"
        rows = frame[(frame["metric"] == metric) & (frame["k"] == k) & frame["slice"].isin(SLICES)]
        rows = rows.assign(panel=rows["slice"]).rename(columns={"ci_low": "low", "ci_high": "high"}).sort_values("x")
        panels = {str(part): title for part in SLICES if (rows["slice"] == part).any()}
        if rows.empty:
            continue
        shown = thinned(rows, len(lines) * len(panels))
        words = f"{title} per slice. {summary}{_ends(shown)}"
        figures.append(
            Figure(f"{name}-{metric}", words, shown, panels, lines, x_title, time=time, marks=marks),
        )
    return figures


def _ends(rows: pd.DataFrame) -> str:
    """First and last value overall of the best line, in words."""
    overall = rows[rows["slice"] == CaseSlice.OVERALL]
    if overall.empty:
        return ""
    best = overall.groupby("line")["value"].mean().idxmax()
    of_best = overall[overall["line"] == best]
    first, last = (with_interval(*of_best.iloc[place][["value", "low", "high"]]) for place in (0, -1))
    return f"Best on average is {best}: {first} at first, {last} at last (overall)."
