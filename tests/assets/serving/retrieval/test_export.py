from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
import pytest

from assets.ingestion.landing.removed import add_removed
from assets.serving.retrieval import export as module
from assets.serving.retrieval.export import export
from tests.assets.serving.retrieval.world import World


@pytest.fixture(autouse=True)
def _small_batches() -> None:
    with patch.object(module, "ITEMS_PER_BATCH", 7), patch.object(module, "USERS_PER_BATCH", 4):
        yield


def test_it_holds_every_item_and_every_user_with_a_history(world: World, tmp_path: Path) -> None:
    world.step(1)
    said = []
    with world.retriever() as retriever:
        exported = export(retriever, tmp_path / "out", k=4, progress=lambda *step: said.append(step))
        single = retriever.recommend(["u3"], k=4)[0]
    embeddings = pq.read_table(exported.embeddings)
    assert (exported.items, exported.users) == (world.groups * world.half, world.groups)
    expected = {
        item: world.vectors(g, v)[0].tolist() for g, v in world.versions.items() for item in world.members(g, v)
    }
    assert dict(zip(*embeddings.to_pydict().values(), strict=True)) == expected
    frame = pq.read_table(exported.recommendations).to_pandas()
    assert frame["user_id"].drop_duplicates().tolist() == [f"u{group}" for group in range(world.groups)]
    own = frame[frame["user_id"] == "u3"]
    assert own["rank"].tolist() == [1, 2, 3, 4]
    assert own["item_id"].tolist() == [result.item_id for result in single.results]
    np.testing.assert_allclose(own["score"], [result.score for result in single.results])
    assert said[-1] == ("users", world.groups, world.groups)
    assert ("items", 28, 30) in said


def test_removed_ones_are_in_neither_file(world: World, tmp_path: Path) -> None:
    with world.retriever() as retriever:
        add_removed(world.storage, users=["u0"], items=["g1-1-1"])
        exported = export(retriever, tmp_path, k=30)
    assert "g1-1-1" not in pq.read_table(exported.embeddings)["item_id"].to_pylist()
    recommended = pq.read_table(exported.recommendations)
    assert "g1-1-1" not in recommended["item_id"].to_pylist()
    assert "u0" not in recommended["user_id"].to_pylist()


def test_a_failed_export_leaves_the_old_files(world: World, tmp_path: Path) -> None:
    with world.retriever() as retriever:
        first = export(retriever, tmp_path, k=2)
        before = first.recommendations.read_bytes()
        with patch.object(type(retriever), "recommend", side_effect=MemoryError), pytest.raises(MemoryError):
            export(retriever, tmp_path, k=5)
        with pytest.raises(ValueError, match="k must be"):
            export(retriever, tmp_path, k=0)
    assert first.recommendations.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "embeddings.parquet",
        "recommendations.parquet",
    ]
