"""What every step of the graph reads beside its inputs, what it writes, and which settings it cannot be shaped by.

One page, so that :mod:`orchestration.unchanged` can tell whether a step would do again what it did. Whatever is not
named here counts: a new setting, say, makes every step run again until somebody writes down that it is without effect.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from assets import keys
from assets.config import ConfigError, Settings
from assets.evaluation import files
from assets.ingestion.encoders import SentenceEncoder
from assets.ingestion.ingest import REPORT
from assets.ingestion.registry import text_options
from assets.ingestion.validate import Reason
from assets.monitoring.places import summary_path
from assets.monitoring.tables import drift_path, verdicts_path
from assets.quality.results import EXPORTED, LEAKAGE, RAW, page_path, result_path
from assets.serving.engines import is_there
from assets.serving.live.generation import GenerationError, current
from assets.training.registry import MODELS
from assets.training.seeds import seeds_of
from assets.transforms.engines import ENGINES
from orchestration.surroundings import accelerator, addresses

FLOOR: Final = "decayed_popularity"
"""Ranks for users without history, so its hyper-parameters count for every model's ranks."""

WORKSPACE: Final = "evidently"
"""Folder of Evidently's workspace; the module that names it imports Evidently, which takes 4 s."""

Places = Callable[[Settings], list[Path]]
Dump = dict[str, Any]

NOWHERE: Final = (
    *("home", "service", "notifier", "dashboard", "studies", "sampled", "bulk"),
    *("state", "steps", "objects"),
)
"""Settings of what no step of ``thaw run`` is."""

LIVE_ONLY: Final = ("quality", "retraining")
"""Settings of what follows landed engagements."""

SOURCE: Final = ("data_dir", "datasets", "limits")
"""Settings that ingestion alone reads: what they lead to is in the raw tables."""

TO_RANKS: Final = ("evaluation.ks", "evaluation.bootstrap_samples", "evaluation.min_cases")
"""Settings of what is computed from ranks."""

BEFORE_TABLES: Final = (*SOURCE, "transforms")
"""And of what the tables are made with: they are the same under each engine."""

SERVERS: Final[Mapping[tuple[str, str, str], tuple[str, ...]]] = {
    ("store", "kind", "redis"): ("THAW_REDIS_URL",),
    ("index", "kind", "milvus"): ("THAW_MILVUS_URI",),
    ("transforms", "engine", "spark_thrift"): ("THAW_SPARK_HOST", "THAW_SPARK_PORT", "THAW_SPARK_SCHEMA"),
}
"""Section, key and value of the settings that lead to a server -> variables that say to which."""

AFTER_TABLES: Final = ("models", "evaluation", "training", "index", "store", "drift", *LIVE_ONLY)


@dataclass(frozen=True)
class Station:
    """One step: its assets are made together.

    Attributes:
        writes: files and folders; something else in them than at the end of its last run makes it run again.
        reads: files and folders that are no output of a step before it.
        without_effect: settings, dotted, that it does not read; ``grids`` are those of studies.
        through: settings, dotted, that count by what is computed from them alone.
        models: whose hyper-parameters count; None for all.
        sources: what it runs that is no Python, relative to the project.
        daily: whether it looks at the clock: a day later it runs again.
        unsettled: whether what it wrote may not be all, or another thing an hour later; then it runs.
    """

    writes: Places
    reads: Places = lambda _: []
    without_effect: tuple[str, ...] = ()
    through: Mapping[str, Callable[[Settings], Any]] = field(default_factory=dict)
    models: tuple[str, ...] | None = None
    sources: tuple[str, ...] = ()
    daily: bool = False
    unsettled: Callable[[Settings], bool] = lambda _: False

    def shaping(self, settings: Settings) -> Dump:
        """The settings that may shape its outputs, as JSON values, with the servers and the device they lead to."""
        held: Dump = settings.model_dump(mode="json")
        for (section, key, value), variables in SERVERS.items():
            if held[section][key] == value:
                held[section]["server"] = addresses(variables)
        if held["training"]["device"] == "auto":
            held["training"]["device"] = f"auto: {accelerator()}"
        held["datasets"] = held["datasets"].get(settings.dataset, {})
        training = held["training"]
        training.pop("grids", None)
        if self.models is not None:
            own = training["hyper_parameters"]
            training["hyper_parameters"] = {name: own[name] for name in self.models if name in own}
        for name in (*NOWHERE, *self.without_effect):
            _drop(held, name.split("."))
        held["through"] = {name: compute(settings) for name, compute in self.through.items()}
        return held


