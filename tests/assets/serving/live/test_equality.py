"""After every run, whatever has landed and however it was cut into files and runs, the store is what a rebuild makes.

Three ways lead to one state: the runs, batch code over all files (:mod:`assets.serving.live.state`), and a generation
built anew at that instant. Features are compared exactly, vectors and scores to 1e-5; the index is asked as the service
asks it, a snapshot with deltas behind it.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from assets.serving.live.build import renew
from assets.serving.live.removal import forget_user, take_down_item
from assets.stream import load_tables
from tests.assets.serving.live.conftest import MODEL
from tests.assets.serving.live.logical import FEATURES, SERVED, unlike
from tests.assets.serving.live.streams import (
    ITEMS,
    NOW,
    USERS,
    Dropped,
    Event,
    Item,
    Served,
    at,
    event_file,
    item_file,
    stream_settings,
)

FORGOTTEN, TAKEN_DOWN = "u03", "i05"


@dataclass(frozen=True)
class Step:
    """What happens until the next comparison: files, taken by one run, then perhaps a removal."""

    files: tuple[Dropped, ...]
    removal: str | None = None


@st.composite
def streams(draw: st.DrawFn, steps: int) -> list[Step]:
    """Steps over some days: late rows, equal timestamps, rows of earlier files again, rows that are no engagement."""
    day, landed, stream = 6.0, [Event("u00", "i00", at(0.5))], []
    for number in range(steps):
        day += draw(st.sampled_from([0, 0.5, 1, 2]))
        files = [_file(draw, day, landed) for _ in range(draw(st.integers(0, 3)))]
        removal = draw(st.sampled_from([None, None, "forget", "take down"])) if number else None
        stream.append(Step(tuple(files), removal))
    return stream


def _file(draw: st.DrawFn, day: float, landed: list[Event]) -> Dropped:
    if draw(st.integers(0, 4)) == 0:
        return item_file(*draw(st.lists(_items(day), max_size=3, unique_by=lambda item: item.item)))
    new = draw(st.lists(_events(day), max_size=12))
    repeated = draw(st.lists(st.sampled_from(landed + new), max_size=4)) if new else []
    landed += new
    return event_file(*draw(st.permutations(new + repeated)))


def _events(day: float) -> st.SearchStrategy[Event]:
    lateness = st.sampled_from([0, 0, 1 / 48, 2 / 48, 0.5, 1, 3])
    return st.builds(
        Event,
        st.sampled_from(USERS),
        st.sampled_from(ITEMS),
        lateness.map(lambda days: at(day + 0.9 - days)),
        st.sampled_from([1.0, 1.0, 1.0, 4.5, None, 0.5]),
        st.sampled_from(["engagement"] * 5 + ["view", "unheard of", "other"]),
    )


def _items(day: float) -> st.SearchStrategy[Item]:
    created = [None, at(1), at(day), at(day + 1.5), at(day + 40)]
    return st.builds(
        Item,
        st.sampled_from([*ITEMS, "quiet0", "quiet1"]),
        st.sampled_from([None, f"title {day}"]),
        st.sampled_from(created),
        st.sampled_from(["", "drama", "war|crime", "unheard of"]),
    )


Make = Callable[..., Served]


@pytest.fixture(scope="module")
def make(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Copies, under a folder, of a dataset that a model serves and of which rows count by a rule."""

    @cache
    def template(model: str) -> Path:
        home = tmp_path_factory.mktemp(model)
        shutil.copytree(trained_home / "data", home / "data")
        ruled = stream_settings(home)
        renew(ruled.storage, ruled, load_tables(ruled.storage), model, 0, NOW)
        return home

    def copy(home: Path, model: str = MODEL) -> Served:
        shutil.copytree(template(model) / "data", home / "data")
        settings = stream_settings(home)
        return Served(settings.storage, settings, model)

    return copy


def check(served: Served) -> None:
    """Runs, batch code and a rebuild agree, and nothing waits."""
    found = served.compare()
    assert not found, found.examples
    assert found.excused == 0
    incremental = served.state()
    assert not unlike(served.rebuilt(), incremental, [*FEATURES, *SERVED])
    assert incremental.waiting == (0, 0)
    assert incremental.files["claimed"] == incremental.files["refused"] == []


