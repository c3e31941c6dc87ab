"""The drift page: scores of landed partitions and test windows against their references, with links to full reports."""

from collections.abc import Callable
from typing import Any, Final

import pandas as pd

from dashboards.site_parts import (
    MOST_ROWS,
    Cell,
    Figure,
    Page,
    Section,
    State,
    Table,
    instant,
    missing,
    number,
    styles,
    thinned,
)

FILE = "drift.html"
KINDS: Final = {
    "partition": ("Landed partitions", "monitoring/partition_drift compares what lands with the champion's past."),
    "window": ("Test windows", "thaw run compares every test window with train time."),
}
SHARES: Final = {"unknown_user_share": "unknown users", "cold_share": "cold items", "tail_share": "tail items"}

Href = Callable[[str, str], str]
"""(kind, name) -> the full report's address, empty where it was not kept."""


def drift_page(scores: pd.DataFrame | None, verdicts: pd.DataFrame | None, href: Href) -> Page:
    """The page.

    Args:
        scores: kind, name, starts_at, ends_at, column, method, score, threshold, drifted, rows, reference_rows.
        verdicts: kind, name, starts_at, ends_at, rows, alarm, reason, drifted, judged; of partitions also shares, and
            engagements, of which ``rows`` were compared. Windows of older files lack these.
        href: where the full reports lie.
    """
    lead = "Whether engagements still look like those that the model learned from."
    return Page(FILE, "Drift", lead, [_section(kind, scores, verdicts, href) for kind in KINDS])


def _section(kind: str, scores: pd.DataFrame | None, verdicts: pd.DataFrame | None, href: Href) -> Section:
    title, how = KINDS[kind]
    of_kind = [None if frame is None else frame[frame["kind"] == kind] for frame in (scores, verdicts)]
    scored, judged = of_kind
    if judged is None or judged.empty:
        return missing(title, how)
    figures = [] if scored is None or scored.empty else [_scores(kind, scored)]
    if kind == "partition":
        figures += [figure for figure in (_shares(judged), _volume(judged)) if figure]
    alarms = int(judged["alarm"].sum())
    text = f"{alarms} of {int(judged['judged'].sum())} judged are drifted, of {len(judged)} in all."
    return Section(title, text=[text], figures=figures, tables=[_verdicts(title, judged, href)])


def _scores(kind: str, scores: pd.DataFrame) -> Figure:
    """Scores over their thresholds, so that columns of different methods share an axis and a bound."""
    frame = scores.assign(
        panel="scores",
        line=scores["column"],
        x=pd.to_datetime(scores["starts_at"]),
        value=scores["score"] / scores["threshold"],
        low=float("nan"),
        high=float("nan"),
    ).sort_values("x")
    newest = frame[frame["x"] == frame["x"].max()].nlargest(1, "value").iloc[0]
    columns = list(dict.fromkeys(frame["line"]))
    summary = (
        f"Drift scores of {len(columns)} columns over their thresholds; at 1 and above a column is drifted."
        f" Strongest in the newest {kind}: {newest['line']} with {number(newest['value'], 2)}."
    )
    return Figure(
        f"{kind}-scores",
        summary,
        thinned(frame, len(columns)),
        {"scores": "score / threshold"},
        styles(columns),
        f"start of the {kind}",
        time=True,
        bounds=[(1.0, "threshold")],
    )


def _shares(verdicts: pd.DataFrame) -> Figure | None:
    held = [name for name in SHARES if name in verdicts]
    frame = _melted(verdicts, held)
    if frame.empty:
        return None
    frame = frame.assign(line=frame["line"].map(SHARES), panel="shares")
    last = frame[frame["x"] == frame["x"].max()]
    words = ", ".join(f"{row.line} {row.value:.1%}" for row in last.itertuples())
    names = [SHARES[name] for name in held]
    summary = f"Shares of a partition's engagements. The newest: {words}."
    return Figure(
        "shares", summary, thinned(frame, 3), {"shares": "share"}, styles(names), "start of the partition", time=True
    )


def _volume(verdicts: pd.DataFrame) -> Figure | None:
    frame = _melted(verdicts, [name for name in ("events_per_hour",) if name in verdicts])
    if frame.empty:
        return None
    frame = frame.assign(line="events per hour", panel="volume")
    summary = f"Engagements per hour; the newest partition has {number(frame['value'].iloc[-1], 1)}."
    lines = styles(["events per hour"])
    return Figure("volume", summary, thinned(frame, 1), {"volume": "per hour"}, lines, "partition", time=True)


def _melted(verdicts: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    if not columns:
        return pd.DataFrame()
    frame = verdicts.assign(x=pd.to_datetime(verdicts["starts_at"])).sort_values("x")
    tidy = frame.melt(id_vars="x", value_vars=columns, var_name="line").dropna(subset="value")
    return tidy.assign(low=float("nan"), high=float("nan")).sort_values("x", kind="stable")


def _verdicts(title: str, verdicts: pd.DataFrame, href: Href) -> Table:
    newest = verdicts.sort_values("starts_at", ascending=False).head(MOST_ROWS)
    rows = [
        [
            Cell(str(row["name"]), href=href(row["kind"], str(row["name"]))),
            Cell(instant(row["starts_at"])),
            Cell(number(row.get("engagements"), 0)),
            Cell(number(int(row["rows"]))),
            _verdict(row),
            Cell(str(row["reason"] or "")),
            Cell(", ".join(map(str, row["drifted"]))),
        ]
        for row in newest.to_dict("records")
    ]
    caption = f"{title}, newest first; a name links the full report where it was kept"
    columns = ["name", "from (UTC)", "engagements", "compared", "verdict", "reason", "columns drifted"]
    return Table(caption, columns, rows, frozenset({"engagements", "compared"}))


def _verdict(row: dict[Any, Any]) -> Cell:
    if not row["judged"]:
        return Cell("? not judged", state=State.UNKNOWN)
    return Cell("! drifted", state=State.WARN) if row["alarm"] else Cell("✓ as before", state=State.GOOD)
