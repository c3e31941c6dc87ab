"""Which steps of a run would only do again what they did, and may be left out.

A step is left out when all of this holds; whatever is missing, unreadable or in doubt makes it run.

- Its last run under ``thaw`` succeeded, its checks were all evaluated and none of severity error failed.
- Code is the same: its module's and its checks', all they import, and the version of everything that is installed.
- Settings that may shape it are the same (:mod:`orchestration.stations`), with the servers that they lead to, and the
  day too, where it looks at the clock.
- What it read and what it wrote is as it was: the same files of the same size, written and touched at the same instant.
  That is written down when the run ended, and only where nothing of what it read was added, altered or removed since
  the step began.
- Dagster's latest materialization of each of its assets is that run's, and no check of it failed since.
- Every step before it is left out too.

Accounts are ``data/<dataset>/made/<step>.json``: removed before a step runs, written when the run ended well. Dagster's
own data versions are not used: most assets have only its default ones, which change whenever something is materialized.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from assets.config import Settings
from assets.objects.marks import Mark, files_at, mark_of
from assets.storage import Storage, write_json
from orchestration.sources import source_digest
from orchestration.stations import Station

FORMAT: Final = 1
Files = dict[str, Mark]


@dataclass(frozen=True)
class Unit:
    """A step of the graph.

    Attributes:
        name: of the op.
        assets: ``stage/name`` of all that it makes.
        checks: ``stage/name:check`` of all that are on them.
        modules: whose code it and its checks run.
        station: what it reads and writes; None for one that always runs.
        parents: names of the units of the run that it comes after.
    """

    name: str
    assets: tuple[str, ...]
    checks: tuple[str, ...]
    modules: tuple[str, ...]
    station: Station | None
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Account:
    """What a step's last good run rested on and left."""

    run_id: str
    code: str
    settings: str
    day: str
    read: Files
    wrote: Files
    warnings: list[str] = field(default_factory=list)
    format: int = FORMAT


@dataclass(frozen=True)
class Plan:
    """What runs and why, and what is left out with its account; both in the order of the graph."""

    reasons: dict[str, str]
    unchanged: dict[str, Account]


@dataclass(frozen=True)
class Known:
    """What Dagster says: per asset the run of its latest materialization, and the checks whose latest result is bad."""

    runs: Mapping[str, str]
    failed: frozenset[str]


def plan(units: Sequence[Unit], settings: Settings, known: Known, now: datetime) -> Plan:
    """Which of ``units``, given in the order of the graph, have to run."""
    result, marks = Plan({}, {}), _Marks(settings.storage.base)
    by_name = {unit.name: unit for unit in units}
    for unit in units:
        changed = next((parent for parent in unit.parents if parent in result.reasons), None)
        account = read_account(settings.storage, unit.name)
        reason = f"{changed} runs" if changed else _reason(unit, account, settings, known, now)
        if reason is None and account is not None:
            reason = _moved(account, unit, by_name, settings, marks)
        if reason is None and account is not None:
            result.unchanged[unit.name] = account
        else:
            result.reasons[unit.name] = reason or "never run"
    return result


def _reason(unit: Unit, account: Account | None, settings: Settings, known: Known, now: datetime) -> str | None:
    """Why a unit has to run, files apart."""
    station = unit.station
    if station is None or account is None:
        return "no good run on record" if station else "always runs"
    found = {
        "what it left is not final": station.unsettled(settings),
        "code changed": account.code != code_of(unit),
        "settings changed": account.settings != settings_of(station, settings),
        "a day has passed": account.day != day_of(station, now),
    }
    return next((reason for reason, holds in found.items() if holds), None) or _elsewhere(unit, account, known)


def _elsewhere(unit: Unit, account: Account, known: Known) -> str | None:
    if any(known.runs.get(asset) != account.run_id for asset in unit.assets):
        return "made by another run since"
    failed = [check for check in unit.checks if check in known.failed]
    return f"check failed: {failed[0]}" if failed else None


def _moved(
    account: Account, unit: Unit, by_name: Mapping[str, Unit], settings: Settings, marks: "_Marks"
) -> str | None:
    """The first file that is not as it was."""
    for held, places, word in (
        (account.wrote, _writes(unit, settings), "output"),
        (account.read, _reads(unit, by_name, settings), "input"),
    ):
        now = marks.of(places)
        if now != held:
            odd = min(name for name in {*now, *held} if now.get(name) != held.get(name))
            return f"{word} {'changed' if odd in now else 'gone'}: {odd}"
    return None


