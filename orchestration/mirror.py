"""Steps' outputs and objects: what is fetched before a run, what is sent after it (:mod:`assets.objects`).

A stage is what :mod:`orchestration.stations` says a step writes. Results of checks are stages of their own, a file
each, since checks are steps of their own. What has no station (studies, challengers) and what is changed in place while
it serves (``live/``) stays on its machine.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

import dagster as dg

from assets import keys
from assets.config import Settings
from assets.objects.marks import Mark, mark_of
from assets.objects.stages import Found, Stage, compare, pull, push
from assets.objects.store import Manifest, ObjectStore
from assets.quality.results import EXPORTED, LEAKAGE, RAW, result_path
from assets.storage import Storage, file_digest, locked, write_json
from orchestration.unchanged import Account, Unit, account_path, read_account
from orchestration.units import known_of

LOCAL: Final = frozenset({"__".join(keys.ITEM_INDEX)})
"""Steps whose output is changed in place by one writer and mapped into memory by readers: a copy is another one."""

SOURCES: Final = "sources"
"""In an account that was sent: digests of files that it read and no stage holds."""


def store_of(settings: Settings) -> ObjectStore | None:
    """The dataset's objects; None where files stay on this machine.

    Raises:
        ObjectsError: where the program lacks what the address needs.
    """
    held = settings.objects
    return None if held.url is None else ObjectStore(held.url, settings.dataset, held.attempts)


def stage_of(unit: Unit, settings: Settings) -> Stage | None:
    """A step's files; None where it has none that are sent."""
    if unit.station is None or unit.name in LOCAL:
        return None
    results = settings.storage.quality / "results"
    places = tuple(place for place in unit.station.writes(settings) if not place.is_relative_to(results))
    return Stage(unit.name, places) if places else None


def result_stages(settings: Settings) -> list[Stage]:
    """The results of checks."""
    return [Stage(f"check_{name}", (result_path(settings.storage, name),)) for name in (*RAW, *EXPORTED, LEAKAGE)]


def fetch(store: ObjectStore, settings: Settings, units: Iterable[Unit]) -> list[str]:
    """Bring what objects hold newer than this machine, and the accounts of steps that made it.

    Returns:
        Names of the stages that were fetched.

    Raises:
        ObjectsError: when objects cannot be reached or something changed both here and there.
    """
    fetched, held, accounts = [], dict[str, str](), list[Manifest]()
    stages = [stage for unit in units if (stage := stage_of(unit, settings)) is not None]
    for stage in (*stages, *result_stages(settings)):
        with _alone(settings.storage, stage):
            found, manifest = pull(store, settings.storage, stage)
        if found is Found.FETCH:
            fetched.append(stage.name)
        if manifest is not None and found in (Found.FETCH, Found.SAME):
            held |= {name: blob.sha256 for name, blob in manifest.files.items()}
            accounts.append(manifest)
    for manifest in accounts:
        _take_account(manifest, settings, held)
    return fetched


def _take_account(manifest: Manifest, settings: Settings, held: Mapping[str, str]) -> None:
    """Make a step's account this machine's, where every file that it names is here and the same."""
    given = dict(manifest.account or {})
    known = {**held, **given.pop(SOURCES, {})}
    former = read_account(settings.storage, manifest.stage)
    if not given or (former is not None and former.run_id == manifest.run_id):
        return
    base = settings.storage.base
    marks: dict[str, dict[str, Mark]] = {
        side: {name: mark_of(base / name) for name in given[side] if _is_same(base / name, known.get(name), held, name)}
        for side in ("read", "wrote")
    }
    if all(set(marks[side]) == set(given[side]) for side in marks):
        account = Account(**{**given, **marks})
        write_json(account_path(settings.storage, manifest.stage), asdict(account))


def _is_same(path: Path, digest: str | None, held: Mapping[str, str], name: str) -> bool:
    """Whether a file is what it was where the account was made; of stages that is known already."""
    return digest is not None and path.is_file() and (name in held or file_digest(path) == digest)


def send(store: ObjectStore, settings: Settings, units: Iterable[Unit], runs: Mapping[str, str]) -> list[str]:
    """Send what was made here and objects lack.

    Args:
        runs: asset -> run of its latest materialization.

    Returns:
        Names of the stages that were sent.

    Raises:
        ObjectsError: as :func:`fetch`.
    """
    sent = []
    for unit in units:
        stage, made_by = stage_of(unit, settings), {runs.get(asset) for asset in unit.assets}
        run_id = made_by.pop()
        if stage is None or made_by or run_id is None:
            continue  # not made, or one half by another run
        account = _account_to_send(unit, settings, run_id)
        found, remote = compare(store, settings.storage, stage)
        is_known = remote is not None and remote.run_id == run_id and (account is None or remote.account == account)
        if found is Found.SEND or (found is Found.SAME and not is_known):
            with _alone(settings.storage, stage):
                push(store, settings.storage, stage, run_id, account)
            sent.append(stage.name)
    for stage in result_stages(settings):
        if compare(store, settings.storage, stage)[0] is Found.SEND:
            push(store, settings.storage, stage, "")
            sent.append(stage.name)
    return sent


@contextmanager
def _alone(storage: Storage, stage: Stage) -> Iterator[None]:
    """While it lasts nobody has the warehouse open, if that is what the stage is: its file is whole."""
    if storage.warehouse not in stage.places and storage.spark not in stage.places:
        yield
        return
    with locked(storage.warehouse_lock):
        yield


def _account_to_send(unit: Unit, settings: Settings, run_id: str) -> dict[str, Any] | None:
    account = read_account(settings.storage, unit.name)
    if account is None or account.run_id != run_id:
        return None
    base = settings.storage.base
    outside = [name for name in account.read if name.startswith("..") or name.split("/")[0] in ("source", "live")]
    sources = {name: file_digest(base / name) for name in outside if (base / name).is_file()}
    marks = {side: {name: [0, 0, 0] for name in getattr(account, side)} for side in ("read", "wrote")}
    return {**asdict(account), **marks, SOURCES: sources}


@contextmanager
def following(
    settings: Settings, instance: dg.DagsterInstance, units: Sequence[Unit]
) -> Iterator[tuple[list[str], list[str]]]:
    """Fetch before the block, send after it; the names of fetched stages, then those of sent ones."""
    store = store_of(settings)
    if store is None:
        yield [], []
        return
    sent: list[str] = []
    yield fetch(store, settings, units), sent
    sent += send(store, settings, units, known_of(instance, units).runs)


def replace_stage(
    settings: Settings, units: Sequence[Unit], name: str, runs: Mapping[str, str], by: Literal["here", "there"]
) -> bool:
    """Settle what differs here and there: take the ``there`` or the ``here``; whether there was one.

    Raises:
        ValueError: for a name that is no stage, or where no objects are configured.
    """
    store = store_of(settings)
    if store is None:
        raise ValueError("objects.url is not set: there is nothing to push to or pull from")
    stages = {stage.name: stage for unit in units if (stage := stage_of(unit, settings))}
    stages |= {stage.name: stage for stage in result_stages(settings)}
    if name not in stages:
        raise ValueError(f"{name!r} is no stage; there are {', '.join(sorted(stages))}")
    with _alone(settings.storage, stages[name]):
        if by == "there":
            return pull(store, settings.storage, stages[name], replace=True)[0] is Found.FETCH
        unit = next((unit for unit in units if unit.name == name), None)
        run_id = runs.get(unit.assets[0], "") if unit else ""
        return push(store, settings.storage, stages[name], run_id) is not None
