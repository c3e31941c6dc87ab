"""The freshness page: how long an engagement took to be searchable, hop by hop, over landed partitions."""

from typing import Final

import pandas as pd

from dashboards.site_parts import Cell, Figure, Page, Section, Table, missing, number, partition_start, styles, thinned

FILE = "freshness.html"
HOPS: Final = ("seen", "features", "embedded", "indexed")
"""Hops that add up to what our side takes, from the landing to the index."""
QUANTILES: Final = ("p50", "p95", "p99")
GROUPS: Final = {"all": "every engagement", "new items": "landed items"}


def freshness_page(report: pd.DataFrame | None, bound: float, recall: Section | None) -> Page:
    """The page.

    Args:
        report: group, hop, engagements, waiting, mean, p50, p95, p99 (seconds); groups are partitions and
            :data:`GROUPS`.
        bound: seconds allowed to the 95th percentile.
        recall: what is known of the index.
    """
    lead = "Action-to-serving latency: from an engagement to the index that serves."
    if report is None or report.empty:
        first = missing("Latency", "drop files into the landing folder; docs/freshness.md says how.")
        return Page(FILE, "Freshness", lead, [first, *([recall] if recall else [])])
    partitions = report[~report["group"].isin(list(GROUPS))]
    partitions = partitions.assign(x=pd.to_datetime([partition_start(name) for name in partitions["group"]]))
    figures = [figure for figure in (_quantiles(partitions, bound), _hops(partitions)) if figure]
    latency = Section("Latency per partition", figures=figures, tables=[_table(report)])
    return Page(FILE, "Freshness", lead, [latency, *([recall] if recall else [])])


def _quantiles(partitions: pd.DataFrame, bound: float) -> Figure | None:
    rows = partitions[partitions["hop"] == "searchable"]
    frame = rows.melt(id_vars="x", value_vars=list(QUANTILES), var_name="line").dropna(subset="value")
    if frame.empty:
        return None
    frame = frame[frame["value"] > 0].assign(panel="searchable", low=float("nan"), high=float("nan"))
    above = int((rows["p95"] > bound).sum())
    summary = (
        f"Seconds until searchable over {len(rows)} partitions; the 95th percentile is above the allowed {bound:g} s in"
        f" {above} of them."
    )
    return Figure(
        "quantiles",
        summary,
        thinned(frame.sort_values("x"), len(QUANTILES)),
        {"searchable": "seconds (log)"},
        styles(QUANTILES),
        "partition",
        time=True,
        bounds=[(bound, f"allowed p95: {bound:g} s")],
        log=True,
    )


def _hops(partitions: pd.DataFrame) -> Figure | None:
    rows = partitions[partitions["hop"].isin(HOPS)].dropna(subset="mean")
    if rows.empty:
        return None
    frame = rows.assign(panel="hops", line=rows["hop"], value=rows["mean"], low=float("nan"), high=float("nan"))
    means = rows.groupby("hop")["mean"].mean()
    summary = (
        "Mean seconds per hop, from the landing of a file to the index. The longest hop on average is"
        f" {means.idxmax()} with {number(means.max())} s."
    )
    frame = thinned(frame.sort_values("x"), len(HOPS))
    return Figure("hops", summary, frame, {"hops": "seconds, mean"}, styles(HOPS), "partition", kind="stack", time=True)


def _table(report: pd.DataFrame) -> Table:
    rows = report[report["group"].isin(list(GROUPS))]
    columns = ("engagements", "waiting", "mean", *QUANTILES)
    cells = [
        [
            Cell(f"{GROUPS[str(row.group)]}: {row.hop}"),
            *(Cell(number(getattr(row, name), 0 if name in columns[:2] else 3)) for name in columns),
        ]
        for row in rows.itertuples()
    ]
    return Table("Everything measured, seconds", ["hop", *columns], cells, frozenset(columns))


def recall_section(snapshot: dict[str, float], minimum: float) -> Section:
    """What the latest snapshot's self-check found."""
    rows = [[Cell(name), Cell(number(value))] for name, value in snapshot.items()]
    table = Table("The latest snapshot against exact search", ["measure", "value"], rows, frozenset({"value"}))
    return Section("Index", text=[f"At least {minimum:g} recall@10 is wanted."], tables=[table])
