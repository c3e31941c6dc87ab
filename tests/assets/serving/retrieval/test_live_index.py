"""The live index against the store it follows: order, wholeness, gaps, damage, and everything at once."""

import threading
from unittest.mock import patch

import numpy as np
import pytest
from safetensors import safe_open

from assets.serving import index_file
from assets.serving.index_file import IndexFileError
from assets.serving.ivf_index import Change, IvfIndex
from assets.serving.retrieval.live_index import LiveIndex, LiveIndexError
from assets.serving.store.interface import Table
from assets.serving.store.meta import SNAPSHOT, get_meta, put_meta
from assets.serving.store.records import instant_key
from tests.assets.serving.retrieval.stress import Stress
from tests.assets.serving.retrieval.world import World

CLOCK = 1_234


def live(world: World) -> LiveIndex:
    return LiveIndex(world.store, world.generation.snapshots, lambda: CLOCK)


def axis(world: World, group: int) -> np.ndarray:
    return np.eye(world.groups, dtype=np.float32)[[group]]


def along(index: LiveIndex, world: World, group: int) -> tuple[set[str], set[float]]:
    found = index.search(axis(world, group), world.half)
    return set(found.ids[0]), set(found.scores[0].tolist())


def assert_state(index: LiveIndex, world: World) -> None:
    """The index answers with the world's present state, from both of its copies."""
    for _ in range(2):
        for group, version in world.versions.items():
            assert along(index, world, group) == (set(world.members(group, version)), {float(version)})
        assert index.size == world.groups * world.half
        index._twin.write(lambda indexed: None)  # a change of nothing: the other copy answers from now on


def test_it_opens_at_the_snapshot_with_every_delta_after_it(world: World) -> None:
    for group in (0, 3, 0):
        world.step(group)
    index = live(world)
    assert index.seq == 3
    assert_state(index, world)


def test_refresh_applies_what_came_in_order_and_says_what_it_did(world: World) -> None:
    index = live(world)
    assert not index.refresh()
    world.step(1)
    world.step(1)
    world.step(4)
    followed = index.refresh()
    assert followed
    assert not followed.reloaded
    assert followed.applied == [(1, CLOCK), (2, CLOCK), (3, CLOCK)]
    assert set(followed.touched) == {
        *world.members(1, 1),
        *world.members(1, 2),
        *world.members(4, 1),
        *world.members(4, 2),
    }
    assert index.seq == 3
    assert_state(index, world)
    assert not index.refresh()


def test_a_newer_snapshot_is_loaded_even_at_the_same_number(world: World) -> None:
    index = live(world)
    world.step(2)
    index.refresh()
    world.compact()
    followed = index.refresh()
    assert (followed.reloaded, followed.applied) == (True, [(1, CLOCK)])
    assert_state(index, world)
    assert not index.refresh()


def test_deltas_that_a_compaction_took_in_are_found_in_its_snapshot(world: World) -> None:
    index = live(world)
    world.step(2)
    world.step(5)
    world.compact()
    world.step(2)
    assert index.refresh().reloaded
    assert index.seq == 3
    assert_state(index, world)


def test_a_missing_delta_is_an_error_and_searches_go_on(world: World) -> None:
    index = live(world)
    world.step(0)
    world.step(0)
    with world.store.write() as writer:
        writer.delete_many(Table.DELTAS, [instant_key(1)])
    with pytest.raises(LiveIndexError, match="deltas after it"):
        index.refresh()
    assert along(index, world, 0) == (set(world.members(0, 1)), {1.0})


def test_no_snapshot_is_an_error_that_says_what_to_do(world: World) -> None:
    with world.store.write() as writer:
        writer.delete_many(Table.META, [SNAPSHOT.encode()])
    with pytest.raises(LiveIndexError, match="materialize serving/item_index"):
        live(world)


def test_a_damaged_snapshot_is_an_error(world: World) -> None:
    path = next(world.generation.snapshots.iterdir())
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(IndexFileError):
        live(world)


def test_a_snapshot_replaced_while_it_is_loaded_is_read_again(world: World) -> None:
    load = IvfIndex.load
    calls = []

    def replaced_meanwhile(path):
        if not calls:
            calls.append(path)
            world.step(1)
            world.compact()
        return load(path)

    with patch.object(IvfIndex, "load", side_effect=replaced_meanwhile):
        index = live(world)
    assert index.seq == 1
    assert_state(index, world)


def test_a_snapshot_removed_just_before_it_is_opened_is_read_again(world: World) -> None:
    calls = []

    def removed_meanwhile(path, **options):
        if not calls:
            calls.append(path)
            world.step(1)
            world.compact()
            world.compact()  # a replaced snapshot is kept until the next one
            assert not path.exists()
        return safe_open(path, **options)

    with patch.object(index_file, "safe_open", side_effect=removed_meanwhile):
        index = live(world)
    assert calls
    assert index.seq == 1
    assert_state(index, world)


