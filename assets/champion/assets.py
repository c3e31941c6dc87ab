"""Challenger, contest and promotion as assets. They are made on request alone: by the job that retrains, or by hand."""

import time
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import keys
from assets.champion.challenger import SERVABLE_NETS
from assets.config import Settings
from assets.instants import to_the_minute, wall_clock
from assets.partitions import SINGLE_RUN
from assets.storage import Storage
from dashboards.figures import inline_png

if TYPE_CHECKING:
    from assets.champion.challenger import Made
    from assets.champion.contest import Contest

CHALLENGERS = dg.StaticPartitionsDefinition(list(SERVABLE_NETS))
"""Nets that can serve."""


@dg.asset(
    key=keys.CHALLENGER,
    deps=[keys.ITEM_INDEX],
    partitions_def=CHALLENGERS,
    backfill_policy=SINGLE_RUN,
    pool=keys.TRAINING_POOL,
    group_name=keys.CHAMPION,
    kinds={"torch", "safetensors"},
    owners=[keys.OWNER],
    description=(
        "A net trained on everything that the generation that serves has seen, landed engagements included, but for the"
        " newest window, which it is to be compared with the champion on. A partition per net that can serve."
    ),
)
def challenger(
    context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    from assets.champion.challenger import make_challenger

    started, digests = time.perf_counter(), []
    for model in context.partition_keys:
        made = make_challenger(storage, settings, model, wall_clock(), context.log.info)
        context.add_asset_metadata(_of_training(storage, made), partition_key=model)
        digests.append(made.challenger.checkpoint)
    return dg.MaterializeResult(
        metadata={"seconds": round(time.perf_counter() - started, 2)},
        data_version=dg.DataVersion("-".join(digest[:16] for digest in digests)),
    )


@dg.asset(
    key=keys.CONTEST,
    deps=[keys.CHALLENGER, keys.ITEM_INDEX],
    group_name=keys.CHAMPION,
    kinds={"torch", "parquet"},
    owners=[keys.OWNER],
    description=(
        "Champion, the best of its challengers by validation, and the floor, ranked on the newest window's engagements,"
        " which none was trained on. The challenger wins if its NDCG@10 is better outside the 95 % interval of the"
        " paired difference, on cases enough."
    ),
)
def contest(
    context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    from assets.champion.contest import hold_contest
    from assets.champion.files import contest_path

    started = time.perf_counter()
    held = hold_contest(storage, settings, wall_clock(), context.log.info)
    account = held.account
    context.log.info(f"{account['verdict']}: {account['reason']}")
    return dg.MaterializeResult(
        metadata={
            "verdict": account["verdict"],
            "reason": account["reason"],
            "champion": account["champion"]["model"],
            "challenger": account["challenger"]["model"],
            "window": f"{_day(account['window']['starts_at'])} to {_day(account['window']['ends_at'])}",
            "cases": account["cases"],
            "difference": dg.MetadataValue.json(account["difference"]),
            "against floor": dg.MetadataValue.json(account["against_floor"]),
            **_of_ranks(held),
            "seconds": round(time.perf_counter() - started, 2),
            "path": dg.MetadataValue.path(contest_path(storage, account["name"])),
        },
        data_version=dg.DataVersion(account["name"]),
    )


@dg.asset(
    key=keys.PROMOTION,
    deps=[keys.CONTEST],
    group_name=keys.CHAMPION,
    kinds={"faiss", "lmdb"},
    owners=[keys.OWNER],
    description=(
        "What came of the latest contest: the winner's generation, built aside, its index measured, switched to in one"
        " rename; or the champion as before; on record either way. `thaw rollback` takes it back."
    ),
)
def promotion(
    context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    from assets.champion.promote import act_on_contest
    from assets.champion.record import cooling_until, record_path

    started = time.perf_counter()
    decision = act_on_contest(storage, settings, wall_clock(), context.log.info)
    entry, until = decision.entry, cooling_until(storage, settings)
    if not decision.fresh:
        context.log.info(f"contest {entry.contest} was decided before: nothing to do")
    return dg.MaterializeResult(
        metadata={
            "outcome": entry.kind,
            "decided now": decision.fresh,
            "reason": entry.evidence.get("reason", ""),
            "model": entry.model,
            "generation": entry.generation,
            "previous": entry.previous or "none",
            "contest": entry.contest or "",
            "no alert asks for another until": "at once" if until is None else f"{to_the_minute(until)} (event clock)",
            "seconds": round(time.perf_counter() - started, 2),
            "path": dg.MetadataValue.path(record_path(storage)),
        },
        data_version=dg.DataVersion(entry.generation),
    )


def _of_training(storage: Storage, made: "Made") -> dict[str, Any]:
    from assets.training.figures import loss_curve, loss_table, parameters

    account = made.challenger
    return {
        **{f"validation {name}": value for name, value in account.validation.items()},
        "trained until": to_the_minute(account.trained_until),
        "engagements": account.engagements,
        "champion": account.generation,
        "parameters": parameters(made.trained),
        "epochs": made.trained.best_epoch,
        "training seconds": account.seconds,
        "loss curve": dg.MetadataValue.md(loss_curve(made.trained)),
        "loss table": dg.MetadataValue.md(loss_table(made.trained)),
        "checkpoint": dg.MetadataValue.path(account.folder(storage)),
    }


def _of_ranks(held: "Contest") -> dict[str, Any]:
    """Table and figure; nothing where nobody was ranked."""
    from assets.champion.contest import CHALLENGER, CHAMPION, FLOOR, K
    from dashboards.contest import contest_png

    metrics, account = held.metrics, held.account
    if metrics.empty:
        return {}
    models = {name: account[name]["model"] for name in (CHAMPION, CHALLENGER)} | {FLOOR: "decayed_popularity"}
    png = contest_png(metrics, models, [("ndcg", K), ("hr", K)], f"{account['verdict']}: {account['reason']}")
    wide = metrics[metrics["metric"].isin(["hr", "ndcg", "perplexity"])]
    table = wide.pivot_table("value", ["metric", "slice"], "contender", sort=False).reset_index()
    return {
        "figure": dg.MetadataValue.md(inline_png(png, "contest")),
        "table": dg.MetadataValue.md(table.to_markdown(index=False, floatfmt=".4f")),
    }


def _day(micros: int) -> str:
    return to_the_minute(micros)[:10]


ASSETS: list[dg.AssetsDefinition] = [challenger, contest, promotion]
