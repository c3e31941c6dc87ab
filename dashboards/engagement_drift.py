"""Engagement drift: one window's engagements against those of train time, as an Evidently report and as scores.

Importing this module takes seconds (Evidently): glue imports it inside its functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.core.report import Snapshot
from evidently.presets import DataDriftPreset, DataSummaryPreset

from dashboards.drift_features import CATEGORICAL, NUMERICAL
from dashboards.drift_page import DriftSubject, with_summary
from dashboards.inert import inert_sides

NUMERICAL_METHOD: Final = "wasserstein"
"""Wasserstein distance in standard deviations of the reference."""
CATEGORICAL_METHOD: Final = "jensenshannon"
"""Jensen-Shannon distance by natural logarithms: 0 for equal shares, 0.83 where no value occurs on both sides."""
THRESHOLD: Final = 0.1
"""A column whose distance is at least this has drifted. Evidently would choose its method by the number of rows;
ours is fixed, so that scores of windows of different sizes compare."""

SCORE_COLUMNS: Final = ("column", "method", "threshold", "score", "drifted")


@dataclass(frozen=True)
class DriftReport:
    """A report's page, and its scores, one row per column (:data:`SCORE_COLUMNS`)."""

    html: str
    scores: pd.DataFrame


def compared_columns(reference: pd.DataFrame, current: pd.DataFrame) -> list[str]:
    """Columns with at least one value on both sides; nothing can be said about the others."""
    both = reference.notna().any() & current.notna().any()
    return [column for column in (*NUMERICAL, *CATEGORICAL) if both.get(column, False)]


def build_report(reference: pd.DataFrame, current: pd.DataFrame) -> Snapshot:
    """Evidently's data drift and summary of two frames of engagement features.

    Raises:
        ValueError: when a side has no rows, or no column has values on both sides.
    """
    columns = compared_columns(reference, current)
    if not columns:
        raise ValueError(f"nothing to compare: {len(reference)} reference rows, {len(current)} current rows")
    drift = DataDriftPreset(
        num_method=NUMERICAL_METHOD, cat_method=CATEGORICAL_METHOD, num_threshold=THRESHOLD, cat_threshold=THRESHOLD
    )
    numerical, categorical = ([name for name in columns if name in kind] for kind in (NUMERICAL, CATEGORICAL))
    return compare(reference[columns], current[columns], numerical, categorical, drift)


def compare(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    numerical: Sequence[str],
    categorical: Sequence[str],
    drift: DataDriftPreset,
) -> Snapshot:
    """Evidently's ``drift`` and summary of two frames with the same columns.

    Every frame that Evidently writes a page of comes through here: names in it cannot become part of the page's code.
    """
    reference, current = inert_sides(reference, current)
    definition = DataDefinition(numerical_columns=list(numerical), categorical_columns=list(categorical))
    sides = [Dataset.from_pandas(frame, data_definition=definition) for frame in (current, reference)]
    with np.errstate(invalid="ignore", divide="ignore"):  # correlations of a constant column
        return Report([drift, DataSummaryPreset()]).run(*sides)


def drift_scores(snapshot: Snapshot) -> pd.DataFrame:
    """Scores of a report, one row per column, the strongest drift first."""
    rows = [_score(metric) for metric in snapshot.dict()["metrics"] if "ValueDrift" in metric["config"]["type"]]
    scores = pd.DataFrame(rows, columns=list(SCORE_COLUMNS))
    return scores.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def _score(metric: dict[str, Any]) -> tuple[str, str, float, float, bool]:
    config, score = metric["config"], float(metric["value"])
    return config["column"], config["method"], THRESHOLD, score, score >= THRESHOLD


def drift_report(reference: pd.DataFrame, current: pd.DataFrame, subject: DriftSubject) -> DriftReport:
    """Compare two samples; the page opens with what was compared and how much it drifted.

    Raises:
        ValueError: as :func:`build_report`.
    """
    snapshot = build_report(reference, current)
    scores = drift_scores(snapshot)
    return DriftReport(with_summary(snapshot.get_html_str(as_iframe=False), subject, scores), scores)
