import base64
from pathlib import Path

import dagster as dg
import pytest

from assets import keys
from assets.config import Settings
from assets.stream import load_tables
from assets.training.assets import ASSETS
from assets.training.checkpoints import load_recommender, read_manifest
from assets.training.registry import MODELS
from tests.assets.training.conftest import GENRES, ROWS
from tests.support import interactions_frame, write_tables

TINY = {"dim": 4, "max_epochs": 2}
NETS = [name for name, entry in MODELS.items() if entry.kind == "net"]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> tuple[dg.ExecuteInProcessResult, Path]:
    root = tmp_path_factory.mktemp("assets")
    storage = write_tables(root, interactions_frame(ROWS), "2024-01-04", "2024-01-03", item_features={"genre": GENRES})
    settings = Settings(home=root, dataset="toy", training={"hyper_parameters": dict.fromkeys(NETS, TINY)})
    return dg.materialize(ASSETS, resources={"storage": storage, "settings": settings}), root


def test_every_registered_model_is_an_asset() -> None:
    assert {tuple(asset.key.path) for asset in ASSETS} == {tuple(keys.checkpoint(model)) for model in MODELS}
    for asset in ASSETS:
        spec = asset.specs_by_key[asset.key]
        assert spec.group_name == keys.TRAINING
        assert spec.owners == [keys.OWNER]
        assert spec.description
        assert spec.kinds
        assert [dep.asset_key.path for dep in spec.deps] == [keys.TABLES]


@pytest.mark.parametrize("model", list(MODELS))
def test_materializing_writes_a_checkpoint(result: tuple[dg.ExecuteInProcessResult, Path], model: str) -> None:
    run, root = result
    assert run.success
    storage = Settings(home=root, dataset="toy").storage
    assert read_manifest(storage, model, 0)["kind"] == MODELS[model].kind
    load_recommender(storage, model, 0, load_tables(storage))


@pytest.mark.parametrize("model", list(MODELS))
def test_metadata(result: tuple[dg.ExecuteInProcessResult, Path], model: str) -> None:
    materialization = result[0].asset_materializations_for_node(f"{keys.TRAINING}__{model}")[0]
    metadata = {name: value.value for name, value in materialization.metadata.items()}
    assert {
        "validation ndcg@10",
        "validation hr@10",
        "validation log_likelihood",
        "seconds",
        "epochs",
        "parameters",
    } <= set(metadata)
    if MODELS[model].kind == "net":
        image = str(metadata["loss curve"]).split("base64,")[1].rstrip(")")
        assert base64.b64decode(image).startswith(b"\x89PNG")
        assert "| refit" in str(metadata["loss table"])
        assert int(metadata["parameters"]) > 0
