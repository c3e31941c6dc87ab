import numpy as np
import pytest

from assets.serving.exact_index import ExactIndex
from assets.serving.live import maintain
from assets.serving.live.build import renew
from assets.serving.live.maintain import Maintained, load_index, measure_index
from assets.serving.store.deltas import deltas_after
from assets.serving.store.meta import EPOCH, SNAPSHOT, get_meta
from tests.assets.serving.live.conftest import NOW, Live

DAY = 86_400_000_000
SAME_DAY = [("u01", "i02", "2024-03-06T23:30:00"), ("u02", "i03", "2024-03-06T23:45:00")]
NEXT_DAY = [("u01", "i02", "2024-03-07T00:30:00")]


def advanced(live: Live, rows: list[tuple[str, str, str]]) -> None:
    live.land(rows)
    live.apply()
    assert live.refresh().seq is not None


def snapshot(live: Live) -> dict:
    with live.opened() as opened, opened.store.read() as reader:
        value = get_meta(reader, SNAPSHOT)
        assert value["epoch"] == get_meta(reader, EPOCH)
        return value


def lenient(live: Live, share: float) -> None:
    freshness = live.settings.freshness.model_copy(update={"compact_share": share})
    live.settings = live.settings.model_copy(update={"freshness": freshness})


def test_without_need_nothing_is_made(live: Live) -> None:
    before = snapshot(live)
    result = live.maintain()
    assert (result.reason, result.deltas, result.items) == (None, 0, len(live.tables.catalog))
    assert snapshot(live) == before
    assert {"seq", "file", "epoch", "items", "recall", "created_at"} <= set(before)


def test_few_deltas_are_left_and_many_compacted(live: Live) -> None:
    before = snapshot(live)
    lenient(live, share=2.5 / before["items"])
    advanced(live, [("u01", "i02", "2024-03-05T23:30:00"), ("u02", "i03", "2024-03-05T23:45:00")])
    result = live.maintain()
    assert (result.reason, result.deltas, result.delta_items) == (None, 1, 2)
    assert snapshot(live) == before
    advanced(live, [("u03", "i04", "2024-03-05T23:50:00")])
    result = live.maintain()
    assert (result.reason, result.deltas, result.delta_items) == ("deltas", 0, 0)
    after = snapshot(live)
    assert after["seq"] == before["seq"] + 2 == result.seq
    assert after["epoch"] == before["epoch"]
    with live.opened() as opened, opened.store.read() as reader:
        assert deltas_after(reader, 0) == []
    assert not live.compare()


def test_a_new_day_makes_all_trends_anew(live: Live) -> None:
    lenient(live, share=10)
    advanced(live, [("u01", "i02", "2024-03-06T23:30:00")])
    live.maintain()
    before = snapshot(live)
    advanced(live, NEXT_DAY)
    result = live.maintain()
    assert (result.reason, result.epoch) == ("epoch", before["epoch"] + DAY)
    assert not live.compare()
    assert live.maintain().reason is None


def test_without_a_trend_a_new_day_is_nothing(unbuilt: Live) -> None:
    lenient(unbuilt, share=10)
    renew(unbuilt.storage, unbuilt.settings, unbuilt.tables, "popularity", 0, NOW)
    unbuilt.land(NEXT_DAY)
    unbuilt.apply()
    unbuilt.refresh()
    assert unbuilt.maintain().reason is None
    assert not unbuilt.compare()


def test_on_request_the_quantizer_is_trained_again_under_another_name(live: Live) -> None:
    before = snapshot(live)
    result = live.maintain(force=True)
    assert result.reason == "quantizer"
    assert result.seq == before["seq"]
    assert result.file != before["file"]
    with live.opened() as opened:
        names = {path.name for path in opened.generation.snapshots.iterdir()}
    assert names == {before["file"], result.file}  # who has just read the old name may open it
    live.maintain(force=True)
    with live.opened() as opened:
        assert before["file"] not in {path.name for path in opened.generation.snapshots.iterdir()}


def test_a_kill_before_the_commit_leaves_the_old_snapshot(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    lenient(live, share=0.01)
    advanced(live, SAME_DAY)
    before = snapshot(live)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(maintain, "drop_deltas", killed)
        with pytest.raises(KeyboardInterrupt):
            live.maintain()
    assert snapshot(live) == before
    assert not live.compare()
    assert live.maintain().reason is not None
    with live.opened() as opened:
        kept = {path.name for path in opened.generation.snapshots.iterdir()}
    assert kept == {before["file"], snapshot(live)["file"]}


def test_recall_is_against_exact_search_with_what_users_saw_left_out(live: Live) -> None:
    result = live.maintain(force=True)
    assert result.recall == snapshot(live)["recall"] == 1.0
    assert result.queries == live.settings.index.queries
    assert 0 < result.p50_ms <= result.p99_ms
    with live.opened() as opened:
        measured, sample, index = measure_index(opened, live.settings.index.queries, live.now)
        with opened.store.read() as reader:
            whole = load_index(reader, opened.generation)
    assert measured.recall == 1.0
    exact = ExactIndex(index.dimension)
    exact.build(whole.ids, whole.vectors(whole.ids))
    found = index.search(sample.vectors, 3, sample.seen)
    np.testing.assert_array_equal(found.ids, exact.search(sample.vectors, 3, sample.seen).ids)
    assert not {item for row in found.ids[:1] for item in row} & set(sample.seen[0])


def test_the_index_as_served_has_the_deltas(live: Live) -> None:
    lenient(live, share=10)
    advanced(live, [("u01", "i02", "2024-03-05T23:30:00"), ("u02", "nobody heard of", "2024-03-05T23:45:00")])
    live.maintain()
    with live.opened() as opened:
        _, _, index = measure_index(opened, 4, live.now)
    assert "nobody heard of" in index.ids


def test_compactions_between_are_quick(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintain, "QUICK_QUERIES", 2)
    lenient(live, share=0.01)
    advanced(live, SAME_DAY)
    assert live.maintain().queries == 2
    assert live.maintain(force=True).queries == live.settings.index.queries


def test_every_field_is_told(live: Live) -> None:
    first, again = live.maintain(), live.maintain(force=True)
    for result in (first, again):
        assert isinstance(result, Maintained)
        assert result.nprobe <= result.nlist
        assert result.dimension == 9
        assert result.seconds > 0
