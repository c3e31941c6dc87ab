"""Steps see the servers, the device and the model folder that their settings lead to, and what servers lost."""

from pathlib import Path

import pytest

from assets.config import Settings, load_settings
from assets.serving import engines, milvus_server
from assets.serving.engines import Engines, is_there
from assets.serving.store.interface import StoreFaultError
from assets.serving.store.lmdb_store import LmdbStore
from assets.serving.store.meta import GENERATION, put_meta
from assets.storage import write_json
from orchestration import stations
from orchestration.stations import BUILD, RAW_STATION, STATIONS, Station
from orchestration.unchanged import settings_of

INDEX = STATIONS["serving/item_index"]
TRAIN = STATIONS["training/sasrec"]


@pytest.mark.parametrize(
    ("station", "values", "variable"),
    [
        (INDEX, {"store": {"kind": "redis"}}, "THAW_REDIS_URL"),
        (INDEX, {"index": {"kind": "milvus"}}, "THAW_MILVUS_URI"),
        (BUILD, {"transforms": {"engine": "spark_thrift"}}, "THAW_SPARK_HOST"),
    ],
)
def test_another_server_is_another_setting(
    station: Station, values: dict[str, dict[str, str]], variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen(address: str, **given: dict[str, str]) -> str:
        monkeypatch.setenv(variable, address)
        return settings_of(station, load_settings({}, **given))

    assert seen("redis://a", **values) != seen("redis://b", **values)
    assert seen("redis://me:one@a", **values) == seen("redis://me:two@a", **values)
    assert seen("redis://a") == seen("redis://b")  # nothing leads there


def test_auto_is_another_device_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(found: str, device: str) -> tuple[str, str]:
        monkeypatch.setattr(stations, "accelerator", lambda: found)
        settings = load_settings({}, training={"device": device})
        return settings_of(TRAIN, settings), settings_of(RAW_STATION, settings)

    assert seen("cpu", "auto")[0] != seen("cuda", "auto")[0]
    assert seen("cpu", "auto")[1] == seen("cuda", "auto")[1]
    assert seen("cpu", "cpu") == seen("cuda", "cpu")


def test_the_folder_of_the_model_that_encodes_texts_is_read(tmp_path: Path) -> None:
    def reads(model: str) -> list[Path]:
        text = {"columns": ["title"], "encoder": {"kind": "sentence-transformers", "model": model}}
        return RAW_STATION.reads(
            load_settings({}, home=tmp_path, dataset="ml-100k", datasets={"ml-100k": {"text": text}})
        )

    assert tmp_path in reads(str(tmp_path))
    assert len(reads("all-MiniLM-L6-v2")) == len(reads(str(tmp_path))) - 1  # a name, not a folder
    broken = load_settings({}, home=tmp_path, dataset="ml-100k", datasets={"ml-100k": {"text": 3}})
    assert RAW_STATION.reads(broken)  # ingestion says what is wrong


def served(settings: Settings, held: Engines) -> None:
    live = settings.storage.live
    write_json(live / "current.json", {"generation": "g", "previous": None})
    write_json(live / "generations" / "g" / engines.FILE, held.model_dump(mode="json"))


def test_what_servers_lost_is_not_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings({}, home=tmp_path)
    assert not INDEX.unsettled(settings)  # nothing serves
    served(settings, Engines())
    assert not INDEX.unsettled(settings)  # nor is anything opened
    assert not (settings.storage.live / "generations" / "g" / "store").exists()
    served(settings, Engines(store="redis", namespace="n"))
    monkeypatch.setattr(engines, "open_store", lambda _, path: LmdbStore(path))
    assert INDEX.unsettled(settings)  # the server is empty
    with LmdbStore(settings.storage.live / "generations" / "g" / "store") as store, store.write() as writer:
        put_meta(writer, GENERATION, {})
    assert not INDEX.unsettled(settings)
    (settings.storage.live / "current.json").write_text("{")
    assert INDEX.unsettled(settings)


def test_a_server_that_does_not_answer_has_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise StoreFaultError("no answer")

    monkeypatch.setattr(engines, "open_store", gone)
    assert not is_there(Engines(store="redis", namespace="n"), tmp_path)
    assert is_there(Engines(), tmp_path)
    milvus = Engines(index="milvus", namespace="n")
    monkeypatch.setattr(milvus_server, "collections", lambda _: [])
    monkeypatch.setenv(milvus_server.URI, "http://milvus:19530")
    assert not is_there(milvus, tmp_path)
    monkeypatch.setattr(milvus_server, "collections", lambda _: ["thaw_n_1"])
    assert is_there(milvus, tmp_path)
    monkeypatch.setattr(milvus_server, "collections", gone)
    assert not is_there(milvus, tmp_path)
    monkeypatch.setenv(milvus_server.URI, "folder/lite.db")
    assert is_there(milvus, tmp_path)
