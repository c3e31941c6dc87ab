"""Figures of the gamma sweep (CDN paper, Fig. 4) and of gate values (Fig. 3). Frames in, PNG bytes out."""

import json
from typing import Final

import pandas as pd
from matplotlib.axes import Axes

from assets.schema import Columns, ItemSlice
from assets.training.studies.gates import GATE
from assets.training.studies.slices import OVERALL, SLICES, K, columns
from dashboards.figures import COLORS, drawing, png_of

SLICE_COLORS: Final = dict(zip((OVERALL, *(name.value for name in ItemSlice)), (COLORS[6], *COLORS[:3]), strict=True))
GAMMA: Final = "gamma"
FEW_CASES: Final = 100


def gamma_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Trials of a gamma sweep as means over seeds, a row per gamma; ``seeds`` says over how many."""
    gammas = [json.loads(config)["net"]["head"]["adapter"]["gamma"] for config in rows["config"]]
    values = rows.assign(**{GAMMA: gammas}).groupby(GAMMA)
    means = values[[column for name in SLICES for column in columns(name)]].mean()
    return means.assign(seeds=values.size(), best_epoch=values["best_epoch"].mean()).reset_index()


def gamma_png(table: pd.DataFrame, title: str) -> bytes:
    """NDCG@50 on the validation tail over gamma, a panel per slice; 95 % bands over users where there is one seed.

    Args:
        table: of :func:`gamma_table`.
        title: above the panels.
    """
    with drawing(13, 3.6) as figure:
        for panel, name in zip(figure.subplots(1, len(SLICES)), SLICES, strict=True):
            _gamma_panel(panel, table, name)
        band = "bands: 95 % over users" if (table["seeds"] == 1).all() else "means over seeds"
        figure.suptitle(f"{title}\nvalidation tail, at the best epoch; {band}; dashed: fewer than {FEW_CASES} cases")
        return png_of(figure)


def _gamma_panel(panel: Axes, table: pd.DataFrame, name: str) -> None:
    value, low, high, cases = columns(name)
    count = int(table[cases].max())
    style = "-" if count >= FEW_CASES else "--"
    place = range(len(table))  # equal steps, as in the paper: the values are about evenly spread on no scale
    panel.plot(place, table[value], style, color=SLICE_COLORS[name], marker="o", markersize=4.5)
    if (table["seeds"] == 1).all():
        panel.fill_between(place, table[low], table[high], color=SLICE_COLORS[name], alpha=0.13, linewidth=0)
    panel.set_xticks(place, [f"{gamma:g}" for gamma in table[GAMMA]])
    panel.set_ylim(bottom=0)
    panel.set(title=f"{name} ({count:,} cases)", xlabel=GAMMA, ylabel=f"NDCG@{K}")


def gates_png(table: pd.DataFrame, title: str) -> bytes:
    """Mean gate values, a panel per model: bars by part of the gate and slice; whiskers: one deviation over items.

    Args:
        table: rows of :func:`assets.training.studies.gates.gate_rows`, of at least one model.
        title: above the panels.
    """
    models = list(table["model"].unique())
    with drawing(4.2 * len(models) + 0.8, 3.6) as figure:
        panels = figure.subplots(1, len(models), squeeze=False)[0]
        for panel, model in zip(panels, models, strict=True):
            _gate_panel(panel, table[table["model"] == model], model)
        panels[0].set_ylabel("mean gate value")
        figure.suptitle(f"{title}\nmeans over items (and seeds); whiskers: one standard deviation over items")
        return png_of(figure)


def _gate_panel(panel: Axes, rows: pd.DataFrame, model: str) -> None:
    parts, held = list(rows[GATE].unique()), list(rows[Columns.SLICE].unique())
    means = rows.groupby([Columns.SLICE, GATE])[["mean", "deviation"]].mean()
    width = 0.8 / len(held)
    for index, name in enumerate(held):
        values = means.loc[name].loc[parts]
        place = [part + (index - (len(held) - 1) / 2) * width for part in range(len(parts))]
        panel.bar(
            place, values["mean"], width, yerr=values["deviation"], color=SLICE_COLORS[name], label=name, ecolor="0.3"
        )
    panel.set_xticks(range(len(parts)), parts)
    panel.set_ylim(0, 1)
    panel.set_title(model)
    panel.legend(frameon=False)
