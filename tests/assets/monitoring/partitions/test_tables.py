"""The tables of scores and verdicts: one row set per name, whatever is measured again."""

from pathlib import Path

import pandas as pd
import pytest

from assets.monitoring.drift import write_drift_reports
from assets.monitoring.tables import DRIFT_COLUMNS, VOLUMES, Kind, Verdict, read_drift, read_verdicts, record
from assets.storage import Storage
from tests.assets.quality.toy import toy_settings, write_dataset


def verdict(kind: Kind, name: str, day: int, score: float = 0.2, judged: bool = True) -> Verdict:
    rows = [("value", "wasserstein", score, 0.1, score >= 0.1)] if judged else []
    scores = pd.DataFrame(rows, columns=["column", "method", "score", "threshold", "drifted"])
    at = pd.Timestamp("2024-01-01") + pd.Timedelta(day, "D")
    volumes = dict.fromkeys(VOLUMES, 1.0)
    return Verdict(kind, name, at, at + pd.Timedelta(1, "D"), 60, 99, score >= 0.1, "why", judged, volumes, scores)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path, "toy")


def test_what_is_measured_again_replaces_its_rows_alone(storage: Storage) -> None:
    record(storage, [verdict("partition", "2024-01-02", 1), verdict("partition", "2024-01-01", 0)])
    record(storage, [verdict("window", "2024-01-01", 0)])
    record(storage, [verdict("partition", "2024-01-01", 0, 0.05)])
    found = read_verdicts(storage)
    assert list(zip(found["kind"], found["name"], found["alarm"], strict=True)) == [
        ("partition", "2024-01-01", False),
        ("partition", "2024-01-02", True),
        ("window", "2024-01-01", True),
    ]
    assert [list(names) for names in found["drifted"]] == [[], ["value"], ["value"]]
    drift = read_drift(storage)
    assert tuple(drift.columns) == DRIFT_COLUMNS
    assert drift["score"].tolist() == [0.05, 0.2, 0.2]
    assert drift["starts_at"].dtype == "datetime64[us]"


def test_windows_that_there_no_longer_are_go(storage: Storage) -> None:
    record(storage, [verdict("window", str(at), at) for at in range(3)])
    record(storage, [verdict("partition", "2", 0)])
    record(storage, [verdict("window", "0", 0)], only={"0"})
    assert read_verdicts(storage)[["kind", "name"]].to_numpy().tolist() == [["partition", "2"], ["window", "0"]]
    record(storage, [])
    assert len(read_drift(storage)) == 2


def test_what_was_not_judged_has_a_verdict_and_no_scores(storage: Storage) -> None:
    record(storage, [verdict("partition", "2024-01-01", 0, 0.0, judged=False)])
    assert not read_verdicts(storage)["judged"].any()
    assert read_drift(storage).empty
    record(storage, [verdict("partition", "2024-01-02", 1)])
    assert read_drift(storage)["name"].tolist() == ["2024-01-02"]


def test_windows_are_judged_in_the_same_words(tmp_path: Path) -> None:
    settings = toy_settings(tmp_path)
    storage = write_dataset(settings.home)
    first = next(write_drift_reports(storage, settings)).verdict
    rows = storage.read_table("interactions")
    rows = rows[rows["window"] == 0]
    assert (first.kind, first.name, first.rows) == ("window", "0", 14)
    assert first.volumes["engagements"] == len(rows)
    assert first.volumes["users"] == rows["user_id"].nunique()
    assert "user_in_train" in first.drifted
    assert first.alarm
    assert "user_in_train" in first.reason