def _drop(held: Any, path: list[str]) -> None:
    for part in path[:-1]:
        held = held.get(part, {})
    held.pop(path[-1], None)


def _source(settings: Settings) -> list[Path]:
    """Where a dataset's files may lie, what makes vectors of its texts, and what landed or was removed since."""
    storage = settings.storage
    own = [settings.data_dir / settings.dataset] if settings.data_dir else []
    return [*own, *_encoder(settings), storage.base / "source", storage.live / "landed", storage.live / "removed.json"]


def _encoder(settings: Settings) -> list[Path]:
    """The folder of the model that encodes texts, where the settings or the mapping name one."""
    try:
        text = text_options(settings)
    except ConfigError:  # ingestion says what is wrong
        return []
    encoder = None if text is None else text.encoder
    return [Path(encoder.model)] if isinstance(encoder, SentenceEncoder) and Path(encoder.model).is_dir() else []


def _has_rows_of_the_future(settings: Settings) -> bool:
    """Whether rows were set aside because their time had not come: it may have by now."""
    try:
        report = json.loads((settings.storage.raw / REPORT).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return True
    return any(counts.get(Reason.FUTURE_TIMESTAMP, 0) for counts in report["quarantined"].values())


def _serving(settings: Settings) -> list[Path]:
    live = settings.storage.live
    kept = ("generations", "current.json", "landed", "removed.json")
    return [*(live / name for name in kept), settings.storage.champion / "record.jsonl"]


def _servers_lack_it(settings: Settings) -> bool:
    """Whether a server that holds what serves is out of reach, or has nothing of it: it may have been emptied."""
    try:
        generation = current(settings.storage)
        return generation is not None and not is_there(generation.engines, generation.store)
    except (GenerationError, OSError, ValueError):  # what cannot be read is in doubt
        return True


def _shown(settings: Settings) -> list[Path]:
    """What pages show and no step of ``thaw run`` writes."""
    storage = settings.storage
    measured = [storage.live / name for name in ("freshness.parquet", "ats.parquet")]
    return [*measured, storage.champion, *_drift_tables(settings), storage.quality]


def _drift_tables(settings: Settings) -> list[Path]:
    """Tables that windows and landed partitions share."""
    return [drift_path(settings.storage), verdicts_path(settings.storage)]


def _lacks_drift_tables(settings: Settings) -> bool:
    return not all(path.exists() for path in _drift_tables(settings))


def _site(settings: Settings) -> list[Path]:
    folder = settings.storage.dashboards
    pages = sorted(path for path in folder.glob("*") if path.is_file())
    return pages or [folder / "index.html"]


def _train(model: str) -> Station:
    return Station(
        writes=lambda settings: [settings.storage.checkpoint(model, seed) for seed in seeds_of(model, settings)],
        without_effect=(
            *("models", "index", "store", "freshness", "drift", *LIVE_ONLY, *BEFORE_TABLES, *TO_RANKS),
            *("evaluation.protocols", "evaluation.max_cases"),
        ),
        models=(model,),
    )


def _list_length(settings: Settings) -> int:
    """Of the recommended list that ranks hold."""
    from assets.evaluation.run import headline_k  # noqa: PLC0415 - imports torch

    return headline_k(settings)


def _rank(model: str) -> Station:
    return Station(
        writes=lambda settings: [files.ranks_path(settings.storage, model)],
        through={"evaluation.ks": _list_length},
        without_effect=("models", "index", "store", "freshness", "drift", *LIVE_ONLY, *BEFORE_TABLES, *TO_RANKS),
        models=(model, FLOOR),
    )


def _judge(*paths: Callable[[Any], Path]) -> Station:
    return Station(
        writes=lambda settings: [path(settings.storage) for path in paths],
        without_effect=("index", "store", "freshness", "drift", *LIVE_ONLY, *BEFORE_TABLES),
    )


def _built(settings: Settings) -> list[Path]:
    """The warehouse of the configured engine, and the record beside it."""
    engine = ENGINES[settings.transforms.engine]
    return [engine.place(settings.storage), engine.stamp_path(settings.storage)]


RAW_STATION: Final = Station(
    writes=lambda s: [s.storage.raw, *(result_path(s.storage, name) for name in RAW)],
    reads=_source,
    unsettled=_has_rows_of_the_future,
    without_effect=(
        *AFTER_TABLES,
        "transforms",
    ),  # engagement is read by a check that shares its code with those of the raw tables
)
BUILD: Final = Station(
    writes=_built,
    without_effect=(*AFTER_TABLES, "freshness", *SOURCE),
    sources=tuple(f"transforms/{name}" for name in ("models", "macros", "tests", "dbt_project.yml", "profiles.yml")),
)
EXPORT: Final = Station(
    writes=lambda s: [s.storage.tables, *(result_path(s.storage, name) for name in (*EXPORTED, LEAKAGE))],
    without_effect=(*AFTER_TABLES, "freshness", *SOURCE),
)

STATIONS: Final[Mapping[str, Station]] = {
    "/".join(key): station
    for key, station in (
        *((key, RAW_STATION) for key in (keys.RAW_INTERACTIONS, keys.RAW_ITEMS, keys.RAW_USERS)),
        (keys.TABLES, EXPORT),
        (
            keys.DATA_DOCS,
            Station(
                writes=lambda s: [page_path(s.storage)],
                reads=lambda s: [s.storage.quality / "results"],
                without_effect=(*AFTER_TABLES, "freshness", *BEFORE_TABLES),
            ),
        ),
        *((keys.checkpoint(model), _train(model)) for model in MODELS),
        *((keys.ranks(model), _rank(model)) for model in MODELS),
        (keys.METRICS, _judge(lambda storage: storage.metrics, files.seed_means_path)),
        (keys.LEADERBOARD, _judge(files.leaderboard_path, files.leaderboard_text_path)),
        (
            keys.DECAY,
            _judge(files.decay_path, files.relative_decay_path, files.decay_table_path, files.decay_text_path),
        ),
        (keys.COMPARISONS, _judge(files.comparisons_path, files.comparisons_text_path)),
        (
            keys.ITEM_INDEX,
            Station(
                writes=_serving,
                unsettled=_servers_lack_it,
                without_effect=("drift", *LIVE_ONLY, *BEFORE_TABLES, *TO_RANKS),
                daily=True,
            ),
        ),
        (
            keys.ENGAGEMENT_DRIFT,
            Station(
                writes=lambda s: [summary_path(s.storage), *summary_path(s.storage).parent.glob("window-*.html")],
                unsettled=_lacks_drift_tables,
                without_effect=(
                    *("models", "evaluation", "index", "store", "freshness", *LIVE_ONLY, *BEFORE_TABLES),
                    *("training.hyper_parameters", "training.max_epochs", "training.seeds", "training.device"),
                ),
            ),
        ),
        (keys.EVIDENTLY_WORKSPACE, Station(writes=lambda s: [s.storage.dashboards / WORKSPACE], reads=_shown)),
        (keys.DASHBOARD, Station(writes=_site, reads=_shown, daily=True)),
    )
}
"""By the asset's key. dbt's models are not listed one by one: they are :data:`BUILD`."""


def station_of(asset: str) -> Station | None:
    """The station of an asset (``stage/name``); None for one that ``thaw run`` never leaves out."""
    return BUILD if asset.partition("/")[0] in keys.BUILT else STATIONS.get(asset)
