"""Content on the live path: of the base's items, of items that land with it and without, and of new versions."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from assets.ingestion.content import CONTENT, with_column
from assets.ingestion.landing.places import Kind
from assets.ingestion.tables import items_table
from assets.serving.live.build import renew
from assets.serving.live.content import packed, unpacked
from assets.serving.live.embedder import item_inputs
from assets.serving.live.generation import require_current
from assets.serving.live.items import Details
from assets.serving.store.numbers import numbers_for
from assets.serving.store.records import number_keys, pack_features, unpack_features
from assets.storage import Storage
from assets.stream import load_tables
from assets.training.saving import save_checkpoint
from assets.training.train import train
from tests.assets.serving.live.conftest import CUTOFF, GENRES, MODEL, NOW, Live, tiny_rows, tiny_settings
from tests.support import interactions_frame, write_tables

WIDE = 3
Landing = Mapping[str, Sequence[float] | None]


def make_dataset(root: Path) -> Storage:
    """The tiny dataset with content of most items."""
    rows, random = tiny_rows(), np.random.default_rng(1)
    items = sorted({row[1] for row in rows})
    return write_tables(
        root,
        interactions_frame(rows),
        cutoff=CUTOFF,
        validation_start="2024-03-03",
        item_features={"genre": {item: GENRES[: at % 4] for at, item in enumerate(items)}},
        item_content={item: random.normal(2, 3, WIDE).tolist() for at, item in enumerate(items) if at % 5},
    )


@pytest.fixture(params=[MODEL])
def dense(tmp_path: Path, request: pytest.FixtureRequest) -> Live:
    """Trained and served, of items with content."""
    settings = tiny_settings(tmp_path)
    storage = make_dataset(tmp_path)
    tables = load_tables(storage)
    save_checkpoint(storage, train(request.param, tables, settings))
    renew(storage, settings, tables, request.param, 0, NOW)
    require_current(storage)
    return Live(storage, settings, tables)


def land(live: Live, items: Landing) -> None:
    table = items_table(
        pa.array(items, pa.string()),
        features={"genre": pa.array([["war"]] * len(items), pa.list_(pa.string()))},
    )
    content = pa.array([None if one is None else list(one) for one in items.values()], CONTENT)
    live._write(Kind.ITEMS, with_column(table, content), f"{live.now} {items}")


def stored(live: Live, items: Sequence[str]) -> list[list[float]]:
    with live.opened() as opened, opened.store.read() as reader:
        inputs = item_inputs(reader, opened.model, number_keys(numbers_for(reader, list(items))))
        return inputs.content.tolist()


def test_the_base_is_the_batch_state(dense: Live) -> None:
    assert not dense.compare()
    known = dense.tables.catalog.frame.set_index("item_id")["content"]
    with_content, without = known.dropna().index[0], known.index[known.isna()][0]
    first, second = stored(dense, [with_content, without])
    assert first == known[with_content].tolist()
    assert np.isnan(second).all()


@pytest.mark.parametrize("dense", [MODEL, "hrnn_meta"], indirect=True)
def test_landed_items_are_the_batch_state_with_content_and_without(dense: Live) -> None:
    land(dense, {"rich": [1.0, -2.0, 30.0], "poor": None, "long": None})
    land(dense, {"long": [1.0, 2.0, 3.0, 4.0]})  # of another encoder: as if it had none
    dense.land([("u01", "named by engagement only", "2024-03-07T01:00:00"), ("u02", "rich", "2024-03-07T02:00:00")])
    dense.process()
    found = dense.compare()
    assert not found, found.examples
    rich, poor, long, named = stored(dense, ["rich", "poor", "long", "named by engagement only"])
    assert rich == [1.0, -2.0, 30.0]
    assert np.isnan([poor, long, named]).all()


def test_the_last_version_counts_with_its_content_or_its_lack(dense: Live) -> None:
    land(dense, {"new": [1.0, 1.0, 1.0], "old": [1.0, 1.0, 1.0]})
    dense.process()
    land(dense, {"new": [9.0, 9.0, 9.0], "old": None})
    dense.process()
    new, old = stored(dense, ["new", "old"])
    assert new == [9.0, 9.0, 9.0]
    assert np.isnan(old).all()
    assert not dense.compare()


def test_content_moves_the_vector_that_is_served(dense: Live) -> None:
    land(dense, {"one": [1.0, 1.0, 1.0], "two": [1.0, 1.0, 1.0], "three": [-30.0, 40.0, 0.0], "bare": None})
    dense.process()
    with dense.opened() as opened, opened.store.read() as reader:
        keys = number_keys(numbers_for(reader, ["one", "two", "three", "bare"]))
        vectors = opened.model.towers.item_vectors(item_inputs(reader, opened.model, keys))
    one, two, three, bare = vectors.detach().numpy()
    np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)
    assert min(np.abs(one - three).max(), np.abs(one - bare).max()) > 1e-6
    assert np.isfinite(vectors.detach().numpy()).all()


@pytest.mark.parametrize("width", [1, 3])
def test_bits_survive_the_store(width: int) -> None:
    numbers = [[float(np.float32(0.1))] * width, None, [-0.0] * width, [3e-39] * width, [1.0] * (width + 1)]
    frame = items_table(pa.array(list("abcde"))).to_pandas().assign(content=numbers)
    rows = pack_features(np.arange(5), [(np.array([7, 8, 9, 7, 7]), np.ones(5, np.int64)), *packed(frame, width)])
    values = [*rows, None]
    ids, (_, behind) = unpack_features(values, 2)
    found = unpacked(behind, values, width)
    wanted = np.full((6, width), np.nan, np.float32)
    for row in (0, 2, 3):
        wanted[row] = numbers[row]
    assert found.tobytes() == wanted.tobytes()
    assert ids.tolist() == [0, 1, 2, 3, 4, 0]


def test_details_hold_no_content() -> None:
    assert b"content" not in Details("a", "t").encoded()
