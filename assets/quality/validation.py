"""Run a suite or the leakage rules on frames and put what they found into one shape. Importing takes seconds."""

import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import great_expectations as gx
import pandas as pd
import pyarrow as pa
from great_expectations.core.batch_definition import BatchDefinition
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity

from assets.quality.leakage import RULES, Rule
from assets.quality.results import SAMPLE_ROWS, cell_text, sample, utc_text
from assets.quality.split_tables import SplitTables
from dashboards.data_docs import ExpectationResult, TableResult

REACH = pd.Timestamp.min.ceil("us").as_unit("us"), pd.Timestamp.max.floor("us").as_unit("us")
"""Earliest and latest time that nanoseconds can name."""

ARROW_TEXT = pd.ArrowDtype(pa.string())

ORDER = "order"
"""Key of an expectation's ``meta``: results come back in another order than the suite's."""


@cache
def _batches() -> BatchDefinition:
    """The one in-memory context of this process, and in it the source that frames are validated through."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    return (
        context.data_sources.add_pandas("frames")
        .add_dataframe_asset("frame")
        .add_batch_definition_whole_dataframe("whole")
    )


def validate_frame(
    name: str, frame: pd.DataFrame, expectations: Sequence[Expectation], written_at: str = ""
) -> TableResult:
    """Validate a frame; up to :data:`SAMPLE_ROWS` failing rows per expectation are kept."""
    begun = time.time()
    frame = frame.reset_index(drop=True)
    for order, expectation in enumerate(expectations):
        expectation.meta = {ORDER: order}
    result_format = {"result_format": "SUMMARY", "partial_unexpected_count": SAMPLE_ROWS}
    batch = _batches().get_batch(batch_parameters={"dataframe": looked_at(frame, expectations)})
    suite = gx.ExpectationSuite(name=name, expectations=list(expectations))
    found = batch.validate(suite, result_format=result_format).results
    by_order = {one.expectation_config.meta[ORDER]: one for one in found if one.expectation_config}
    results = [_summarize(expectations[order], by_order[order], frame) for order in range(len(expectations))]
    return _table_result(name, len(frame), begun, written_at, results)


def looked_at(frame: pd.DataFrame, expectations: Sequence[Expectation]) -> pd.DataFrame:
    """The columns that something is expected of, in types that Great Expectations is quick with.

    It hashes every frame twice and compares times of another unit than nanoseconds one by one: eight of ten seconds on
    a million engagements. So texts become categories (:data:`TEXT`), and times nanoseconds; times beyond the reach of
    those become the last within it.
    """
    named = {name for one in expectations for name in _columns(one)}
    kept = frame[[column for column in frame.columns if column in named]]
    return kept.assign(**{str(column): _quick(kept[column]) for column in kept})


def _quick(values: pd.Series) -> pd.Series:
    if values.dtype == "datetime64[us]":
        within = values.where(values.isna() | (values >= REACH[0]), REACH[0])
        return within.where(within.isna() | (within <= REACH[1]), REACH[1]).astype("datetime64[ns]")
    if values.dtype == ARROW_TEXT:
        return pa.chunked_array(pa.array(values)).dictionary_encode().to_pandas().set_axis(values.index)
    return values


def _columns(expectation: Expectation) -> list[str]:
    """Columns that an expectation reads, that of its row condition with them."""
    named = [getattr(expectation, key, None) for key in ("column", "column_A", "column_B")]
    condition = getattr(getattr(expectation, "row_condition", None), "column", None)
    return [
        str(name)
        for name in (*named, *(getattr(expectation, "column_list", None) or ()), getattr(condition, "name", None))
        if name
    ]


def check_rules(tables: SplitTables, name: str, written_at: str = "", rules: Sequence[Rule] = RULES) -> TableResult:
    """Apply leakage rules."""
    begun = time.time()
    results = [_apply(rule, tables) for rule in rules]
    return _table_result(name, len(tables.interactions), begun, written_at, results)


def _table_result(
    name: str, rows: int, begun: float, written_at: str, expectations: list[ExpectationResult]
) -> TableResult:
    return {
        "name": name,
        "success": all(one["success"] or one["severity"] == "warning" for one in expectations),
        "rows": rows,
        "started_at": utc_text(begun),
        "seconds": round(time.time() - begun, 3),
        "written_at": written_at,
        "expectations": expectations,
    }


def _apply(rule: Rule, tables: SplitTables) -> ExpectationResult:
    failing, error = pd.DataFrame(), ""
    try:
        failing = rule.find(tables)
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        error = f"cannot be checked, {type(problem).__name__}: {problem}"
    return {
        "name": rule.name,
        "about": rule.about,
        "column": rule.table,
        "success": not (error or len(failing)),
        "severity": "error",
        "checked": rule.checked(tables),
        "unexpected": None if error else len(failing),
        "observed": "",
        "failing": sample(tables.shown(failing.head(SAMPLE_ROWS))) if len(failing) else None,
        "error": error,
    }


def _summarize(expectation: Expectation, found: Any, frame: pd.DataFrame) -> ExpectationResult:
    """Our shape of one of Great Expectations' results."""
    detail, kwargs = found.result, found.expectation_config.kwargs
    rows = detail.get("partial_unexpected_index_list")
    columns = kwargs.get("column_list") or [kwargs.get(key) for key in ("column", "column_A", "column_B")]
    return {
        "name": found.expectation_config.type,
        "about": expectation.description or found.expectation_config.type,
        "column": ", ".join(column for column in columns if column),
        "success": bool(found.success),
        "severity": "warning" if expectation.severity == FailureSeverity.WARNING else "error",
        "checked": detail.get("element_count"),
        "unexpected": detail.get("unexpected_count"),
        "observed": _observed(detail),
        "failing": sample(frame.iloc[rows]) if rows else None,
        "error": _error(found.exception_info),
    }


def _observed(detail: dict[str, Any]) -> str:
    if detail.get("partial_missing_list"):
        return f"missing: {cell_text(detail['partial_missing_list'])}"
    if detail.get("observed_value") is not None:
        return cell_text(detail["observed_value"])
    if unexpected := detail.get("partial_unexpected_list"):
        return f"{detail['unexpected_percent']:.3g} %, e.g. {cell_text(unexpected[0])}"
    return ""


def _error(info: dict[str, Any]) -> str:
    """The message of an expectation that could not be evaluated; Great Expectations nests it under metric names."""
    if not info or info.get("raised_exception") is False:
        return ""
    entries = [info] if "raised_exception" in info else list(info.values())
    messages = {str(one.get("exception_message")).removeprefix("Error: ") for one in entries}
    return "; ".join(sorted(messages))
