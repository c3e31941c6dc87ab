"""Asset checks of evaluation: nobody looks ahead, numbers are numbers, no window is missing."""

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.storage import Storage
from assets.training.registry import MODELS

ROWS_SHOWN = 20


def future_check(model: str) -> dg.AssetChecksDefinition:
    """The check that a model's ranks do not change when the future is removed from the tables."""

    @dg.asset_check(
        asset=keys.ranks(model),
        name="sees_no_future",
        blocking=True,
        description="Ranks of one day's cases stay the same when every engagement from its last case on is removed.",
    )
    def sees_no_future(storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]) -> dg.AssetCheckResult:
        from assets.evaluation.run import report_future

        report = report_future(storage, settings, model)
        return dg.AssetCheckResult(
            passed=report.changed == 0,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata={"compared": report.compared, "changed": report.changed, "until": f"{report.until}Z"},
        )

    return sees_no_future


@dg.asset_check(
    asset=keys.METRICS, description="Every value and interval is finite and within [0, 1], and rests on a case."
)
def metrics_are_sound(storage: dg.ResourceParam[Storage]) -> dg.AssetCheckResult:
    from assets.evaluation.soundness import unsound_rows
    from assets.storage import read_parquet

    wrong = unsound_rows(read_parquet(storage.metrics))
    return dg.AssetCheckResult(
        passed=wrong.empty,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "unsound_rows": len(wrong),
            "rows": dg.MetadataValue.md(wrong.head(ROWS_SHOWN).to_markdown(index=False) if len(wrong) else "none"),
        },
    )


@dg.asset_check(
    asset=keys.METRICS, description="Every model of the roster has a number for every test window and protocol."
)
def every_window_is_measured(
    storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    from assets.evaluation.soundness import missing_windows
    from assets.storage import read_parquet
    from assets.training.registry import roster

    bounds = storage.read_table("split_bounds")
    windows = [int(window) for window in bounds.loc[bounds["engagements"] > 0, "window"].dropna()]
    missing = missing_windows(read_parquet(storage.metrics), roster(settings), settings.evaluation.protocols, windows)
    return dg.AssetCheckResult(
        passed=not missing,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"missing": missing[:ROWS_SHOWN], "missing_count": len(missing), "windows": windows},
    )


CHECKS: list[dg.AssetChecksDefinition] = [
    *(future_check(model) for model in MODELS),
    metrics_are_sound,
    every_window_is_measured,
]
