"""The assets and checks of the freshness path, on a tiny dataset that is served; and the index's."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import dagster as dg
import numpy as np
import pytest

from assets import keys
from assets.config import Settings
from assets.ingestion.landing.assets import ASSETS as LANDING_ASSETS
from assets.serving import promotion
from assets.serving.assets import ASSETS
from assets.serving.checks import CHECKS
from assets.serving.ivf_index import IvfIndex
from assets.serving.live import checks as live_checks
from assets.serving.live.generation import require_current
from assets.serving.live.maintain import load_index
from assets.serving.promotion import reason_to_build
from assets.serving.store.interface import Table
from assets.serving.store.meta import SNAPSHOT, get_meta, put_meta
from assets.serving.store.records import PENDING, number_keys, pack
from assets.storage import read_parquet, write_json, write_parquet
from tests.assets.serving.live.conftest import MODEL, Live

DAY = "2024-03-07"
ROW = ("u01", "i03", "2024-03-07T10:00:00")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(keys.LANDED_PARTITIONS, [DAY])
        yield instance


def run(
    live: Live,
    instance: dg.DagsterInstance,
    selection: Any,
    settings: Settings | None = None,
    partition: str | None = None,
    config: dict[str, bool] | None = None,
) -> dg.ExecuteInProcessResult:
    chosen = dg.AssetSelection.assets(*map(dg.AssetKey, selection)) if isinstance(selection, list) else selection
    return dg.materialize(
        [*LANDING_ASSETS, *ASSETS, *CHECKS],
        resources={"storage": live.storage, "settings": settings or live.settings},
        selection=chosen,
        instance=instance,
        partition_key=partition,
        run_config={"ops": {"serving__item_index": {"config": config}}} if config else None,
        raise_on_error=False,
    )


def check(
    live: Live, instance: dg.DagsterInstance, key: list[str], name: str, **values: Any
) -> dg.AssetCheckEvaluation:
    chosen = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(key), name))
    result = run(live, instance, chosen, **values)
    (found,) = result.get_asset_check_evaluations()
    return found


def metadata(result: dg.ExecuteInProcessResult, key: list[str]) -> dict[str, Any]:
    assert result.success, [event for event in result.all_events if event.is_failure]
    (event,) = [each for each in result.get_asset_materialization_events() if each.asset_key == dg.AssetKey(key)]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_the_first_index_is_built_of_the_best_servable_net(unbuilt: Live, instance: dg.DagsterInstance) -> None:
    result = run(unbuilt, instance, [keys.ITEM_INDEX])
    found = metadata(result, keys.ITEM_INDEX)
    assert (found["model"], found["snapshot"], found["items"]) == (MODEL, "first", len(unbuilt.tables.catalog.item_ids))
    assert (found["queries"], found["recall_at_10"]) == (6, 1.0)
    assert "title of i" in found["example"]
    passed = {each.check_name: each.passed for each in result.get_asset_check_evaluations()}
    assert passed == {"index_recall": True, "snapshot_recall": True}
    assert require_current(unbuilt.storage).name == found["generation"]


def test_a_served_index_is_kept(live: Live, instance: dg.DagsterInstance) -> None:
    before = require_current(live.storage).name
    found = metadata(run(live, instance, [keys.ITEM_INDEX]), keys.ITEM_INDEX)
    assert (found["snapshot"], found["generation"]) == ("kept", before)


def test_another_checkpoint_gets_an_index_of_its_own_unless_told_not_to_build(
    live: Live, instance: dg.DagsterInstance
) -> None:
    before = require_current(live.storage).name
    counting = live.settings.model_copy(update={"models": ("recent_popularity", "popularity")})
    kept = run(live, instance, [keys.ITEM_INDEX], counting, config={"build": False, "retrain": False})
    assert metadata(kept, keys.ITEM_INDEX)["generation"] == before
    assert "example" not in metadata(kept, keys.ITEM_INDEX)
    built = metadata(run(live, instance, [keys.ITEM_INDEX], only(live, "popularity")), keys.ITEM_INDEX)
    assert (built["model"], built["snapshot"]) == ("popularity", "first")
    assert built["generation"] == require_current(live.storage).name != before


def only(live: Live, *models: str) -> Settings:
    return live.settings.model_copy(update={"models": models})


def test_models_that_cannot_serve_are_not_asked(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def manifest(storage: Any, model: str, seed: int) -> dict[str, Any]:
        asked.append(model)
        return {"kind": "counting", "metrics": {"validation": {"ndcg@10": 0.5}}}

    monkeypatch.setattr(promotion, "read_manifest", manifest)
    monkeypatch.setattr(promotion, "needs_build", lambda storage, manifest: "why")
    chosen = reason_to_build(live.storage, only(live, "recent_popularity", "popularity"))
    assert (set(asked), chosen.model, chosen.reason) == ({"popularity"}, "popularity", "why")


def test_the_quantizer_is_trained_anew_on_request(live: Live, instance: dg.DagsterInstance) -> None:
    result = run(live, instance, [keys.ITEM_INDEX], config={"build": False, "retrain": True})
    assert metadata(result, keys.ITEM_INDEX)["snapshot"] == "quantizer"


def test_features_and_embeddings_of_a_landed_batch(live: Live, instance: dg.DagsterInstance) -> None:
    live.land([ROW, ROW, ("u02", "new", "2024-03-07T11:00:00")])
    chain = [keys.ITEM_FEATURES, keys.FRESH_ITEM_EMBEDDINGS, keys.ITEM_INDEX, keys.FRESHNESS_REPORT]
    result = run(live, instance, chain, partition=DAY)
    features = metadata(result, keys.ITEM_FEATURES)
    assert (features["dagster/row_count"], features["duplicates"], features["items_touched"]) == (2, 1, 2)
    embeddings = metadata(result, keys.FRESH_ITEM_EMBEDDINGS)
    assert (embeddings["embedded"], embeddings["deferred"]) == (2, 0)
    assert metadata(result, keys.FRESHNESS_REPORT)["searchable p95"] > 0
    passed = {each.check_name: each.passed for each in result.get_asset_check_evaluations()}
    assert not passed.pop("ats_bound")  # the engagements are years old
    assert len(passed) == 4
    assert all(passed.values())


def test_the_figure_is_not_drawn_for_every_file(live: Live, instance: dg.DagsterInstance) -> None:
    live.land([ROW])
    live.process()
    first = metadata(run(live, instance, [keys.FRESHNESS_REPORT], partition=DAY), keys.FRESHNESS_REPORT)
    again = metadata(run(live, instance, [keys.FRESHNESS_REPORT], partition=DAY), keys.FRESHNESS_REPORT)
    assert "data:image/png;base64," in first["figure"]
    assert "figure" not in again
    assert again["report"] == first["report"]
    os.utime(str(again["figure_path"]), (0, 0))
    assert "figure" in metadata(run(live, instance, [keys.FRESHNESS_REPORT], partition=DAY), keys.FRESHNESS_REPORT)


def test_files_that_landed_are_read_by_partition(live: Live, instance: dg.DagsterInstance) -> None:
    folder = live.storage.landing / "claimed" / DAY
    folder.mkdir(parents=True)
    (folder / "1--engagements--a.csv").write_text("user_id,item_id,timestamp\nu01,i03,2024-03-07T10:00:00Z\n")
    (folder / "2--engagements--b.csv").write_text("who,what\n1,2\n")
    found = metadata(run(live, instance, [keys.LANDED_ENGAGEMENTS], partition=DAY), keys.LANDED_ENGAGEMENTS)
    assert (found["dagster/row_count"], found["files"], found["sources"]) == (1, 1, "a.csv")
    assert list(found["refused"]) == ["b.csv"]


def test_the_recall_check_fails_an_index_that_probes_too_little(
    live: Live, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check(live, instance, keys.ITEM_INDEX, "index_recall").passed
    generation = require_current(live.storage)
    with generation.open_store() as store, store.read() as reader:
        index, file = load_index(reader, generation), get_meta(reader, SNAPSHOT)["file"]
    other = IvfIndex(index.dimension)  # the right ids with the wrong vectors
    other.build(index.ids, -index.vectors(index.ids))
    monkeypatch.setattr(IvfIndex, "load", lambda path: index)
    monkeypatch.setattr(index, "search", other.search)
    found = check(live, instance, keys.ITEM_INDEX, "index_recall")
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.ERROR
    assert file.endswith(".safetensors")


def test_the_snapshots_own_recall_is_checked(live: Live, instance: dg.DagsterInstance) -> None:
    assert check(live, instance, keys.ITEM_INDEX, "snapshot_recall").passed
    with require_current(live.storage).open_store() as store, store.write() as writer:
        put_meta(writer, SNAPSHOT, get_meta(writer, SNAPSHOT) | {"recall": 0.5})
    found = check(live, instance, keys.ITEM_INDEX, "snapshot_recall")
    assert not found.passed
    assert found.metadata["recall"].value == 0.5


def test_pending_items_have_a_bound(live: Live, instance: dg.DagsterInstance) -> None:
    assert check(live, instance, keys.FRESH_ITEM_EMBEDDINGS, "pending_bound").passed
    record = np.zeros(1, PENDING)  # due since 1970
    with require_current(live.storage).open_store() as store, store.write() as writer:
        writer.put_many(Table.PENDING, zip(number_keys([0]), pack(record), strict=True))
    found = check(live, instance, keys.FRESH_ITEM_EMBEDDINGS, "pending_bound")
    assert not found.passed
    assert found.metadata["due_items"].value == 1


def test_latency_has_a_bound(live: Live, instance: dg.DagsterInstance) -> None:
    write_json(live.storage.live / "replay.json", {})
    live.land([ROW])
    live.process()
    metadata(run(live, instance, [keys.FRESHNESS_REPORT], partition=DAY), keys.FRESHNESS_REPORT)
    assert check(live, instance, keys.FRESHNESS_REPORT, "ats_bound").passed
    strict = live.settings.freshness.model_copy(update={"ats_p95_seconds": 0.001})
    found = check(
        live,
        instance,
        keys.FRESHNESS_REPORT,
        "ats_bound",
        settings=live.settings.model_copy(update={"freshness": strict}),
    )
    assert not found.passed
    assert "allowed are 0.001 s" in found.description
    assert "nan" not in found.description


def test_without_landed_engagements_there_is_no_latency_to_check(live: Live, instance: dg.DagsterInstance) -> None:
    metadata(run(live, instance, [keys.FRESHNESS_REPORT], partition=DAY), keys.FRESHNESS_REPORT)
    assert check(live, instance, keys.FRESHNESS_REPORT, "ats_bound").description == "nothing landed yet"


def test_the_state_check_tells_what_differs(
    live: Live, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check(live, instance, keys.FRESH_ITEM_EMBEDDINGS, keys.STATE_EQUALS_BATCH).passed
    monkeypatch.setattr(live_checks, "VECTORS_COMPARED", 5)
    sampled = check(live, instance, keys.FRESH_ITEM_EMBEDDINGS, keys.STATE_EQUALS_BATCH)
    assert sampled.passed
    generation = require_current(live.storage)
    base = read_parquet(generation.base("interactions"))
    write_parquet(generation.base("interactions"), base.iloc[:-1])
    found = check(live, instance, keys.FRESH_ITEM_EMBEDDINGS, keys.STATE_EQUALS_BATCH)
    assert not found.passed
    assert found.metadata["examples"].value.startswith("- ")


def test_definitions_name_group_owner_kinds_and_description() -> None:
    for asset in [*LANDING_ASSETS, *ASSETS]:
        (key,) = asset.keys
        assert asset.group_names_by_key[key] == key.path[0]
        assert asset.owners_by_key[key] == [keys.OWNER]
        assert asset.descriptions_by_key[key]


def test_loading_the_definitions_loads_neither_torch_nor_the_index_library() -> None:
    command = (
        "import sys, assets.serving.assets, assets.serving.checks, orchestration.sensors, orchestration.jobs;"
        " sys.exit(bool({'faiss', 'torch', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
