"""What trained item towers lean on: the CDN paper's Fig. 3, and likewise the gate over IHM's experts (eq. 3)."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from assets.ranking import Recommender
from assets.schema import Columns, ItemSlice
from assets.stream import DatasetTables, batches
from assets.training.recommender import ROWS_PER_BATCH, NetRecommender
from models.base import ItemInputs, Net
from models.cdn import MemGenItems
from models.dat import AugmentedItems
from models.ihm import HistoryItems
from models.net import Retrieval

MEMORIZATION: Final = "memorization"
GENERALIZATION: Final = "generalization"
GATE: Final = "gate"

Parts = Mapping[str, Tensor]
"""Part of a gate -> [M] weights; the parts of an item sum to 1."""


def gates(net: Net, items: ItemInputs) -> Parts:
    """The gate of an item tower that mixes by a learned gate; empty for any other.

    CDN's Mem/Gen design: the weights of all memorization experts together, and of all generalization experts. IHM with
    H > 1: the weight of each expert.
    """
    tower = net.items if isinstance(net, Retrieval) else None
    if isinstance(tower, AugmentedItems):
        tower = tower.inner
    if isinstance(tower, MemGenItems):
        weights, own = tower.gates(items), len(tower.mem)  # [M, n]
        return {MEMORIZATION: weights[:, :own].sum(dim=1), GENERALIZATION: weights[:, own:].sum(dim=1)}
    if isinstance(tower, HistoryItems) and len(tower.key) > 1:
        static = tower.static(items)  # [M, D]
        weights = tower.gates(static, tower.experts(static, items))  # [M, H]
        return {f"expert {head + 1}": weights[:, head] for head in range(weights.shape[1])}
    return {}


def item_gates(model: Recommender, tables: DatasetTables) -> dict[str, np.ndarray]:
    """Part -> [N] weights of every item as of the cutoff; empty for models without such a gate.

    Every item of the dataset takes part, those that join the catalog later too, as they were at the cutoff: without
    engagements. Otherwise there would be no cold items where creation times are unknown.
    """
    if not isinstance(model, NetRecommender):
        return {}
    known = tables.stream.before(tables.cutoff)
    found: list[Parts] = []
    with torch.inference_mode():
        for rows in batches(len(tables.catalog), ROWS_PER_BATCH):
            inputs = model.refresher.inputs(np.arange(rows.start, rows.stop), known, tables.cutoff)
            found.append(gates(model.net, inputs.to(model.device)))
    return {name: torch.cat([parts[name] for parts in found]).double().cpu().numpy() for name in found[0]}


def gate_rows(model: str, seed: int, weights: Mapping[str, np.ndarray], slices: np.ndarray) -> pd.DataFrame:
    """Mean and standard deviation over the items of each slice, a row per slice and part of the gate.

    Args:
        weights: of :func:`item_gates`.
        slices: [N] by engagements before the cutoff.
    """
    rows = []
    for name in ItemSlice:
        inside = slices == name.value
        for part, values in weights.items():
            if inside.any():
                chosen = values[inside]
                rows.append((model, seed, name.value, part, float(chosen.mean()), float(chosen.std()), len(chosen)))
    return pd.DataFrame(rows, columns=["model", "seed", Columns.SLICE, GATE, "mean", "deviation", "items"])


def gates_markdown(table: pd.DataFrame, without: Sequence[str]) -> str:
    """Mean gate values over seeds as Markdown, a row per model and slice, a column per part."""
    parts = []
    for model, rows in table.groupby("model", sort=False):
        grid = rows.pivot_table(index=Columns.SLICE, columns=GATE, values="mean", aggfunc="mean", sort=False)
        grid["items"] = rows.groupby(Columns.SLICE)["items"].first()
        shown = grid.reset_index().to_markdown(index=False, floatfmt=".3f")
        parts.append(f"### {model}, {rows['seed'].nunique()} seed(s)\n\n{shown}")
    note = "Mean gate values by slice of the item, engagements counted before the cutoff; every item of the dataset."
    rest = f" Without a gate that is learned: {', '.join(without)}." if without else ""
    return "\n\n".join([*parts, note + rest]) + "\n"
