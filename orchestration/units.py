"""The graph as :mod:`orchestration.unchanged` sees it: its steps, what Dagster knows of them, and how a run ended."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import dagster as dg

from orchestration.jobs import REFRESH_ALL
from orchestration.stations import station_of
from orchestration.unchanged import Finished, Known, Unit

EVALUATED: Final = "ASSET_CHECK_EVALUATION"
"""Dagster's type of event that a check was evaluated; one that is only planned has another."""


def units_of(definitions: dg.Definitions) -> list[Unit]:
    """The steps of ``thaw run`` in the order of the graph."""
    graph = definitions.resolve_asset_graph()
    chosen = definitions.resolve_job_def(REFRESH_ALL).asset_layer.selected_asset_keys
    by_step: dict[str, list[Any]] = {}
    for key in graph.toposorted_asset_keys:
        if key in chosen:
            node = graph.get(key)
            by_step.setdefault(node.assets_def.node_def.name, []).append(node)
    steps = {node.key: name for name, nodes in by_step.items() for node in nodes}
    modules = _check_modules(definitions)
    units = [_unit(name, nodes, steps, modules) for name, nodes in by_step.items()]
    return _sorted(units)


def _unit(name: str, nodes: Sequence[Any], steps: dict[dg.AssetKey, str], modules: dict[Any, str]) -> Unit:
    checks = [key for node in nodes for key in node.check_keys]
    before = {steps[key] for node in nodes for key in node.parent_keys if key in steps} - {name}
    run = {_module(nodes[0].assets_def), *(modules[key] for key in checks if key in modules)}
    assets = tuple(sorted(node.key.to_user_string() for node in nodes))
    return Unit(
        name=name,
        assets=assets,
        checks=tuple(sorted(map(_named, checks))),
        modules=tuple(sorted(run)),
        station=station_of(assets[0]),
        parents=tuple(sorted(before)),
    )


def _sorted(units: list[Unit]) -> list[Unit]:
    """Every unit after its parents; otherwise in the given order."""
    waiting, done, result = list(units), set[str](), list[Unit]()
    while waiting:
        unit = next(unit for unit in waiting if done.issuperset(unit.parents))
        waiting.remove(unit)
        done.add(unit.name)
        result.append(unit)
    return result


def _check_modules(definitions: dg.Definitions) -> dict[dg.AssetCheckKey, str]:
    """Module of each check that is no part of the step that makes its asset."""
    return {
        key: _module(check)
        for check in definitions.asset_checks or ()
        if isinstance(check, dg.AssetsDefinition)
        for key in check.check_keys
    }


def _module(definition: dg.AssetsDefinition) -> str:
    compute: Any = definition.op.compute_fn
    return str(compute.decorated_fn.__module__)


def _named(key: dg.AssetCheckKey) -> str:
    return f"{key.asset_key.to_user_string()}:{key.name}"


def known_of(instance: dg.DagsterInstance, units: Iterable[Unit]) -> Known:
    """What the instance says of the units' assets and checks."""
    held = list(units)
    wanted = [dg.AssetKey.from_user_string(name) for unit in held for name in unit.assets]
    runs = {
        record.asset_entry.asset_key.to_user_string(): record.asset_entry.last_materialization.run_id
        for record in instance.get_asset_records(wanted)
        if record.asset_entry.last_materialization is not None
    }
    keys = [_check_key(name) for unit in held for name in unit.checks]
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    return Known(runs, frozenset(_named(key) for key, found in latest.items() if _is_bad(found)))


def _check_key(name: str) -> dg.AssetCheckKey:
    asset, _, check = name.partition(":")
    return dg.AssetCheckKey(dg.AssetKey.from_user_string(asset), check)


def _is_bad(record: Any) -> bool:
    """Whether an execution of a check failed with severity error, or nobody knows how it ended."""
    event = record.event.dagster_event if record.event else None
    if event is None or event.event_type_value != EVALUATED:
        return True
    check = event.asset_check_evaluation_data
    return not check.passed and check.severity is dg.AssetCheckSeverity.ERROR


def finished_of(result: dg.ExecuteInProcessResult, instance: dg.DagsterInstance, units: Iterable[Unit]) -> Finished:
    """How a run ended, as far as ``units`` go."""
    began, ended = _times(result, instance, units)
    evaluations = result.get_asset_check_evaluations()
    events = result.get_asset_materialization_events()
    return Finished(
        run_id=result.run_id,
        began=began,
        ended=ended,
        made=frozenset(event.asset_key.to_user_string() for event in events if event.asset_key),
        passed=frozenset(_named(check.asset_check_key) for check in evaluations if check.passed),
        warned=frozenset(_named(check.asset_check_key) for check in evaluations if _is_warning(check)),
    )


def _is_warning(check: dg.AssetCheckEvaluation) -> bool:
    return not check.passed and check.severity is not dg.AssetCheckSeverity.ERROR


def _times(
    result: dg.ExecuteInProcessResult, instance: dg.DagsterInstance, units: Iterable[Unit]
) -> tuple[dict[str, float], dict[str, float]]:
    """When each unit's step began, and when it or the last step of its checks ended, by the unit's name."""
    stats = instance.get_run_step_stats(result.run_id)
    began = {step.step_key: step.start_time for step in stats if step.start_time}
    ended = {step.step_key: step.end_time for step in stats if step.end_time}
    owners = {check: unit.name for unit in units for check in unit.checks}
    for event in result.all_events:
        if event.event_type_value == EVALUATED:
            unit = owners.get(_named(event.asset_check_evaluation_data.asset_check_key))
            if unit is not None:
                ended[unit] = max(ended.get(unit, 0.0), ended.get(event.step_key or "", 0.0))
    return began, ended
