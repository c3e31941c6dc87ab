"""A step is left out only where nothing that could change its result did; every doubt makes it run."""

import dataclasses
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assets.config import EvaluationConfig, Settings, load_settings
from orchestration import unchanged
from orchestration.stations import Station
from orchestration.unchanged import (
    Finished,
    Known,
    Plan,
    Unit,
    account_path,
    forget,
    inputs_before,
    plan,
    read_account,
    record,
)

NOW = datetime(2030, 1, 1, 23, tzinfo=UTC)
RUN = "run-1"
CLOCK = 0.05
"""Seconds; file systems count time in steps of some milliseconds."""


def station(name: str, reads: str | None = None, **more: object) -> Station:
    return Station(
        writes=lambda settings: [settings.storage.base / name],
        reads=lambda settings: [settings.storage.base / reads] if reads else [],
        **more,  # type: ignore[arg-type]
    )


FIRST = Unit("first", ("s/first",), ("s/first:good",), ("assets.keys",), station("one", reads="source"))
SECOND = Unit("second", ("s/second",), (), ("assets.keys",), station("two"), parents=("first",))
ASIDE = Unit(
    "aside", ("s/aside",), (), ("assets.schema",), station("three", without_effect=("evaluation.ks",), daily=True)
)
UNITS = [FIRST, SECOND, ASIDE]
MADE = frozenset({"s/first", "s/second", "s/aside"})
KNOWN = Known(dict.fromkeys(MADE, RUN), frozenset())