def test_a_snapshot_whose_content_went_with_its_replacement_is_read_again(world: World) -> None:
    """An index on a server: the file is there, what it names was dropped by a compaction."""
    load, calls = IvfIndex.load, []

    def dropped_meanwhile(path):
        if not calls:
            calls.append(path)
            world.step(1)
            world.compact()
            raise IndexFileError("collection c is no longer on the server")
        return load(path)

    with patch.object(IvfIndex, "load", side_effect=dropped_meanwhile):
        index = live(world)
    assert index.seq == 1
    assert_state(index, world)


@pytest.mark.parametrize("failing_call", [1, 2])
def test_a_change_that_fails_half_way_is_made_good_by_the_next_refresh(world: World, failing_call: int) -> None:
    index = live(world)
    apply, calls = IvfIndex.apply, []

    def failing(self: IvfIndex, change: Change) -> None:
        calls.append(change)
        if len(calls) == failing_call:
            self.remove(change.removed)
            raise MemoryError("no room")
        apply(self, change)

    world.step(0)
    with patch.object(IvfIndex, "apply", failing), pytest.raises(MemoryError):
        index.refresh()
    assert along(index, world, 0)[1] == {float(failing_call)}  # the old state or the new one, whole
    assert index.refresh().reloaded
    assert_state(index, world)


def test_two_refreshes_at_once_apply_every_delta_once(world: World) -> None:
    index = live(world)
    for _ in range(30):
        world.step(0)
    applied: list[tuple[int, int]] = []
    threads = [threading.Thread(target=lambda: applied.extend(index.refresh().applied)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [seq for seq, _ in sorted(applied)] == list(range(1, 31))
    assert_state(index, world)


def test_a_reader_keeps_its_state_while_updates_come(world: World) -> None:
    index = live(world)
    world.step(0)
    with index.reading() as indexed:
        refreshing = threading.Thread(target=index.refresh)
        refreshing.start()
        while index.seq == 0:  # new readers see the delta while this one still reads
            pass
        assert indexed.seq == 0
        assert set(indexed.index.search(axis(world, 0), world.half).ids[0]) == set(world.members(0, 1))
    refreshing.join()
    assert_state(index, world)


def test_searching_among_items_is_exact_and_passes_over_the_unknown(world: World) -> None:
    index = live(world)
    chosen = [
        *world.members(0, 1)[:2],
        *world.members(1, 1)[:1],
        *world.members(0, 2),
        "nowhere",
        world.members(0, 1)[0],
    ]
    found = index.search_among(chosen, axis(world, 0), 5, [[world.members(0, 1)[0]]])
    assert found.ids.tolist() == [[world.members(0, 1)[1], world.members(1, 1)[0], None, None, None]]
    assert found.scores[0, :2].tolist() == [1.0, 0.0]


def test_queries_updates_and_compactions_at_once(world: World) -> None:
    index = live(world)

    def hidden(group: int) -> list[str]:
        return [f"g{group}-0-0", f"g{group}-1-1"]

    def ask(group: int) -> tuple[list[str], list[float]]:
        found = index.search(axis(world, group), world.half, [hidden(group)])
        return found.ids[0].tolist(), found.scores[0].tolist()

    outcome = Stress(world, ask, hidden, index.refresh).run(
        3, lambda so_far: so_far.queries > 200 and so_far.compactions > 1 and so_far.oldest > 1
    )
    assert outcome.problems == []
    assert outcome.queries > 200
    assert outcome.compactions > 1
    assert outcome.oldest > 1
    index.refresh()
    with world.store.read() as reader:
        assert get_meta(reader, SNAPSHOT)["seq"] <= index.seq
    assert index.seq == outcome.deltas
    assert_state(index, world)


def test_a_snapshot_of_another_state_would_be_noticed(world: World) -> None:
    """The check itself can fail: an index that lags behind is not the world's state."""
    index = live(world)
    world.step(0)
    with pytest.raises(AssertionError):
        assert_state(index, world)
    assert world.problems(0, ["g0-1-0", "g0-2-1"], [2.0, 2.0], [])
    assert world.problems(0, ["g0-1-0", "g0-1-0"], [2.0, 2.0], [])
    assert world.problems(0, ["g0-1-0"], [2.0], ["g0-1-0"])
    assert world.problems(0, ["g0-1-0", "g0-2-0"], [2.0, 4.0], [])
    with world.store.write() as writer:
        put_meta(writer, SNAPSHOT, {"seq": 0, "file": "gone.safetensors"})
    with pytest.raises(LiveIndexError, match="missing"):
        index.refresh()