def record(
    units: Iterable[Unit],
    all_units: Sequence[Unit],
    settings: Settings,
    run: "Finished",
    now: datetime,
    before: Mapping[str, Files] | None = None,
) -> None:
    """Write the accounts of those ``units`` that ended well in ``run``, and whose files nobody else touched meanwhile.

    Args:
        all_units: of the graph.
        now: when the run began.
        before: what :func:`inputs_before` gave before the run; a file of it that is gone was removed meanwhile.
    """
    by_name, marks = {unit.name: unit for unit in all_units}, _Marks(settings.storage.base)
    for unit in units:
        if unit.station is None or not run.ended_well(unit):
            continue
        read, wrote = marks.of(_reads(unit, by_name, settings)), marks.of(_writes(unit, settings))
        touched = max(_latest(read), _folders_touched(unit.station.reads(settings)))
        if not wrote or touched > run.began[unit.name] or _latest(wrote) > run.ended[unit.name]:
            continue  # something else wrote to its input or output meanwhile: nobody knows which version it read
        if (before or {}).get(unit.name, {}).keys() - read.keys():
            continue  # the step may have read what is gone: what it wrote would hold it for ever
        account = Account(
            run_id=run.run_id,
            code=code_of(unit),
            settings=settings_of(unit.station, settings),
            day=day_of(unit.station, now),
            read=read,
            wrote=wrote,
            warnings=[check for check in unit.checks if check in run.warned],
        )
        write_json(account_path(settings.storage, unit.name), asdict(account))


def inputs_before(units: Iterable[Unit], all_units: Sequence[Unit], settings: Settings) -> dict[str, Files]:
    """What each of ``units``, which are about to run, may read and none of them writes, by the unit's name."""
    running, marks = {unit.name for unit in units}, _Marks(settings.storage.base)
    others = {unit.name: unit for unit in all_units if unit.name not in running}
    return {unit.name: marks.of(_reads(unit, others, settings)) for unit in all_units if unit.name in running}


@dataclass(frozen=True)
class Finished:
    """How a run ended.

    Attributes:
        began: seconds since 1970 at which each step began.
        ended: when it, or the last of its checks, ended.
        made: assets that were materialized.
        passed: checks that were evaluated and passed.
        warned: checks that failed without being errors.
    """

    run_id: str
    began: Mapping[str, float]
    ended: Mapping[str, float]
    made: frozenset[str]
    passed: frozenset[str]
    warned: frozenset[str]

    def ended_well(self, unit: Unit) -> bool:
        """Whether everything of a unit was made and no check is missing or failed."""
        judged = self.passed | self.warned
        return unit.name in self.began and self.made.issuperset(unit.assets) and judged.issuperset(unit.checks)


def forget(storage: Storage, units: Iterable[Unit]) -> None:
    """Remove the accounts of units that are about to run: a run that is killed leaves none."""
    for unit in units:
        account_path(storage, unit.name).unlink(missing_ok=True)


def account_path(storage: Storage, name: str) -> Path:
    return storage.base / "made" / f"{name}.json"


def read_account(storage: Storage, name: str) -> Account | None:
    """A unit's account; None where there is none that this code can read."""
    try:
        values: dict[str, Any] = json.loads(account_path(storage, name).read_text(encoding="utf-8"))
        for side in ("read", "wrote"):
            values[side] = {path: tuple(mark) for path, mark in values[side].items()}
        account = Account(**values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return account if account.format == FORMAT else None


def code_of(unit: Unit) -> str:
    """Digest of the code that a unit and its checks run."""
    return source_digest(unit.modules, unit.station.sources if unit.station else ())


def settings_of(station: Station, settings: Settings) -> str:
    """Digest of the settings that may shape a station's outputs."""
    return hashlib.sha256(json.dumps(station.shaping(settings), sort_keys=True).encode()).hexdigest()


def day_of(station: Station, now: datetime) -> str:
    """The day, UTC, for a station that looks at the clock."""
    return now.astimezone(UTC).date().isoformat() if station.daily else ""


def _writes(unit: Unit, settings: Settings) -> list[Path]:
    return unit.station.writes(settings) if unit.station else []


def _reads(unit: Unit, by_name: Mapping[str, Unit], settings: Settings) -> list[Path]:
    """What it reads besides, and what the units before it wrote."""
    own = unit.station.reads(settings) if unit.station else []
    before = [by_name[name] for name in unit.parents if name in by_name]
    return [*own, *(path for parent in before for path in _writes(parent, settings))]


class _Marks:
    """Marks of files, each looked at once."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._known: dict[Path, Files] = {}

    def of(self, places: Iterable[Path]) -> Files:
        """Of every file at or below ``places``, named from the dataset's folder; missing ones are left out."""
        found: Files = {}
        for place in places:
            if place not in self._known:
                self._known[place] = {os.path.relpath(path, self._base): mark_of(path) for path in files_at(place)}
            found |= self._known[place]
        return found


def _latest(files: Files) -> float:
    """When the last of some files was written or touched, in seconds since 1970."""
    return max((max(mark[1:]) / 1e9 for mark in files.values()), default=0.0)


def _folders_touched(places: Iterable[Path]) -> float:
    """When something was last added to, or taken from, a folder at or below ``places``, in seconds since 1970.

    A file that is removed leaves no other trace.
    """
    held = [path for place in places for path in (place, *place.rglob("*")) if path.is_dir()]
    return max((max(path.stat().st_mtime, path.stat().st_ctime) for path in held), default=0.0)
