"""The asset and its check, on a fake checkpoint."""

import subprocess
import sys
from typing import Any

import dagster as dg
import numpy as np
import pytest

from assets import keys
from assets.config import IndexConfig, Settings
from assets.serving.assets import ASSETS
from assets.serving.build import index_path
from assets.serving.checks import CHECKS
from assets.serving.exact_index import ExactIndex
from assets.serving.ivf_index import IvfIndex
from assets.storage import Storage
from assets.training import checkpoints
from tests.assets.serving.fakes import ITEMS, RandomRecommender

Manifests = dict[str, dict[str, Any]]


@pytest.fixture
def manifests(monkeypatch: pytest.MonkeyPatch, recommender: RandomRecommender) -> Manifests:
    """What the fake checkpoints' manifests say; only sasrec can be loaded."""
    known: Manifests = {
        name: {
            "model": name,
            "kind": kind,
            "seed": 0,
            "data_version": "abc",
            "metrics": {"validation": {"ndcg@10": ndcg}},
        }
        for name, kind, ndcg in [("popularity", "counting", 0.9), ("two_tower", "net", 0.1), ("sasrec", "net", 0.2)]
    }
    monkeypatch.setattr(checkpoints, "read_manifest", lambda storage, model, seed: known[model])
    monkeypatch.setattr(
        checkpoints, "load_recommender", lambda storage, model, seed, tables: {"sasrec": recommender}[model]
    )
    return known


def settings_for(storage: Storage, minimum_recall: float = 0.95) -> Settings:
    return Settings(
        dataset=storage.dataset,
        home=storage.root.parent,
        models=("popularity", "two_tower", "sasrec"),
        index=IndexConfig(queries=10, minimum_recall=minimum_recall),
    )


def materialize(storage: Storage, settings: Settings, selection: Any = None) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [*ASSETS, *CHECKS],
        resources={"storage": storage, "settings": settings},
        selection=selection,
        raise_on_error=False,
    )


def only_check() -> dg.AssetSelection:
    return dg.AssetSelection.checks_for_assets(dg.AssetKey(keys.ITEM_INDEX))


def test_the_index_holds_the_best_nets_items_and_passes_its_check(
    storage: Storage, recommender: RandomRecommender, manifests: Manifests
) -> None:
    result = materialize(storage, settings_for(storage))
    assert result.success
    assert [check.passed for check in result.get_asset_check_evaluations()] == [True]

    index = IvfIndex.load(index_path(storage))
    assert index.size == ITEMS
    np.testing.assert_array_equal(index.vectors(["i007"])[0], recommender.items[7].numpy())
    assert (index.metadata["model"], index.metadata["seed"], index.metadata["tables"]) == ("sasrec", 0, "abc")
    assert index.metadata["instant"] == "2020-01-13T11:00:00.000001Z"

    metadata = result.asset_materializations_for_node("serving__item_index")[0].metadata
    assert metadata["model"].value == "sasrec"
    assert metadata["items"].value == ITEMS
    assert metadata["queries"].value == 10
    assert float(str(metadata["recall_at_10"].value)) >= 0.95
    assert "title of i" in str(metadata["example"].value)


def test_the_check_fails_a_saved_index_that_probes_too_little(storage: Storage, manifests: Manifests) -> None:
    settings = settings_for(storage)
    assert materialize(storage, settings).success
    index = IvfIndex.load(index_path(storage))
    index.nprobe = 1
    index.save(index_path(storage))
    evaluations = materialize(storage, settings, only_check()).get_asset_check_evaluations()
    assert [check.passed for check in evaluations] == [False]
    assert float(evaluations[0].metadata["recall"].value) < 0.95  # type: ignore[arg-type]
    lenient = materialize(storage, settings_for(storage, minimum_recall=0.05), only_check())
    assert [check.passed for check in lenient.get_asset_check_evaluations()] == [True]


def test_the_check_refuses_an_index_of_another_checkpoint(storage: Storage, manifests: Manifests) -> None:
    settings = settings_for(storage)
    assert materialize(storage, settings).success
    manifests["sasrec"]["metrics"]["validation"]["ndcg@10"] = 0.3
    result = materialize(storage, settings, only_check())
    assert not result.success
    assert "another checkpoint of sasrec" in str(result.all_events)


def test_a_file_of_another_kind_fails_the_check_loudly(storage: Storage, manifests: Manifests) -> None:
    ExactIndex(8).save(index_path(storage), {"model": "sasrec", "seed": 0})
    result = materialize(storage, settings_for(storage), only_check())
    assert not result.success
    assert "of kind 'exact'" in str(result.all_events)


def test_definitions_name_group_owner_kinds_and_description() -> None:
    asset = ASSETS[0]
    key = dg.AssetKey(keys.ITEM_INDEX)
    assert asset.keys == {key}
    assert asset.group_names_by_key[key] == keys.SERVING
    assert dg.AssetKey(keys.TABLES) in asset.dependency_keys
    assert dg.AssetKey(keys.checkpoint("sasrec")) in asset.dependency_keys
    assert asset.owners_by_key[key] == [keys.OWNER]
    assert asset.descriptions_by_key[key]


def test_loading_the_definitions_does_not_load_the_index_library() -> None:
    command = "import sys, assets.serving.assets, assets.serving.checks; sys.exit('faiss' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
