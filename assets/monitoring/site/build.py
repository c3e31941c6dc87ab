"""The static site of a dataset: every page from what its folder holds, written beside one plotting bundle."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from os.path import relpath
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from assets.champion.quality.files import alert_path, table_path
from assets.config import Settings
from assets.evaluation.files import (
    comparisons_text_path,
    decay_path,
    decay_text_path,
    leaderboard_path,
    relative_decay_path,
)
from assets.monitoring.places import front_path
from assets.monitoring.site import cold, sources
from assets.monitoring.site.sources import Reader
from assets.quality.results import page_path, read_results
from assets.schema import Columns
from assets.serving.live import freshness
from assets.storage import Storage, read_parquet, write_bytes, write_text
from assets.training.registry import MODELS
from dashboards import site_board, site_champion, site_cold, site_decay, site_drift, site_freshness, site_quality
from dashboards import site_status as status
from dashboards.pages import BUNDLE, build_page, plotly_bundle
from dashboards.site_front import front_page
from dashboards.site_parts import Link, Page, Section, State, Topic

FILES = (
    (page_path, "Data quality", "every expectation on every table, and the rows that fail"),
    (leaderboard_path, "Leaderboard as markdown", "to paste elsewhere"),
    (comparisons_text_path, "Comparisons as markdown", "every model against every other on the same cases, per slice"),
    (decay_path, "Decay figure", "metric per window and model"),
    (relative_decay_path, "Relative decay figure", "each window over the first, per slice and model"),
    (decay_text_path, "Decay as markdown", "both figures' numbers, with intervals"),
)
"""Files of the dataset's folder that pages link where they exist: where it lies, title, what it holds."""
OF_DECAY = (decay_path, relative_decay_path, decay_text_path)
OF_BOARD = (leaderboard_path, comparisons_text_path)

TOPICS = {
    status.QUALITY: site_quality.FILE,
    status.DRIFT: site_drift.FILE,
    status.DECAY: site_champion.FILE,
    status.CHAMPION: site_champion.FILE,
    status.FRESHNESS: site_freshness.FILE,
    status.RECALL: site_freshness.FILE,
}
"""Topics of the front page in order, with the page that says more."""
UNREADABLE = "What this is about could not be read; the front page names the file."


@dataclass(frozen=True)
class Site:
    """What was written: the front page, every page's file, the topics, and what could not be read."""

    front: Path
    pages: list[Path]
    topics: list[Topic]
    problems: list[str]


def write_site(storage: Storage, settings: Settings, now: datetime) -> Site:
    """Write every page and, where it is missing or another version's, the bundle; ``now`` in UTC."""
    reader = Reader()
    builder = _Builder(storage, settings, reader)
    pages = list(builder.pages())
    topics = builder.in_order()
    front = front_page(topics, _links(storage, [place for place, _, _ in FILES]), reader.problems)
    navigation = [(page.file, page.name) for page in (front, *pages)]
    written_at = now.strftime("%Y-%m-%d %H:%M")
    folder = front_path(storage).parent
    _write_bundle(folder / BUNDLE)
    # The front page last: what it links is there when it is.
    paths = [
        write_text(folder / page.file, build_page(page, navigation, storage.dataset, written_at))
        for page in (*pages, front)
    ]
    return Site(front_path(storage), paths, topics, reader.problems)


