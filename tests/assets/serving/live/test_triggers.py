"""The trigger policy, and a small machine that lives by it: nothing lost, nothing too early, whatever the order."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.config import TriggerConfig
from assets.serving.live.pending import touch
from assets.serving.live.triggers import SECOND, due_at
from assets.serving.store.interface import Table
from assets.serving.store.records import NEVER, PENDING, new_items, number_keys, pack, unpack
from tests.assets.serving.live.memory_store import MemoryStore

ITEMS = 3
CONFIGS = st.builds(
    TriggerConfig,
    on_engagement=st.booleans(),
    every=st.integers(1, 4),
    minimum_interval_seconds=st.sampled_from([0.0, 2.0, 5.0]),
    maximum_wait_seconds=st.sampled_from([0.0, 3.0, 8.0]),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("touch"), st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=4)),
        st.tuples(st.just("embed"), st.just([])),
        st.tuples(st.just("wait"), st.integers(1, 3).map(lambda seconds: [seconds])),
    ),
    max_size=25,
)


def int64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def due(config: TriggerConfig, touched: int, total: int, embedded_total: int, embedded_at: int) -> int:
    return int(due_at(int64(touched), int64(total), int64(embedded_total), int64(embedded_at), config)[0])


@pytest.mark.parametrize(
    ("config", "state", "expected"),
    [
        ({}, (100, 1, 0, NEVER), 100),  # new
        ({}, (100, 6, 5, 90), 100),
        ({"minimum_interval_seconds": 30e-6}, (100, 6, 5, 90), 120),  # too early
        ({"minimum_interval_seconds": 30e-6}, (100, 6, 5, 60), 100),
        ({"minimum_interval_seconds": 30e-6}, (100, 1, 0, NEVER), 100),  # nothing to keep a distance from
        ({"on_engagement": False, "every": 3, "maximum_wait_seconds": 40e-6}, (100, 7, 5, 90), 140),  # two of three
        ({"on_engagement": False, "every": 3, "maximum_wait_seconds": 40e-6}, (100, 8, 5, 90), 100),
        ({"on_engagement": False, "every": 3, "maximum_wait_seconds": 40e-6}, (100, 1, 0, NEVER), 100),
        (
            {"on_engagement": False, "every": 9, "maximum_wait_seconds": 1e-6, "minimum_interval_seconds": 30e-6},
            (100, 7, 5, 90),
            120,  # the interval is kept even where the wait is over before
        ),
    ],
)
def test_due_at_by_hand(config: dict, state: tuple[int, int, int, int], expected: int) -> None:
    assert due(TriggerConfig(**config), *state) == expected


@given(CONFIGS, st.integers(0, 50), st.integers(0, 5), st.integers(0, 5), st.none() | st.integers(0, 50))
def test_more_engagements_never_make_it_later(
    config: TriggerConfig, touched: int, total: int, more: int, embedded: int | None
) -> None:
    embedded_at = NEVER if embedded is None else embedded * SECOND
    before, after = (due(config, touched * SECOND, count, 0, embedded_at) for count in (total, total + more))
    assert after <= before
    waits = max(config.maximum_wait_seconds, config.minimum_interval_seconds) * SECOND
    assert before <= max(touched * SECOND, embedded_at) + waits


@dataclass
class Machine:
    """Items in a store, touched by batches and embedded when due."""

    config: TriggerConfig

    def __post_init__(self) -> None:
        self.store = MemoryStore()
        self.now = 1000 * SECOND
        self.keys = number_keys(range(ITEMS))
        self.touched: dict[int, int] = {}  # item -> first touch since its last embedding
        self.embedded: dict[int, list[int]] = {item: [] for item in range(ITEMS)}

    def touch(self, items: list[int]) -> None:
        with self.store.write() as writer:
            records = unpack(writer.get_many(Table.ITEMS, self.keys), new_items(1))
            np.add.at(records["total"], items, 1)
            writer.put_many(Table.ITEMS, zip(self.keys, pack(records), strict=True))
            numbers = np.unique(items)
            touch(writer, numbers, records[numbers], self.config, self.now)
        for item in items:
            self.touched.setdefault(item, self.now)

    def embed(self) -> None:
        with self.store.write() as writer:
            records = unpack(writer.get_many(Table.ITEMS, self.keys), new_items(1))
            for item, pending in self.pending().items():
                if pending["due_at"] <= self.now:
                    writer.delete_many(Table.PENDING, [self.keys[item]])
                    records[item]["embedded_at"] = self.now
                    records[item]["embedded_total"] = records[item]["total"]
                    self.embedded[item].append(self.now)
                    del self.touched[item]
            writer.put_many(Table.ITEMS, zip(self.keys, pack(records), strict=True))

    def pending(self) -> dict[int, np.void]:
        with self.store.read() as reader:
            values = reader.get_many(Table.PENDING, self.keys)
        return {
            item: unpack([value], np.zeros(1, PENDING))[0] for item, value in enumerate(values) if value is not None
        }

    def check(self) -> None:
        pending = self.pending()
        assert set(pending) == set(self.touched)  # no touched item is lost, and none waits for nothing
        waits = max(self.config.maximum_wait_seconds, self.config.minimum_interval_seconds) * SECOND
        for item, first in self.touched.items():
            last = self.embedded[item][-1] if self.embedded[item] else NEVER
            assert pending[item]["touched_at"] == first
            assert pending[item]["due_at"] <= first + waits
            assert pending[item]["due_at"] <= first or last != NEVER  # new ones at once
            assert pending[item]["trend_stale"] == 1


def run(config: TriggerConfig, steps: list[tuple[str, list[int]]]) -> Machine:
    machine = Machine(config)
    for name, values in steps:
        if name == "touch":
            machine.touch(values)
        elif name == "embed":
            machine.embed()
        else:
            machine.now += values[0] * SECOND
        machine.check()
    return machine


@given(CONFIGS, STEPS)
def test_no_touched_item_is_lost_and_the_interval_is_kept(
    config: TriggerConfig, steps: list[tuple[str, list[int]]]
) -> None:
    machine = run(config, steps)
    machine.now += 20 * SECOND  # longer than any wait
    machine.embed()
    assert machine.pending() == {}
    for instants in machine.embedded.values():
        assert (np.diff(instants) >= config.minimum_interval_seconds * SECOND).all()


@given(CONFIGS, STEPS, st.randoms(use_true_random=False))
def test_the_order_of_batches_at_one_time_does_not_matter(
    config: TriggerConfig, steps: list[tuple[str, list[int]]], random: object
) -> None:
    shuffled, same = [], []
    for step in [*steps, ("wait", [1])]:
        if step[0] == "touch":
            same.append(step)
            continue
        random.shuffle(same)  # type: ignore[attr-defined]
        shuffled += [*same, step]
        same = []
    one, other = run(config, [*steps, ("wait", [1])]), run(config, shuffled)
    assert one.embedded == other.embedded
    assert {item: value.item() for item, value in one.pending().items()} == {
        item: value.item() for item, value in other.pending().items()
    }


def test_an_item_that_is_due_for_another_reason_stays_so() -> None:
    store = MemoryStore()
    lazy = TriggerConfig(on_engagement=False, every=10, maximum_wait_seconds=50)
    items = new_items(1)
    items["total"], items["embedded_at"] = 1, 5 * SECOND
    with store.write() as writer:  # such as new features, which somebody put down as due now
        writer.put(Table.PENDING, number_keys([0])[0], np.array([(7 * SECOND, 7 * SECOND, 0)], PENDING).tobytes())
        touch(writer, int64(0), items, lazy, 9 * SECOND)
        pending = unpack(writer.get_many(Table.PENDING, number_keys([0])), np.zeros(1, PENDING))
    assert pending.tolist() == [(7 * SECOND, 7 * SECOND, 1)]
