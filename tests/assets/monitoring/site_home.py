"""A dataset's folder with everything that the static site shows, invented: no model is trained for it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from assets.champion.files import contest_path
from assets.champion.quality.files import QUALITY_COLUMNS, alert_path, table_path
from assets.champion.record import RecordEntry, append
from assets.config import Settings
from assets.evaluation.files import Basis, RanksInfo, seed_means_path, write_ranks
from assets.monitoring.tables import Verdict, record
from assets.quality.results import write_result, written_at
from assets.schema import SEED_MEAN_COLUMNS, CaseSlice, Split
from assets.serving.live.ats import HOPS, TOTALS
from assets.serving.live.freshness import report_path as freshness_path
from assets.storage import Storage, write_json, write_parquet, write_text
from dashboards.data_docs import ExpectationResult

START = pd.Timestamp("2024-01-01")
CUTOFF = pd.Timestamp("2024-02-01")
WINDOWS = 5
MODELS = ("popularity", "decayed_popularity", "sasrec", "ihm_sasrec")
SLICES = (CaseSlice.OVERALL, CaseSlice.HEAD, CaseSlice.TAIL, CaseSlice.COLD)
CHECKPOINTS = ("aaaaaaaaaaaa", "bbbbbbbbbbbb")
DAY = 86_400_000_000
BOARD = """### invented: full ranking

| model | HR@10 overall | NDCG@10 overall |
|---|---|---|
| ihm_sasrec | **0.221 [0.213, 0.230]** | **0.135** |
| decayed_popularity (floor) | 0.213 [0.205, 0.222] | 0.131 |

