"""The Python API on a store whose answers can be worked out by hand."""

import threading
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from assets.ingestion.landing.removed import add_removed
from assets.serving.live.generation import NoIndexError
from assets.serving.retrieval.catalog import Catalog
from assets.serving.retrieval.retriever import UnknownItemError
from assets.serving.store.deltas import append_delta
from assets.serving.store.interface import StoreFaultError, Table
from assets.serving.store.records import ITEM, pack, unpack
from assets.storage import Storage
from tests.assets.serving.retrieval.stress import Stress
from tests.assets.serving.retrieval.world import EMBEDDED_AT, WATERMARK_AT, World


def ids(answer) -> list[str]:
    return [result.item_id for result in answer.results]


def number(world: World, item: str) -> int:
    with world.store.read() as reader:
        return int.from_bytes(reader.get(Table.NUMBERS, item.encode()), "big")


def test_a_known_user_gets_its_own_group_first_without_what_it_has_seen(world: World) -> None:
    with world.retriever() as retriever:
        (answer,) = retriever.recommend(["u2"], k=world.half)
    assert (answer.user_id, answer.has_history) == ("u2", True)
    assert set(ids(answer)[:4]) == set(world.members(2, 1)) - {"g2-0-1"}
    assert [result.score for result in answer.results] == [1, 1, 1, 1, 0]
    first = answer.results[0]
    place = number(world, first.item_id)
    assert first.title == f"Title {first.item_id}"
    assert first.engagements == place + 1
    assert first.age_days == place
    assert first.embedded_at == datetime.fromtimestamp(EMBEDDED_AT / 1e6, UTC)
    assert first.why is None


def test_an_unknown_user_gets_what_is_popular_and_is_told_so(world: World) -> None:
    with world.retriever() as retriever:
        known, unknown = retriever.recommend(["u0", "nobody"], k=3)
        everything = retriever.recommend(["nobody"], k=1000)[0]
    assert known.has_history
    assert not unknown.has_history
    present = [item for group in range(world.groups) for item in world.members(group, 1)]
    expected = sorted(present, key=lambda item: -number(world, item))  # decayed counts are numbers + 1
    assert ids(unknown) == expected[:3]
    assert [result.score for result in unknown.results] == pytest.approx(
        [number(world, item) + 1 for item in expected[:3]]
    )
    assert ids(everything) == expected


def test_why_names_the_nearest_items_of_the_history_by_cosine(world: World) -> None:
    with world.retriever() as retriever:
        known, unknown = retriever.recommend(["u1", "nobody"], k=5, why=True)
    reasons = [result.why for result in known.results]
    assert [(why[0].item_id, why[0].title, why[0].cosine) for why in reasons] == [
        ("anchor-1", "Title anchor-1", 1.0)
    ] * 4 + [("anchor-1", "Title anchor-1", 0.0)]
    assert {result.why for result in unknown.results} == {()}


def test_only_new_items_on_request(world: World) -> None:
    """Items 0, 1, 2 ... became available 0, 1, 2 ... days before the latest engagement."""
    with world.retriever(new_item_days=7) as retriever:
        known, unknown = retriever.recommend(["u0", "nobody"], k=10, new_only=True)
    new = {item for item in world.members(0, 1) if number(world, item) <= 7}
    assert len(new) == 4
    assert set(ids(known)) == new - {"g0-0-1"}
    assert ids(unknown) == sorted(new, key=lambda item: -number(world, item))


def test_similar_items_are_ordered_by_cosine_not_by_length(world: World) -> None:
    for _ in range(4):
        world.step(3)  # group 3 has long vectors now
    with world.store.write() as writer:
        tilted = np.array([[0.6, 0, 0, 0.8, 0, 0]], np.float32) * 9
        append_delta(writer, 0, ["g0-0-0"], tilted)
    with world.retriever() as retriever:
        answer = retriever.similar("g0-1-1", k=5)
    assert (answer.item_id, answer.title) == ("g0-1-1", "Title g0-1-1")
    assert set(ids(answer)[:4]) == set(world.members(0, 1)) - {"g0-1-1"}
    assert ids(answer)[4] == "g0-0-0"
    assert [result.score for result in answer.results] == pytest.approx([1, 1, 1, 1, 0.6])


def test_errors_name_what_is_wrong(world: World) -> None:
    with world.retriever() as retriever:
        with pytest.raises(UnknownItemError, match="'anchor-1' is not in the index"):
            retriever.similar("anchor-1")
        with pytest.raises(ValueError, match="k must be at least 1"):
            retriever.recommend(["u1"], k=0)
        with pytest.raises(ValueError, match="k must be at least 1"):
            retriever.similar("g0-0-1", k=0)
        with pytest.raises(ValueError, match="user id is empty"):
            retriever.recommend(["u1", ""])
        assert retriever.recommend([]) == []


def test_without_a_generation_the_error_says_what_to_run(tmp_path) -> None:
    with pytest.raises(NoIndexError, match="thaw run"):
        World.retriever(type("Empty", (), {"storage": Storage(tmp_path, "toy"), "_serving": None})())


def made_popular(world: World) -> str:
    """An item that a delta brings into the index, and that is by far the most popular from then on."""
    world.step(0)
    item = world.members(0, 2)[2]
    key = number(world, item).to_bytes(4, "big")
    with world.store.write() as writer:
        record = unpack([writer.get(Table.ITEMS, key)], np.zeros((), ITEM))
        record["decayed"] = 1e6
        writer.put(Table.ITEMS, key, pack(record)[0])
    return item


