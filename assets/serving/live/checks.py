"""Checks of the freshness path. None blocks: what is searchable late is better than what is not searchable."""

import time

import dagster as dg
import numpy as np

from assets import keys
from assets.config import Settings
from assets.instants import wall_clock
from assets.storage import Storage

VECTORS_COMPARED = 20_000
"""Items that batch code embeds anew to compare vectors, drawn where there are more; all else is compared whole."""


@dg.asset_check(
    asset=keys.FRESH_ITEM_EMBEDDINGS,
    name=keys.STATE_EQUALS_BATCH,
    description=(
        "Features, embeddings and index as the incremental path left them are what batch code makes of the same rows."
        " Runs every night and on request: it reads everything, and writers wait for it."
    ),
)
def state_equals_batch(storage: dg.ResourceParam[Storage]) -> dg.AssetCheckResult:
    from assets.serving.live.batch import batch_state
    from assets.serving.live.generation import open_generation, writer_lock
    from assets.serving.live.state import differences
    from assets.storage import locked

    started = time.perf_counter()
    # Under the lock, so that nothing lands between reading the rows and reading what became of them.
    with locked(writer_lock(storage)), open_generation(storage) as opened:
        found = differences(opened, batch_state(opened, VECTORS_COMPARED))
    told = ", ".join(f"{count} of {found.compared[kind]} {kind}" for kind, count in found.counts.items())
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"differ: {told}" if found else f"the same; {found.excused} items wait for their embedding",
        metadata={
            "compared": dg.MetadataValue.json(found.compared),
            "differing": dg.MetadataValue.json(found.counts),
            "examples": dg.MetadataValue.md("\n".join(f"- {line}" for line in found.examples) or "none"),
            "waiting_items": found.excused,
            "seconds": round(time.perf_counter() - started, 2),
        },
    )


@dg.asset_check(
    asset=keys.FRESH_ITEM_EMBEDDINGS,
    description="No item has been due for an embedding for longer than freshness.ats_p95_seconds.",
)
def pending_bound(storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]) -> dg.AssetCheckResult:
    from assets.serving.live.generation import require_current
    from assets.serving.live.waiting import waiting

    with require_current(storage).open_store() as store, store.read() as reader:
        found = waiting(reader, wall_clock())
    bound = settings.freshness.ats_p95_seconds
    return dg.AssetCheckResult(
        passed=found.overdue_seconds <= bound,
        severity=dg.AssetCheckSeverity.ERROR,
        description=(
            f"{found.items} items wait, {found.due} of them are due, the first for {found.overdue_seconds:.1f} s;"
            f" allowed are {bound:g} s"
        ),
        metadata={"waiting_items": found.items, "due_items": found.due, "overdue_seconds": found.overdue_seconds},
    )


@dg.asset_check(
    asset=keys.FRESHNESS_REPORT,
    description=(
        "Of the engagements of the latest 5,000 batches, 95 % were searchable within freshness.ats_p95_seconds of"
        " their event."
    ),
)
def ats_bound(storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]) -> dg.AssetCheckResult:
    from assets.serving.live.ats import ALL, HOPS, value
    from assets.serving.live.freshness import read_report

    table, bound = read_report(storage), settings.freshness.ats_p95_seconds
    measured = value(table, ALL, "searchable", "engagements")
    if not measured > 0:
        return dg.AssetCheckResult(passed=True, description="nothing landed yet")
    p95 = value(table, ALL, "searchable", "p95")
    tails = {hop: value(table, ALL, hop, "p95") for hop in HOPS if hop != "queried"}  # no part of "searchable"
    slowest = max(tails, key=lambda hop: np.nan_to_num(tails[hop], nan=-np.inf))  # a replay has no "produced"
    return dg.AssetCheckResult(
        passed=p95 <= bound,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"p95 is {p95:.1f} s over {measured:.0f} engagements, allowed are {bound:g} s; the longest hop is"
            f" {slowest!r} with a p95 of {tails[slowest]:.1f} s"
        ),
        metadata={
            "engagements": round(measured),
            **{name: value(table, ALL, "searchable", name) for name in ("p50", "p95", "p99")},
        },
    )


CHECKS = [state_equals_batch, pending_bound, ats_bound]