class _Builder:
    """Reads and builds page by page; collects the topics of the front page on the way."""

    def __init__(self, storage: Storage, settings: Settings, reader: Reader) -> None:
        self.storage, self.settings, self.reader = storage, settings, reader
        self.topics: list[Topic] = []
        self.serving = reader.attempt("what serves", lambda: sources.read_serving(storage))
        self.alert = reader.attempt("decay alert", lambda: sources.read_json(alert_path(storage)))
        self.record = reader.attempt("champion's record", lambda: sources.read_record_events(storage)) or []

    def pages(self) -> Iterator[Page]:
        """Every page but the front one, in the order of the navigation; one that cannot be built says so."""
        builders: dict[str, tuple[str, Callable[[], Page]]] = {
            site_decay.FILE: ("Decay", self._decay),
            site_board.FILE: ("Leaderboard", self._leaderboard),
            site_cold.FILE: ("Cold start", self._cold),
            site_freshness.FILE: ("Freshness", self._freshness),
            site_drift.FILE: ("Drift", self._drift),
            site_champion.FILE: ("Champion", self._champion),
            site_quality.FILE: ("Data quality", self._quality),
        }
        for file, (name, build) in builders.items():
            yield self.reader.attempt(f"page {name}", build) or Page(file, name, UNREADABLE)

    def in_order(self) -> list[Topic]:
        """A topic of each kind; one whose files could not be read is not known."""
        found = {topic.name: topic for topic in self.topics}
        return [found.get(name, Topic(name, State.UNKNOWN, UNREADABLE, file)) for name, file in TOPICS.items()]

    def _decay(self) -> Page:
        storage, attempt = self.storage, self.reader.attempt
        return site_decay.decay_page(
            attempt("metrics", lambda: sources.read_metrics(storage, self.settings.evaluation.headline)),
            attempt("split bounds", lambda: sources.read_window_starts(storage)) or {},
            _floors(),
            attempt("quality over time", lambda: read_parquet(table_path(storage, "quality"))),
            [
                (np.datetime64(int(event["event_at"]), "us"), event["kind"])
                for event in self.record
                if event["kind"] != "lost" and event.get("event_at") is not None
            ],
            _links(storage, OF_DECAY),
        )

    def _leaderboard(self) -> Page:
        path = leaderboard_path(self.storage)
        text = self.reader.attempt("leaderboard", lambda: path.read_text(encoding="utf-8"))
        return site_board.leaderboard_page(site_board.read_board(text or ""), _links(self.storage, OF_BOARD))

    def _cold(self) -> Page:
        measured = self.reader.attempt("items by age", lambda: measure_cold(self.storage, self.settings, self.reader))
        ages, first, curve = measured or (None, None, None)
        notes = (
            "Ranks of the evaluation's headline protocol, first seed; available items ranked in full; top 10.",
            f"Of more than {sources.MOST_CASES:,} cases, about so many, evenly spread over time.",
            "Time to the first hit: items available since the cutoff that somebody engaged with; Kaplan and Meier's"
            " estimate, since items that came late were followed for less long.",
        )
        return site_cold.cold_page(ages, first, curve, _floors(), notes)

    def _freshness(self) -> Page:
        report = self.reader.attempt("freshness report", lambda: freshness.read_report(self.storage))
        bound, minimum = self.settings.freshness.ats_p95_seconds, self.settings.index.minimum_recall
        snapshot = self.serving.snapshot if self.serving else {}
        self.topics += [
            status.freshness_topic(report, bound),
            status.recall_topic(snapshot.get("recall"), minimum),
        ]
        recall: Section | None = site_freshness.recall_section(snapshot, minimum) if snapshot else None
        return site_freshness.freshness_page(report, bound, recall)

    def _drift(self) -> Page:
        drift = self.reader.attempt("drift scores", lambda: sources.read_drift(self.storage))
        scores, verdicts = drift or (None, None)
        self.topics.append(status.drift_topic(verdicts))
        return site_drift.drift_page(scores, verdicts, self._report_href)

    def _champion(self) -> Page:
        account: dict[str, Any] | None = self.serving.account if self.serving else None
        alerted = bool(self.alert and self.alert["alerted"])
        self.topics += [
            status.decay_topic(self.alert, account["checkpoint"] if account else None),
            status.champion_topic(self.record, account, alerted),
        ]
        contest = self.reader.attempt("latest contest", lambda: sources.read_latest_contest(self.storage))
        return site_champion.champion_page(account, self.record, contest, self.alert)

    def _quality(self) -> Page:
        results = self.reader.attempt("validation results", lambda: read_results(self.storage))
        tables, missing, stale = (results.tables, results.missing, results.stale) if results else ([], [], [])
        self.topics.append(status.quality_topic(tables, missing, stale))
        docs = page_path(self.storage)
        href = _href(self.storage, docs) if docs.exists() else None
        return site_quality.quality_page(tables, missing, stale, href)

    def _report_href(self, kind: str, name: str) -> str:
        path = front_path(self.storage).parent / "drift" / f"{kind}-{name}.html"
        return _href(self.storage, path) if path.exists() else ""


def measure_cold(
    storage: Storage, settings: Settings, reader: Reader
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame] | None:
    """Items by age, first hits and their curve, of every model that was ranked; None where none was."""
    models = [path.stem for path in sorted((storage.evaluation / "ranks").glob("*.parquet"))]
    if not models:
        return None
    available = storage.read_table("items", [Columns.AVAILABLE_AT])[Columns.AVAILABLE_AT].to_numpy("datetime64[us]")
    cutoff = min(np.datetime64(start, "us") for start in sources.read_window_starts(storage).values())
    samples, seed = settings.evaluation.bootstrap_samples, settings.training.seed
    ages: list[pd.DataFrame] = []
    hits: dict[str, cold.FirstHits] = {}
    for model in models:
        ranked = reader.attempt(f"ranks of {model}", lambda name=model: sources.read_ranked(storage, name))  # type: ignore[misc]
        if ranked is None or not len(ranked.instants):
            continue
        ages += [cold.by_age(ranked, available, samples, seed), *([] if ages else [cold.engaged(ranked, available)])]
        hits[model] = cold.first_hits(ranked, available, cutoff)
    if not ages:
        return None
    return pd.concat(ages, ignore_index=True), cold.first_table(hits), cold.found_curve(hits)


def _floors() -> frozenset[str]:
    return frozenset(name for name, entry in MODELS.items() if entry.kind == "counting")


def _links(storage: Storage, places: Any) -> list[Link]:
    """Links to those of ``places`` that exist."""
    return [
        Link(_href(storage, place(storage)), title, about)
        for place, title, about in FILES
        if place in places and place(storage).exists()
    ]


def _href(storage: Storage, target: Path) -> str:
    return Path(relpath(target, front_path(storage).parent)).as_posix()


def _write_bundle(path: Path) -> None:
    """Four megabytes: only where they are not there yet."""
    bundle = plotly_bundle()
    if path.exists() and path.stat().st_size == len(bundle) and path.read_bytes() == bundle:
        return
    write_bytes(path, bundle)