@pytest.mark.parametrize(("compacted", "what"), [(False, "updated"), (True, "load")])
def test_what_a_refresh_that_failed_did_not_read_is_read_by_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch, compacted: bool, what: str
) -> None:
    def fail(*_: object) -> None:
        raise StoreFaultError("the connection broke, once")

    with world.retriever() as retriever:
        popular = made_popular(world)
        if compacted:
            world.compact()
        with monkeypatch.context() as broken:
            broken.setattr(Catalog, what, fail)
            with pytest.raises(StoreFaultError):
                retriever.refresh()
        assert retriever.lag == 0  # the index has gone on, and will not say again what changed
        assert not retriever.refresh()
        assert ids(retriever.recommend(["nobody"], k=1)[0]) == [popular]
        monkeypatch.setattr(Catalog, "load", fail)
        retriever.refresh()  # once is enough


def test_refresh_follows_deltas_and_popularity_with_them(world: World) -> None:
    with world.retriever() as retriever:
        assert not retriever.refresh()
        assert retriever.version.seq == 0
        popular = made_popular(world)
        assert retriever.lag == 1
        assert popular not in ids(retriever.recommend(["nobody"], k=1)[0])
        assert retriever.refresh().applied[0][0] == 1
        assert (retriever.lag, retriever.version.seq, retriever.version.watermark) == (0, 1, WATERMARK_AT)
        assert ids(retriever.recommend(["nobody"], k=1)[0]) == [popular]
        assert set(ids(retriever.recommend(["u0"], k=4)[0])) == set(world.members(0, 2)) - {"g0-0-0"}
        assert retriever.size == world.groups * world.half


def test_what_was_removed_is_gone_at_once_even_before_any_delta(world: World) -> None:
    with world.retriever() as retriever:
        add_removed(world.storage, users=["u1"], items=["g2-1-1"])
        own, forgotten = retriever.recommend(["u2", "u1"], k=world.half)
        assert "g2-1-1" not in ids(own)
        assert "g2-2-1" in ids(own)
        assert not forgotten.has_history
        assert "g2-1-1" not in ids(retriever.recommend(["nobody"], k=1000)[0])
        assert "g2-1-1" not in ids(retriever.similar("g2-2-1", k=1000))
        assert retriever.users() == [f"u{group}" for group in range(world.groups) if group != 1]
        with pytest.raises(UnknownItemError):
            retriever.similar("g2-1-1")


def test_an_item_that_was_removed_explains_nothing(world: World) -> None:
    with world.retriever() as retriever:
        add_removed(world.storage, items=["anchor-1"])
        answer = retriever.recommend(["u1"], k=2, why=True)[0]
    assert [result.why for result in answer.results] == [(), ()]


def test_a_new_generation_is_taken_over_and_the_old_one_closed_after_its_last_query(world: World) -> None:
    with world.retriever() as retriever:
        second = World(world.storage, name="second")
        second.step(0)
        old = retriever._switch._held.value
        closed = []
        close = old.close
        old.close = lambda: (closed.append(True), close())
        with retriever._switch.using():
            second.promote()
            followed = retriever.refresh()
            assert followed.reloaded
            assert [seq for seq, _ in followed.applied] == [1]
            assert retriever.version == replace(retriever.version, generation="second", seq=1)
            assert closed == []
        assert closed == [True]
        assert not retriever.refresh()
        second.store.close()
    with pytest.raises(RuntimeError, match="closed"):
        retriever.recommend(["u1"])


def test_queries_updates_compactions_and_generation_switches_at_once(world: World) -> None:
    """Two generations of the same content take turns; versions may go back with them, so each is asked for its own."""
    second = World(world.storage, name="second")
    with world.retriever() as retriever:
        stop = threading.Event()

        def turn() -> None:
            while not stop.is_set():
                for each in (second, world):
                    each.promote()
                    stop.wait(0.15)

        def ask(group: int) -> tuple[list[str], list[float]]:
            user, _ = world.user(group)
            results = retriever.recommend([user], k=world.half)[0].results
            return [result.item_id for result in results], [result.score for result in results]

        turning = threading.Thread(target=turn)
        turning.start()
        # Going back is no problem here: twenty of them would end the round, on a slow machine too soon.
        stress = Stress(
            world, ask, lambda group: world.user(group)[1], retriever.refresh, pause=0.002, may_go_back=True
        )
        outcome = stress.run(2.5, lambda so_far: so_far.queries > 50)
        stop.set()
        turning.join()
    second.store.close()
    assert outcome.problems == []
    assert outcome.queries > 50


def test_queries_updates_and_compactions_at_once(world: World) -> None:
    with world.retriever() as retriever:

        def ask(group: int) -> tuple[list[str], list[float]]:
            results = retriever.recommend([world.user(group)[0]], k=world.half, why=True)[0].results
            return [result.item_id for result in results], [result.score for result in results]

        stress = Stress(world, ask, lambda group: world.user(group)[1], retriever.refresh, pause=0.002)
        outcome = stress.run(2, lambda so_far: so_far.queries > 50 and so_far.deltas > 25)
        assert outcome.problems == []
        assert outcome.queries > 50
        assert outcome.deltas > 25
        retriever.refresh()
        assert retriever.version.seq == outcome.deltas
