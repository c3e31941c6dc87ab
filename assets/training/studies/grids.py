"""The documented grids: which overrides a sweep tries per model, keyed as in ``training.hyper_parameters``.

A grid varies one factor at a time around the preset; what a paper searches together (the CDN paper's numbers of
experts, appendix B.3) is crossed. Axes may name the preset's own value: what comes to the same configuration twice is
run once, and presets change. ``training.grids`` replaces a model's grid.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Final

Overrides = Mapping[str, Any]
Grid = tuple[Overrides, ...]
Axes = Mapping[str, Sequence[Any]]


def around(axes: Axes) -> Grid:
    """The preset as it is, then every value of every axis with the other factors left alone."""
    return ({}, *({key: value} for key, values in axes.items() for value in values))


def crossed(axes: Axes) -> Grid:
    """Every combination of the axes' values."""
    return tuple(dict(zip(axes, values, strict=True)) for values in product(*axes.values()))


FIT: Final[Axes] = {"learning_rate": (1e-3, 2e-3, 4e-3), "dim": (32, 64, 128), "batch_size": (256, 1024, 4096)}
SEQUENCE: Final[Axes] = {
    "users.layers": (1, 2),
    "users.history_length": (10, 50),
    "users.dropout": (0.0, 0.2, 0.5),
    "users.item_dropout": (0.0, 0.05, 0.2),
}
PAIR: Final[Axes] = {"items.hidden": (64, 128), "users.hidden": (64, 128), "items.id_dropout": (0.0, 0.1, 0.5)}
HISTORY: Final[Axes] = {
    "items.history_length": (5, 10, 30, 100),
    "items.heads": (1, 2, 4),
    "items.self_attention": (1.0, 2.0, 4.0),
    "items.feature_dim": (8, 16, 32),
}
TREND: Final[Axes] = {
    "trend": ({"weight": 0.0, "learned": False}, {"weight": 1.0, "learned": False}, {"weight": 1.0, "learned": True}),
    "counts.half_life_days": (1.0, 3.0, 7.0, 14.0),
}
RECURRENT: Final[Axes] = {
    "users.hidden": (50, 128, 200),
    "users.history_length": (20, 50, 100),
    "users.dropout": (0.0, 0.2, 0.5),
}
SESSIONS: Final[Axes] = {"users.session_gap_minutes": (30.0, 60.0, 24 * 60.0), "users.session.dim": (4, 8, 16)}
MIXED: Final[Axes] = {
    "items.half_count": (3.0, 10.0, 30.0),
    "items.feature_dim": (8, 16, 32),
    "users.request": (None,),
    "users.feedback": (None,),
}
IDS_IN_STATIC: Final[Grid] = (
    {"items.ids": False},
    *({"items.ids": True, "items.id_dropout": probability} for probability in (0.1, 0.5, 0.9)),
)
GAMMAS: Final = (1.2, 1.5, 2.1, 3.0, 5.0, 10.0, 30.0)
"""Regularizer rates of the CDN paper's appendix B.3 and Fig. 4."""
GAMMA_KEY: Final = "head.adapter.gamma"
GAMMA: Final[Grid] = crossed({GAMMA_KEY: GAMMAS})
EXPERTS: Final[Grid] = crossed({"items.design.mem": (1, 2, 3), "items.design.gen": (1, 2, 3)})
IHM: Final[Grid] = around({**FIT, **HISTORY, **SEQUENCE, **TREND}) + IDS_IN_STATIC


def inside(axes: Axes) -> Axes:
    """The same axes where DAT's augmented towers hold the towers that they are about."""
    return {key.replace("items.", "items.inner.").replace("users.", "users.inner."): each for key, each in axes.items()}


MIMIC: Final[Axes] = {"items.mimic_weight": (0.0, 0.1, 0.5, 1.0), "users.mimic_weight": (0.0, 0.1, 0.5, 1.0)}

GRIDS: Final[dict[str, Grid]] = {
    "two_tower": around({**FIT, **PAIR}),
    "two_tower_class_balance": around({**FIT, "head.beta": (0.9, 0.99, 0.999, 0.9999)}),
    "two_tower_logq_rebalance": around({**FIT, "prior_weight": (0.1, 1.0, 10.0)}),
    "two_tower_ndp": around({**FIT, "head.first_stage": (0.25, 0.5, 0.75)}),
    "two_tower_bbn": around(FIT),
    "sasrec": around({**FIT, **SEQUENCE, "negatives": (256, 1024, 4096), "loss": ("sampled_softmax", "full_softmax")}),
    "cdn": around({**FIT, **SEQUENCE}) + EXPERTS + GAMMA,
    "bdn": around(FIT) + EXPERTS,
    "udn": around(FIT) + GAMMA,
    "idn": around(FIT) + EXPERTS,
    "cdn_unbalanced_balanced": around(FIT) + GAMMA,
    "cdn_head_tail": around({**FIT, "items.design.tail_max_count": (5, 10, 20)}) + GAMMA,
    "dat": around({**FIT, **inside(SEQUENCE), **MIMIC}),
    "ihm_sasrec": IHM,
    "ihm_cdn": around({**FIT, **HISTORY}) + GAMMA,
    "ihm_dat": around({**FIT, **inside(HISTORY), **MIMIC}),
    "gru": around({**FIT, **RECURRENT}),
    "hrnn": around({**FIT, **RECURRENT, **SESSIONS}),
    "hgru": around({**FIT, **RECURRENT, **SESSIONS}),
    "hrnn_meta": around({**FIT, **RECURRENT, **SESSIONS, **MIXED, **TREND}),
}


def grid_of(model: str, configured: Mapping[str, Sequence[Overrides]]) -> Grid:
    """The configured grid of a model, else the documented one, else nothing but its preset."""
    return tuple(configured[model]) if model in configured else GRIDS.get(model, ({},))