- Ties are averaged.
"""


def settings_of(root: Path) -> Settings:
    return Settings(dataset="invented", home=root, evaluation={"bootstrap_samples": 20})


def write_home(root: Path, partitions: int = 40) -> Storage:
    """Everything, with ``partitions`` landed days."""
    storage = settings_of(root).storage
    write_tables(storage)
    write_evaluation(storage)
    write_checks(storage)
    write_champion(storage, partitions)
    write_drift(storage, partitions)
    write_freshness(storage, partitions)
    return storage


def write_tables(storage: Storage) -> None:
    """40 items, every second of which came after the cutoff; 400 cases of 30 users on 30 days."""
    draw = np.random.default_rng(0)
    available = [START if place % 2 else CUTOFF + pd.Timedelta(place / 2, "D") for place in range(40)]
    items = pd.DataFrame({"item_id": [f"i{place}" for place in range(40)], "available_at": available})
    at = CUTOFF + pd.to_timedelta(np.sort(draw.uniform(20, 50, 400)), "D")
    cases = pd.DataFrame({"source_row": np.arange(400), "timestamp": at.astype("datetime64[us]")})
    starts = [START, *(CUTOFF + pd.Timedelta(10 * window, "D") for window in range(WINDOWS))]
    bounds = pd.DataFrame(
        {
            "split": [Split.TRAIN.value, *[Split.TEST.value] * WINDOWS],
            "window": pd.array([None, *range(WINDOWS)], dtype="Int32"),
            "starts_at": starts,
        }
    )
    for name, table in (("items", items), ("test_cases", cases), ("split_bounds", bounds)):
        write_parquet(storage.table(name), table)
    for place, model in enumerate(MODELS):
        columns = {
            "dataset": "invented",
            "model": model,
            "seed": 0,
            "protocol": "full",
            "user_history": "rolling",
            "item_embeddings": "refreshed",
            "user_id": [f"u{user}" for user in draw.integers(0, 30, 400)],
            "item_id": [f"i{item}" for item in draw.integers(0, 40, 400)],
            "source_row": np.arange(400),
            "above": draw.integers(0, 40 - 5 * place, 400),
            "tied": 0,
        }
        lists = {f"listed_{rank}": draw.integers(0, 40, 400) for rank in range(10)}
        basis = Basis((0,), ("digest",), "tables", ("rolling/refreshed",), 5000, "{}")
        write_ranks(storage, pd.DataFrame({**columns, **lists}), RanksInfo(model, basis, 400, 0, 0, 400))


def write_evaluation(storage: Storage) -> None:
    rows = [
        ("invented", model, 1, "full", "rolling", "refreshed", window, part.value, metric, 10, value, value - 0.02)
        for place, model in enumerate(MODELS)
        for number, window in enumerate([*map(str, range(WINDOWS)), "all"])
        for slice_place, part in enumerate(SLICES)
        for metric in ("hr", "ndcg")
        for value in [0.3 + 0.05 * place - 0.03 * number - 0.02 * slice_place]
    ]
    frame = pd.DataFrame(rows, columns=list(SEED_MEAN_COLUMNS[:12]))
    frame = frame.assign(ci_high=frame["value"] + 0.02, n=100, standard_error=0.0)
    write_parquet(seed_means_path(storage), frame[list(SEED_MEAN_COLUMNS)])
    write_text(storage.evaluation / "leaderboard.md", BOARD)


def expectation(success: bool, severity: str = "error") -> ExpectationResult:
    return {
        "name": "rule",
        "about": "a rule",
        "column": "item_id",
        "success": success,
        "severity": severity,
        "checked": 40,
        "unexpected": 0 if success else 3,
        "observed": "",
        "failing": None,
        "error": "",
    }


def write_checks(storage: Storage, *expectations: ExpectationResult) -> None:
    """Results of two tables, one of which has ``expectations``, or one that is met."""
    for name, held in (("items", list(expectations) or [expectation(True)]), ("test_cases", [expectation(True)])):
        write_result(
            storage,
            {
                "name": name,
                "success": all(one["success"] for one in held),
                "rows": 40,
                "started_at": "2024-03-01T00:00:00Z",
                "seconds": 0.1,
                "written_at": written_at(storage, name),
                "expectations": held,
            },
        )
    write_text(storage.quality / "index.html", "<!doctype html><title>Data quality of invented</title>")


def write_champion(storage: Storage, partitions: int) -> None:
    """Two champions, the second from the middle on; a contest won, a record, an alert that is over."""
    days = [CUTOFF + pd.Timedelta(day, "D") for day in range(partitions)]
    rows = [
        (
            checkpoint,
            model,
            contender,
            f"{day:%Y-%m-%d}",
            day,
            day + pd.Timedelta(1, "D"),
            part.value,
            metric,
            10,
            value,
        )
        for number, day in enumerate(days)
        for checkpoint in [CHECKPOINTS[number >= partitions // 2]]
        for contender, model in (("champion", "ihm_sasrec"), ("floor", "decayed_popularity"))
        for part in SLICES
        for metric in ("hr", "ndcg")
        for value in [(0.3 - 0.004 * (number % max(1, partitions // 2))) if contender == "champion" else 0.2]
    ]
    frame = pd.DataFrame(rows, columns=list(QUALITY_COLUMNS[:10]))
    frame = frame.assign(ci_low=frame["value"] - 0.03, ci_high=frame["value"] + 0.03, n=200, cases=210, ranked=200)
    write_parquet(table_path(storage, "quality"), frame)
    middle = int(days[partitions // 2].value // 1000)
    first = {"at": middle - 20 * DAY, "event_at": int(CUTOFF.value // 1000), "generation": "g1", "previous": None}
    append(storage, RecordEntry(kind="first", model="ihm_sasrec", **first))
    won = {"at": middle, "event_at": middle, "generation": "g2", "previous": "g1", "contest": "c1"}
    append(storage, RecordEntry(kind="won", model="ihm_sasrec", evidence={"difference": 0.02}, **won))
    metrics = [
        {"contender": name, "slice": "overall", "metric": "ndcg", "k": 10, "value": value, "n": 900}
        | {"ci_low": value - 0.01, "ci_high": value + 0.01}
        for name, value in (("champion", 0.11), ("challenger", 0.13), ("floor", 0.1))
    ]
    contest = {
        "name": "c1",
        "at": middle,
        "window": {"starts_at": middle - 14 * DAY, "ends_at": middle},
        "cases": 900,
        "champion": {"model": "ihm_sasrec", "checkpoint": CHECKPOINTS[0], "validation": {"ndcg@10": 0.2}},
        "challenger": {"model": "ihm_sasrec", "checkpoint": CHECKPOINTS[1], "validation": {"ndcg@10": 0.21}},
        "metrics": metrics,
        "difference": {"value": 0.02, "ci_low": 0.01, "ci_high": 0.03},
        "verdict": "promoted",
        "reason": "the interval of the difference lies above 0",
    }
    write_json(contest_path(storage, "c1"), contest)
    write_json(alert_path(storage), alert())


def alert(**changes: object) -> dict[str, object]:
    side = {"starts_at": int(CUTOFF.value // 1000), "ends_at": int(CUTOFF.value // 1000) + DAY, "cases": 900}
    return {
        "at": int(CUTOFF.value // 1000),
        "alerted": False,
        "reason": "NDCG@10 of the latest days is 0.98 of the reference",
        "checkpoint": CHECKPOINTS[1],
        "reference": {**side, "value": 0.15},
        "recent": {**side, "value": 0.147},
        "ratio": 0.98,
        "ci_low": 0.9,
        "ci_high": 1.05,
        "tolerance": 0.1,
        "against_floor": {"reference": 0.03, "recent": 0.02},
        **changes,
    }


def write_drift(storage: Storage, partitions: int) -> None:
    """Landed days; every tenth drifted, the newest among them, and that one's report kept."""
    verdicts = [_verdict(number, number % 10 == (partitions - 1) % 10) for number in range(partitions)]
    record(storage, verdicts)
    write_text(storage.dashboards / "drift" / f"partition-{verdicts[-1].name}.html", "<!doctype html><title>x</title>")


