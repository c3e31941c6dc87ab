"""The live path with its index on Milvus, chosen by configuration."""

from pathlib import Path

import pytest

from tests.extras.needs import needs

needs("pymilvus", "milvus_lite")

from assets.serving.live.build import renew  # noqa: E402
from assets.serving.live.generation import open_generation, require_current  # noqa: E402 - behind the extra
from assets.serving.live.maintain import maintain_index  # noqa: E402
from assets.serving.milvus_server import collections  # noqa: E402
from assets.stream import load_tables  # noqa: E402
from tests.assets.serving.live.conftest import MODEL, NOW, trained_home  # noqa: E402, F401 - a fixture
from tests.assets.serving.live.logical import unlike  # noqa: E402
from tests.extras.replayed import compared, replay, settings_with, state, ticking  # noqa: E402


@pytest.fixture(autouse=True)
def _server(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THAW_MILVUS_URI", str(tmp_path_factory.mktemp("milvus") / "lite.db"))


def test_after_a_replay_the_index_is_what_batch_code_makes_and_answers_as_faiss_does(
    trained_home: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    on_milvus = replay(trained_home, tmp_path / "milvus", index="milvus")
    found = compared(on_milvus)
    assert not found, found.examples
    assert found.compared["vector in the index"] > 0
    assert not unlike(state(on_milvus), state(replay(trained_home, tmp_path / "faiss")))

    generation = require_current(on_milvus.storage)
    namespace = generation.engines.namespace
    with open_generation(on_milvus.storage) as opened:
        maintain_index(opened, on_milvus, NOW + 10**9, force=True)
    assert len(collections(namespace)) <= 2  # the latest, and the one that a reader may have just read the name of
    assert not compared(on_milvus)

    settings, clock = settings_with(on_milvus.home), ticking()
    for _ in range(2):
        renew(settings.storage, settings, load_tables(settings.storage), MODEL, 0, clock())
    assert collections(namespace) == []
