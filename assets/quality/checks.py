"""Blocking asset checks: a suite per table and the leakage rules. A failing one stops everything downstream."""

from collections.abc import Callable

import dagster as dg
import pandas as pd

from assets import keys
from assets.config import Settings
from assets.quality import results
from assets.storage import Storage, write_text
from dashboards.data_docs import TableResult, build_data_docs

TITLE = "Great Expectations: {} has the shape, values, references and volume that later stages rely on."


def validate_table(name: str, storage: Storage, settings: Settings) -> TableResult:
    """Validate one table with its suite."""
    from assets.quality.large import is_large, validate_large
    from assets.quality.suites import SUITES, Limits
    from assets.quality.validation import validate_frame

    limits = Limits.of(settings.split, now=pd.Timestamp.now("UTC").tz_localize(None))
    written_at = results.written_at(storage, name)
    suite = SUITES[name]
    expectations = suite.expectations(limits)
    if suite.large and is_large(results.table_path(storage, name)):
        result = validate_large(name, suite.large, storage, expectations, written_at)
        if result is not None:
            return result
    return validate_frame(name, suite.frame(storage), expectations, written_at)


def validate_leakage(name: str, storage: Storage, settings: Settings) -> TableResult:
    """Apply every leakage rule to the exported tables."""
    from assets.quality.split_tables import read_split_tables
    from assets.quality.validation import check_rules

    written_at = results.written_at(storage, name)
    return check_rules(read_split_tables(storage, settings.split, settings.engagement), name, written_at)


def record(storage: Storage, result: TableResult) -> dg.AssetCheckResult:
    """Write a result and turn it into Dagster's; a failing one also renders the page, whose asset will not run."""
    results.write_result(storage, result)
    if not result["success"]:
        write_page(storage)
    return dg.AssetCheckResult(
        passed=result["success"], severity=dg.AssetCheckSeverity.ERROR, metadata=check_metadata(storage, result)
    )


def write_page(storage: Storage) -> results.Results:
    """Render the page from every result there is."""
    found = results.read_results(storage)
    html = build_data_docs(storage.dataset, found.tables, found.missing, found.stale, results.SAMPLE_ROWS)
    write_text(results.page_path(storage), html)
    return found


def check_metadata(storage: Storage, result: TableResult) -> dict[str, dg.MetadataValue]:
    """Counts, failed expectations and failing rows of a result."""
    not_met = [one for one in result["expectations"] if not one["success"]]
    metadata: dict[str, dg.MetadataValue] = {
        "rows": dg.MetadataValue.int(result["rows"]),
        "expectations": dg.MetadataValue.int(len(result["expectations"])),
        "failed": dg.MetadataValue.int(sum(one["severity"] == "error" for one in not_met)),
        "warnings": dg.MetadataValue.int(sum(one["severity"] == "warning" for one in not_met)),
        "seconds": dg.MetadataValue.float(result["seconds"]),
        "result": dg.MetadataValue.path(results.result_path(storage, result["name"])),
        "page": dg.MetadataValue.path(results.page_path(storage)),
    }
    if not_met:
        metadata["not_met"] = dg.MetadataValue.md(results.not_met_markdown(result))
    for one in not_met:
        if one["failing"]:
            column = one["column"].replace(", ", "_")
            metadata[f"failing_rows/{one['name']}/{column}"] = dg.MetadataValue.md(results.markdown(one["failing"]))
    return metadata


def _check(
    name: str,
    asset: keys.Key,
    description: str,
    validate: Callable[[str, Storage, Settings], TableResult],
    additional_deps: list[keys.Key],
) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=dg.AssetKey(asset),
        name=name,
        blocking=True,
        description=description,
        additional_deps=[dg.AssetKey(key) for key in additional_deps],
    )
    def check(storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]) -> dg.AssetCheckResult:
        return record(storage, validate(name, storage, settings))

    return check


def _raw_check(name: str, asset: keys.Key) -> dg.AssetChecksDefinition:
    others = [keys.RAW_ITEMS, keys.RAW_USERS] if asset == keys.RAW_INTERACTIONS else []
    return _check(name, asset, TITLE.format(name.replace("_", " ")), validate_table, others)


CHECKS: list[dg.AssetChecksDefinition] = [
    *(_raw_check(name, asset) for name, asset in results.RAW.items()),
    *(_check(name, keys.TABLES, TITLE.format(name), validate_table, []) for name in results.EXPORTED),
    _check(
        results.LEAKAGE,
        keys.TABLES,
        "Leakage: no train row, history, count, slice or case knows anything of its future.",
        validate_leakage,
        [],
    ),
]