def ended(**changes: object) -> Finished:
    began = {unit.name: time.time() for unit in UNITS}
    late = {unit.name: time.time() + 1 for unit in UNITS}
    held = Finished(RUN, began, late, MADE, frozenset({"s/first:good"}), frozenset())
    return dataclasses.replace(held, **changes)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a home where every step ended well."""
    made = load_settings({}, home=tmp_path)
    for name in ("source/rows.csv", "one/a.parquet", "one/b.lock", "two/a.parquet", "three/a.parquet"):
        path = made.storage.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    record(UNITS, UNITS, made, ended(), NOW)
    return made


def again(settings: Settings, known: Known = KNOWN, now: datetime = NOW) -> Plan:
    return plan(UNITS, settings, known, now)


def test_nothing_changed_nothing_runs(settings: Settings) -> None:
    assert again(settings).reasons == {}
    assert list(again(settings).unchanged) == ["first", "second", "aside"]


def test_a_changed_setting_runs_what_it_shapes(settings: Settings) -> None:
    other = settings.model_copy(update={"evaluation": EvaluationConfig(ks=(3,))})
    assert again(other).reasons == {"first": "settings changed", "second": "first runs"}
    other = settings.model_copy(update={"service": settings.service.model_copy(update={"max_k": 7})})
    assert again(other).reasons == {}


def test_a_new_code_version_runs_it_and_what_follows(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    before = unchanged.code_of
    monkeypatch.setattr(unchanged, "code_of", lambda unit: before(unit) + ("x" if unit.name == "second" else ""))
    assert again(settings).reasons == {"second": "code changed"}


@pytest.mark.parametrize(("name", "reason"), [("one/a.parquet", "output"), ("source/rows.csv", "input")])
def test_a_file_that_is_gone_or_altered_is_noticed(settings: Settings, name: str, reason: str) -> None:
    path = settings.storage.base / name
    held = path.stat()
    time.sleep(CLOCK)
    path.write_text(name.upper())  # as long, and said to be as old
    os.utime(path, ns=(held.st_atime_ns, held.st_mtime_ns))
    assert again(settings).reasons == {"first": f"{reason} changed: {name}", "second": "first runs"}
    path.unlink()
    assert again(settings).reasons["first"] == f"{reason} gone: {name}"


def test_a_new_file_is_noticed(settings: Settings) -> None:
    (settings.storage.base / "source" / "landed.csv").write_text("row")
    assert again(settings).reasons["first"] == "input changed: source/landed.csv"


def test_a_lock_is_no_result(settings: Settings) -> None:
    (settings.storage.base / "one" / "b.lock").write_text("taken")
    assert again(settings).reasons == {}


def test_what_looks_at_the_clock_runs_on_another_day(settings: Settings) -> None:
    assert again(settings, now=datetime(2030, 1, 2, tzinfo=UTC)).reasons == {"aside": "a day has passed"}


def test_what_another_run_made_since_is_made_again(settings: Settings) -> None:
    elsewhere = dataclasses.replace(KNOWN, runs={**KNOWN.runs, "s/aside": "run-2"})
    assert again(settings, elsewhere).reasons == {"aside": "made by another run since"}
    assert "aside" in again(settings, dataclasses.replace(KNOWN, runs={})).reasons


def test_a_check_that_failed_since_is_run_again(settings: Settings) -> None:
    bad = dataclasses.replace(KNOWN, failed=frozenset({"s/first:good"}))
    assert again(settings, bad).reasons["first"] == "check failed: s/first:good"


@pytest.mark.parametrize(
    "changes",
    [
        {"passed": frozenset()},  # the check failed, or was not evaluated
        {"made": MADE - {"s/first"}},
        {"began": {"first": 0.0, "second": 0.0, "aside": 0.0}},  # its source was written while it worked
        {"ended": {"first": 0.0, "second": 0.0, "aside": 0.0}},  # its output was written after it ended
    ],
)
def test_a_run_that_did_not_end_well_leaves_no_account(settings: Settings, changes: dict[str, object]) -> None:
    forget(settings.storage, UNITS)
    record(UNITS, UNITS, settings, ended(**changes), NOW)
    assert again(settings).reasons["first"] == "no good run on record"


@pytest.mark.parametrize("gone", ["source/rows.csv", "source"])
def test_an_input_that_was_taken_away_since_the_step_leaves_no_account(settings: Settings, gone: str) -> None:
    """What the step wrote may rest on it; nothing that is there afterwards says so."""
    forget(settings.storage, UNITS)
    before, run = inputs_before(UNITS, UNITS, settings), ended()
    time.sleep(CLOCK)
    place = settings.storage.base / gone
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    record(UNITS, UNITS, settings, run, NOW, before)
    assert again(settings).reasons == {"first": "no good run on record", "second": "first runs"}


def test_an_input_that_came_and_went_meanwhile_leaves_no_account(settings: Settings) -> None:
    forget(settings.storage, UNITS)
    before, run = inputs_before(UNITS, UNITS, settings), ended()
    time.sleep(CLOCK)
    passing = settings.storage.base / "source" / "passing.csv"
    passing.write_text("row")
    passing.unlink()
    record(UNITS, UNITS, settings, run, NOW, before)
    assert "first" in again(settings).reasons


def test_what_a_run_leaves_out_is_an_input_of_what_it_makes(settings: Settings) -> None:
    held = inputs_before([SECOND], UNITS, settings)
    assert {name: sorted(files) for name, files in held.items()} == {"second": ["one/a.parquet"]}
    assert inputs_before(UNITS, UNITS, settings)["second"] == {}  # made anew before it is read
    forget(settings.storage, [SECOND])
    (settings.storage.base / "one" / "a.parquet").unlink()
    record([SECOND], UNITS, settings, ended(), NOW, held)
    assert read_account(settings.storage, "second") is None


def test_a_warning_stands_and_does_not_run_again(settings: Settings) -> None:
    record(UNITS, UNITS, settings, ended(passed=frozenset(), warned=frozenset({"s/first:good"})), NOW)
    assert again(settings).unchanged["first"].warnings == ["s/first:good"]


def test_what_writes_nothing_or_is_unknown_always_runs(settings: Settings) -> None:
    unknown = Unit("new", ("s/new",), (), ("assets.keys",), None)
    assert plan([unknown], settings, KNOWN, NOW).reasons == {"new": "always runs"}
    nothing = Unit("empty", ("s/empty",), (), ("assets.keys",), station("nowhere"))
    run = ended(began={"empty": time.time()}, ended={"empty": time.time()}, made=frozenset({"s/empty"}))
    record([nothing], [nothing], settings, run, NOW)
    assert "empty" in plan([nothing], settings, KNOWN, NOW).reasons


def test_what_is_not_final_runs(settings: Settings) -> None:
    unsettled = dataclasses.replace(FIRST, station=station("one", reads="source", unsettled=lambda _: True))
    assert plan([unsettled], settings, KNOWN, NOW).reasons == {"first": "what it left is not final"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"run_id": "x"}', '{"read": {}, "wrote": {}}'])
def test_an_account_that_cannot_be_read_is_none(settings: Settings, text: str) -> None:
    account_path(settings.storage, "first").write_text(text)
    assert read_account(settings.storage, "first") is None
    assert "first" in again(settings).reasons
