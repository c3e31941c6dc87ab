"""The live path with its state on a Redis server, chosen by configuration."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.extras.needs import needs

needs("redis")

from assets.serving.live.build import renew  # noqa: E402 - behind the extra
from assets.serving.live.generation import require_current  # noqa: E402
from assets.serving.promotion import reason_to_build  # noqa: E402
from assets.serving.store.interface import Table  # noqa: E402
from assets.stream import load_tables  # noqa: E402
from tests.assets.serving.live.conftest import MODEL, trained_home  # noqa: E402, F401 - a fixture
from tests.assets.serving.live.logical import unlike  # noqa: E402
from tests.extras.redis.server import RedisServer, running  # noqa: E402
from tests.extras.replayed import compared, replay, settings_with, state, ticking  # noqa: E402


@pytest.fixture(autouse=True)
def server(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    with running(tmp_path_factory.mktemp("redis")) as server:
        monkeypatch.setenv("THAW_REDIS_URL", server.url)
        yield server


def test_after_a_replay_the_state_is_what_batch_code_makes_and_what_lmdb_holds(
    trained_home: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    on_redis = replay(trained_home, tmp_path / "redis", store="redis")
    generation = require_current(on_redis.storage)
    assert not generation.store.exists()
    found = compared(on_redis)
    assert not found, found.examples
    assert found.compared["vector in the index"] > 0
    assert not unlike(state(on_redis), state(replay(trained_home, tmp_path / "lmdb")))

    # Asked for LMDB again, `thaw run` builds anew; what was on the server goes with its generation.
    settings = settings_with(on_redis.home)
    chosen = reason_to_build(settings.storage, settings, replace=True)
    assert chosen is not None
    client = generation.open_store()._server.client  # type: ignore[attr-defined]
    assert client.dbsize() > 2 * len(Table) / 2
    clock = ticking()
    for _ in range(2):
        renew(settings.storage, settings, load_tables(settings.storage), MODEL, 0, clock())
    assert require_current(settings.storage).engines.store == "lmdb"
    assert client.dbsize() == 0


def test_a_server_that_lost_everything_is_filled_anew_and_one_that_is_down_is_not(
    trained_home: Path,  # noqa: F811
    tmp_path: Path,
    server: RedisServer,
) -> None:
    shutil.copytree(trained_home / "data", tmp_path / "data")
    settings = settings_with(tmp_path, store="redis")
    tables, clock = load_tables(settings.storage), ticking()
    renew(settings.storage, settings, tables, MODEL, 0, clock())
    before = state(settings)
    assert reason_to_build(settings.storage, settings) is None
    server.kill()
    lost = require_current(settings.storage)
    assert reason_to_build(settings.storage, settings) is None, "it may be back in a minute"
    server.start()
    assert require_current(settings.storage) == lost
    lost.open_store()._server.client.flushall()  # type: ignore[attr-defined]
    chosen = reason_to_build(settings.storage, settings)
    assert chosen is not None
    assert "its store (redis) is empty: it was emptied, or the address given is another server's" in chosen.reason
    renew(settings.storage, settings, tables, chosen.model, 0, clock())
    assert not unlike(before, state(settings))


def test_what_serves_elsewhere_than_the_settings_say_is_built_anew(trained_home: Path, tmp_path: Path) -> None:  # noqa: F811
    settings = replay(trained_home, tmp_path)
    assert reason_to_build(settings.storage, settings) is None
    other = reason_to_build(settings.storage, settings_with(tmp_path, store="redis"))
    assert other is not None
    assert "has store lmdb, index ivf, the settings ask for store redis, index ivf" in other.reason
