"""Nets by name: a new one is one file and one line here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models.base import Net, NetConfig, Sizes
from models.sasrec import SASRec, SASRecConfig
from models.two_tower import TwoTower, TwoTowerConfig


@dataclass(frozen=True)
class NetEntry:
    """A net's configuration class and its builder."""

    config: type[NetConfig]
    build: Callable[[Any, Sizes], Net]


NETS: dict[str, NetEntry] = {
    "sasrec": NetEntry(SASRecConfig, SASRec),
    "two_tower": NetEntry(TwoTowerConfig, TwoTower),
}


def build_net(name: str, config: NetConfig, sizes: Sizes) -> Net:
    """A freshly initialised net (from torch's global generator).

    Raises:
        KeyError: listing the known names.
        TypeError: when ``config`` is another net's.
    """
    if name not in NETS:
        raise KeyError(f"no net named {name!r}; known: {', '.join(sorted(NETS))}")
    if not isinstance(config, NETS[name].config):
        raise TypeError(f"{name} takes {NETS[name].config.__name__}, got {type(config).__name__}")
    return NETS[name].build(config, sizes)
