"""Checks of the contest. All of them block: nobody is promoted by a contest that was not fair."""

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.storage import Storage

NOBODY = "nobody was ranked"


@dg.asset_check(
    asset=keys.CONTEST,
    blocking=True,
    description="The challenger's bounds and id maps hold nothing that was first seen in the newest window.",
)
def challenger_knows_no_window(
    storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    from assets.champion.grounds import grounds_of
    from assets.champion.sound import knows_of_the_window

    return _none_of(knows_of_the_window(storage, grounds_of(storage, settings)))


@dg.asset_check(
    asset=keys.CONTEST, blocking=True, description="Champion, challenger and floor were ranked on the same cases."
)
def same_cases(storage: dg.ResourceParam[Storage]) -> dg.AssetCheckResult:
    from assets.champion.contest import latest_contest
    from assets.champion.files import contest_ranks_path
    from assets.champion.sound import unlike_cases
    from assets.storage import read_parquet

    account = latest_contest(storage)
    if not account["cases"]:
        return dg.AssetCheckResult(passed=True, description=NOBODY)
    return _none_of(unlike_cases(read_parquet(contest_ranks_path(storage, account["name"])), account))


@dg.asset_check(
    asset=keys.CONTEST,
    blocking=True,
    description="Ranks of champion and challenger stay the same when what came after a day's cases is removed.",
)
def contest_sees_no_future(
    storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    from assets.champion.contest import latest_contest
    from assets.champion.grounds import grounds_of
    from assets.champion.sound import CASES_COMPARED, changed_ranks, future_reports

    if not latest_contest(storage)["cases"]:
        return dg.AssetCheckResult(passed=True, description=NOBODY)
    reports = future_reports(storage, grounds_of(storage, settings), settings, CASES_COMPARED)
    changed = changed_ranks(reports)
    return dg.AssetCheckResult(
        passed=not changed,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(changed) or None,
        metadata={
            f"{name} {what}": value
            for name, report in reports.items()
            for what, value in {"compared": report.compared, "changed": report.changed}.items()
        },
    )


def _none_of(problems: list[str]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=not problems,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(problems) or None,
        metadata={"problems": len(problems)},
    )


CHECKS: list[dg.AssetChecksDefinition] = [challenger_knows_no_window, same_cases, contest_sees_no_future]
