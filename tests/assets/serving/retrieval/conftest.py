from collections.abc import Iterator
from pathlib import Path

import pytest

from assets.storage import Storage
from tests.assets.serving.retrieval.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(Storage(tmp_path / "data", "toy"))
    world.promote()
    yield world
    world.store.close()