def _verdict(number: int, alarm: bool) -> Verdict:
    day = CUTOFF + pd.Timedelta(number, "D")
    scores = [("item popularity", 0.3 if alarm else 0.02), ("hour", 0.05)]
    table = pd.DataFrame(scores, columns=["column", "score"]).assign(method="Jensen-Shannon distance", threshold=0.1)
    shares = {"unknown_user_share": 0.1, "cold_share": 0.2, "tail_share": 0.3, "events_per_hour": 20.0}
    return Verdict(
        kind="partition",
        name=f"{day:%Y-%m-%d}",
        starts_at=day,
        ends_at=day + pd.Timedelta(1, "D"),
        rows=480,
        reference_rows=1000,
        alarm=alarm,
        reason="item popularity 0.30 over 0.10" if alarm else "",
        judged=True,
        volumes={"engagements": 480.0, "users": 100.0, "items": 30.0, **shares},
        scores=table.assign(drifted=table["score"] >= 0.1),
    )


def write_freshness(storage: Storage, partitions: int, p95: float = 12.0, waiting: float = 0.0) -> None:
    names = [f"{CUTOFF + pd.Timedelta(day, 'D'):%Y-%m-%d}" for day in range(partitions)]
    rows = [
        {"group": group, "hop": hop, "engagements": 480.0, "waiting": waiting, "mean": 2.0, "p50": 2.0}
        | {"p95": p95, "p99": 20.0}
        for group in (*names, "all")
        for hop in (*TOTALS, *HOPS)
    ]
    write_parquet(freshness_path(storage), pd.DataFrame(rows))


def state_of(page: Path, topic: str) -> str:
    """A topic's state on the front page."""
    text = page.read_text(encoding="utf-8")
    return text.split(f'data-topic="{topic}" data-state="')[1].split('"')[0]


def figure_json(page: Path) -> list[dict[str, object]]:
    """Every panel on a page, as Plotly reads it."""
    parts = page.read_text(encoding="utf-8").split('<script type="application/json">')[1:]
    return [json.loads(part.split("</script>")[0]) for part in parts]
