"""Retraining with item trend corrections (HRNN-meta paper, section 4.5 and Fig. 5), frame by frame.

Before every frame of the test period a net is trained anew on the latest engagements (online); another was trained
once, on everything before the cutoff (offline). Both exist without a trend and with eq. 5's, ``affinity + log q_t``.
They are ranked on the same cases as the floors, which have nothing but counts. The rules:

- **Training** reads what came strictly before the frame (online) or the cutoff (offline), and nothing else:
  :func:`assets.training.retrain.retrain` removes the rest first. Equal epochs, seed and configuration; no validation.
- **Refreshes** are at the frame's start and at every start of a UTC day within it: trends and counts move on then.
- **User histories** are rolling for all. Users without any are ranked by the fallback of evaluation and left out of the
  means.
"""

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from assets.config import ConfigError, Protocol, Settings
from assets.evaluation.protocol import CaseSet
from assets.evaluation.run import fallback
from assets.evaluation.studies.frames import Frame
from assets.ranking import Recommender, rank_cases
from assets.schema import Columns, ItemEmbeddings
from assets.stream import DatasetTables
from assets.training.checkpoints import LoadedNet
from assets.training.counting import CountingRecommender
from assets.training.presets import FitPreset, preset
from assets.training.registry import MODELS
from assets.training.retrain import retrain

Trained = Literal["offline", "online"]


@dataclass(frozen=True)
class Contender:
    """A net of the study.

    Attributes:
        name: as tables and figures have it.
        trained: at the cutoff, or before every frame.
        trend: whether eq. 5's offset is in training and serving.
        items: whether item vectors, and so the trend, move on with refreshes.
    """

    name: str
    trained: Trained
    trend: bool
    items: ItemEmbeddings = ItemEmbeddings.REFRESHED


CONTENDERS: Final = (
    Contender("online + trend", "online", trend=True),
    Contender("online", "online", trend=False),
    Contender("offline + trend", "offline", trend=True),
    Contender("offline, trend frozen", "offline", trend=True, items=ItemEmbeddings.FROZEN),
    Contender("offline", "offline", trend=False, items=ItemEmbeddings.FROZEN),
)
FLOORS: Final = ("recent_popularity", "decayed_popularity")
NAMES: Final = (*(contender.name for contender in CONTENDERS), *FLOORS)
RANKED: Final = ("has_history", "above", "tied", "nll")
CONTENDER: Final = "contender"
FRAME: Final = "frame"

EQUATION_5: Final = {
    True: {"trend.weight": 1.0, "trend.learned": False},
    False: {"trend.weight": 0.0, "trend.learned": False},
}
"""The paper adds log q as it is: tau is 1, or there is none."""


def net_config(settings: Settings, *, trend: bool) -> FitPreset:
    """How the nets with or without a trend are trained; ``training.max_epochs``, where set, wins over the study's.

    Raises:
        ConfigError: when ``studies.online.model`` is no net.
    """
    online = settings.studies.online
    nets = [name for name, entry in MODELS.items() if entry.kind == "net"]
    if online.model not in nets:
        raise ConfigError(f"studies.online.model: no net is called {online.model!r}; known: {', '.join(nets)}")
    own = settings.training.hyper_parameters.get(online.model, {})
    changed = {**own, "max_epochs": online.epochs, **EQUATION_5[trend]}
    training = settings.training.model_copy(update={"hyper_parameters": {online.model: changed}})
    config = preset(online.model, training, settings.dataset)
    if not isinstance(config, FitPreset):
        raise TypeError(f"the preset of the net {online.model} is a {type(config).__name__}")
    return config


@dataclass(frozen=True)
class Study:
    """What every frame of a study shares."""

    tables: DatasetTables
    settings: Settings

    @cached_property
    def offline(self) -> dict[bool, LoadedNet]:
        """The nets of the cutoff, by whether they have a trend; trained when first asked for."""
        return self._fit(self.tables.cutoff, None)

    def online(self, frame: Frame) -> dict[bool, LoadedNet]:
        """The nets retrained before a frame."""
        microseconds = round(self.settings.studies.online.window_days * 86_400_000_000)
        return self._fit(frame.starts_at, frame.starts_at - np.timedelta64(microseconds, "us"))

    def floor(self, name: str) -> Recommender:
        """A count, as configured."""
        config: Any = preset(name, self.settings.training, self.settings.dataset)
        return CountingRecommender(config, self.settings.evaluation.smoothing, self.tables.cutoff)

    def _fit(self, until: np.datetime64, since: np.datetime64 | None) -> dict[bool, LoadedNet]:
        return {
            trend: retrain(net_config(self.settings, trend=trend), self.tables, until, self.settings, since)
            for trend in (True, False)
        }


@dataclass(frozen=True)
class FrameResult:
    """One frame's ranks.

    Attributes:
        rows: a row per contender and case; no rows where the frame has no case.
        seconds: ``training`` of the two online nets, ``ranking`` of all.
    """

    frame: Frame
    rows: pd.DataFrame
    seconds: dict[str, float] = field(default_factory=dict)


def run_frame(study: Study, frame: Frame, case_set: CaseSet | None) -> FrameResult:
    """Retrain before a frame and rank its cases by everyone."""
    if case_set is None:
        return FrameResult(frame, _no_rows())
    offline, started = study.offline, time.perf_counter()
    nets = {"offline": offline, "online": study.online(frame)}
    trained = time.perf_counter()
    lineup = [(each.name, nets[each.trained][each.trend].over(study.tables), each.items) for each in CONTENDERS]
    floors = [(name, study.floor(name), ItemEmbeddings.REFRESHED) for name in FLOORS]
    runs = [_rank(study, frame, case_set, *each) for each in (*lineup, *floors)]
    seconds = {"training": trained - started, "ranking": time.perf_counter() - trained}
    return FrameResult(frame, pd.concat(runs, ignore_index=True), seconds)


def _rank(
    study: Study, frame: Frame, case_set: CaseSet, name: str, model: Recommender, items: ItemEmbeddings
) -> pd.DataFrame:
    tables = study.tables
    ranks = rank_cases(
        model,
        fallback(tables, study.settings),
        case_set.cases,
        tables.stream,
        tables.catalog,
        Protocol(item_embeddings=items),
        tables.cutoff,
    )
    labels = case_set.labels[[Columns.USER, Columns.ITEM, Columns.SOURCE_ROW]]
    columns: dict[str, Any] = {FRAME: np.int64(frame.number), CONTENDER: name}
    return labels.assign(**columns, **{column: getattr(ranks, column) for column in RANKED})


def _no_rows() -> pd.DataFrame:
    kinds = {
        Columns.USER: str,
        Columns.ITEM: str,
        Columns.SOURCE_ROW: np.int64,
        FRAME: np.int64,
        CONTENDER: str,
        "has_history": np.bool_,
        "above": np.int64,
        "tied": np.int64,
        "nll": np.float64,
    }
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})
