"""The workspace's dashboard: tabs and panels with time axes over the numbers that there are."""

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from evidently.sdk.models import DashboardModel, DashboardPanelPlot, DashboardTabModel, PanelMetric

from dashboards.workspace_scalars import METRIC, Moment

TABS: Final = ("Landed partitions", "Evaluation windows")
KIND_OF: Final = dict(zip(("partition", "window"), TABS, strict=True))


@dataclass(frozen=True)
class Panel:
    """A line plot.

    Attributes:
        title, about: heading and what it shows.
        names: of the scalars that it holds, in order; each is a line per ``of``. A title and name that end with ``@``
            are of a metric at the k that was measured.
    """

    title: str
    about: str
    names: tuple[str, ...]


PANELS: Final = (
    Panel("Drift", "Distance to the reference per column; the test of each snapshot states its threshold", ("drift",)),
    Panel("Alarms", "Columns that drifted", ("drifted columns",)),
    Panel(
        "Who and what",
        "Shares of engagements on cold and on tail items and by users unknown to the champion",
        ("cold share", "tail share", "unknown user share"),
    ),
    Panel("Volume", "Engagements per hour", ("events per hour",)),
    Panel("Quality: NDCG@", "Frozen weights, per slice and model; floor: decayed popularity", ("NDCG@",)),
    Panel("Quality: HR@", "Frozen weights, per slice and model; floor: decayed popularity", ("HR@",)),
    Panel(
        "Embeddings of items",
        "Cosine distance between a refresh and the one before, by model; and to the cutoff's",
        ("embedding distance", "embedding distance p95", "embedding distance from cutoff"),
    ),
    Panel("Items that moved", "Share whose embedding moved by more than 0.01, by model", ("items moved",)),
    Panel("Predictions: scores", "Top-10 scores, by model", ("score p10", "score p50", "score p90")),
    Panel("Predictions: coverage", "Share of the catalog that is recommended, by model", ("coverage",)),
    Panel(
        "Predictions: popularity",
        "Mean log(1 + train engagements) of what is recommended, by model",
        ("mean popularity",),
    ),
    Panel("Action to serving", "Seconds from an event to the index", ("ATS p50", "ATS p95")),
)


def dashboard_of(moments: Sequence[Moment], project: uuid.UUID) -> DashboardModel:
    """A tab per kind of moment with the panels whose numbers occur; ids depend on ``project`` alone."""
    tabs, panels = [], []
    for kind, title in KIND_OF.items():
        there = _lines(moment for moment in moments if moment.kind == kind)
        panels_of_kind = [_at_k(panel, there) for panel in PANELS]
        held = [panel for panel in panels_of_kind if any(name in there for name in panel.names)]
        chosen = [_plot(panel, kind, there, project) for panel in held]
        if chosen:
            panels += chosen
            tab = uuid.uuid5(project, f"tab {kind}")
            tabs.append(DashboardTabModel(id=tab, title=title, panels=[panel.id for panel in chosen]))
    return DashboardModel(tabs=tabs, panels=panels)


def _at_k(panel: Panel, names: Collection[str]) -> Panel:
    """The panel with the names that there are in place of one that ends with ``@``; of none where there is no such."""
    if not panel.title.endswith("@"):
        return panel
    found = tuple(name for name in names if name.startswith(panel.names))
    return replace(panel, title=panel.title.partition(": ")[0] + ": " + ", ".join(found), names=found)


def _lines(moments: Iterable[Moment]) -> dict[str, list[str]]:
    """Name of a scalar -> what it is of, in order of first appearance."""
    lines: dict[str, dict[str, None]] = {}
    for moment in moments:
        for scalar in moment.scalars:
            lines.setdefault(scalar.name, {})[scalar.of] = None
    return {name: list(found) for name, found in lines.items()}


def _plot(panel: Panel, kind: str, lines: dict[str, list[str]], project: uuid.UUID) -> DashboardPanelPlot:
    values = [
        PanelMetric(
            legend=_legend(name, of, panel),
            tags=[kind],
            metric=METRIC,
            metric_labels={"name": name, "of": of},
        )
        for name in panel.names
        for of in lines.get(name, [])
    ]
    return DashboardPanelPlot(
        id=uuid.uuid5(project, f"panel {kind} {panel.title}"),
        title=panel.title,
        subtitle=panel.about,
        size="half",
        values=values,
        plot_params={"plot_type": "line"},
    )


def _legend(name: str, of: str, panel: Panel) -> str:
    if not of:
        return name
    return of if len(panel.names) == 1 else f"{name}, {of}"