def remove(served: Served, removal: str | None) -> None:
    if removal == "forget":
        forget_user(served.storage, FORGOTTEN, served.settings, served.clock)
    elif removal == "take down":
        take_down_item(served.storage, TAKEN_DOWN, served.settings, served.clock)


def follow(served: Served, stream: Sequence[Step]) -> set[str | None]:
    """Compare after every step; why snapshots were made."""
    reasons: set[str | None] = set()
    for step in stream:
        served.drop(step.files)
        reasons.add(served.run().maintained.reason)
        remove(served, step.removal)
        check(served)
    return reasons


@settings(
    max_examples=6,
    phases=[Phase.explicit, Phase.generate],  # an example takes seconds: the first failing one is small enough
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(stream=streams(steps=3))
def test_runs_give_what_a_rebuild_gives(make: Make, stream: list[Step]) -> None:
    with TemporaryDirectory() as home:
        reasons = follow(make(Path(home)), stream)
    event(f"snapshots: {sorted(map(str, reasons))}")


def long_stream() -> list[Step]:
    """Eight runs over nine days with everything that can happen to a row or an item, each at least once."""
    first = Event("u07", "fresh0", at(6.1))
    tied = tuple(Event(user, item, at(6.2)) for user in USERS[:4] for item in ("i00", "fresh0", "i17"))
    late = tuple(Event("u11", item, at(2.3)) for item in ("i29", "fresh1"))
    return [
        Step((event_file(first, *tied), event_file(*tied[3:], first))),  # a file that repeats most of another
        Step((event_file(), item_file(Item("quiet0", "waits", at(10), "war")))),  # empty; an item of a later day
        Step((event_file(*late, Event("u00", "i00", at(8.5), None), Event("u00", "i00", at(8.5), 1.0, "other")),)),
        Step((item_file(Item("fresh1", "now known", None, "drama"), Item("i02", "renamed", None, "crime")),), "forget"),
        Step((event_file(Event("u03", "i02", at(9)), Event("new0", "i02", at(9)), *tied[:2]),), "take down"),
        Step(
            (event_file(Event("u00", "i05", at(9.5)), Event("u00", "i05", at(10.2)), Event("new1", "i29", at(10.2))),)
        ),
        Step((event_file(*(Event(f"many{n}", ITEMS[n % 8], at(10 + n / 48)) for n in range(40))),)),
        Step((event_file(Event("u14", "fresh2", at(14.9))), event_file(Event("u14", "fresh2", at(3))))),
    ]


@pytest.mark.parametrize("model", [MODEL, "hrnn_meta"])
def test_a_longer_stream_gives_what_a_rebuild_gives(make: Make, tmp_path: Path, model: str) -> None:
    served = make(tmp_path, model)
    assert follow(served, long_stream()) == {None, "epoch", "deltas"}
    state = served.state()
    assert state.counts["fresh0"]["total"] == 1 + 3 + 5  # the forgotten one of four users does not count
    assert state.counts["quiet0"]["available"]
    assert "i05" not in state.counts
    assert FORGOTTEN not in state.seen
    entries = [entry for entry in state.ledger if entry["kind"] == "engagements"]
    assert sum(entry["duplicates"] for entry in entries) == 10 + 2
    assert sum(entry["other_events"] for entry in entries) == 2


@settings(
    max_examples=3,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(stream=streams(steps=3), data=st.data())
def test_the_order_in_which_files_arrive_and_runs_start_does_not_matter(
    make: Make, stream: list[Step], data: st.DataObject
) -> None:
    """Of item files the last one seen counts, so those stay in their order; of engagements only timestamps matter."""
    files = [file for step in stream for file in step.files]
    events = [file for file in files if file.kind == "engagements"]
    shuffled = data.draw(st.permutations(events))
    others = [file for file in files if file.kind == "items"]
    cut = data.draw(st.integers(0, len(shuffled)))
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        together, apart = make(Path(one)), make(Path(other))
        together.drop(events + others)
        together.run()
        for part in (shuffled[:cut], shuffled[cut:], others):
            apart.drop(part)
            apart.run()
        assert not unlike(together.state(), apart.state(), [*FEATURES, *SERVED])
