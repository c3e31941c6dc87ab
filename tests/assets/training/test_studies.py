"""The studies as assets, on toy tables: a sweep, the gamma sweep, and gate values of a checkpoint."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from assets import keys
from assets.config import ConfigError, Settings
from assets.storage import Storage
from assets.stream import load_tables
from assets.training import registry
from assets.training.registry import ModelEntry
from assets.training.saving import save_checkpoint
from assets.training.studies import assets as study_assets
from assets.training.studies import grids
from assets.training.studies.assets import ASSETS, gamma_sweep, gates, sweep
from assets.training.train import train
from tests.assets.training.conftest import GENRES, ROWS
from tests.support import interactions_frame, write_tables

TINY = {"dim": 4, "max_epochs": 2, "users.history_length": 7}


@pytest.fixture(autouse=True)
def _cdn_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.MODELS, "cdn", ModelEntry("net", "for these tests, should it not be there"))
    monkeypatch.setattr(study_assets, "NETS", [*study_assets.NETS, "cdn"])


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return write_tables(tmp_path, interactions_frame(ROWS), "2024-01-04", "2024-01-03", item_features={"genre": GENRES})


def run(asset: dg.AssetsDefinition, storage: Storage, *models: str, **training: Any) -> dict[str, Any]:
    tiny = {"hyper_parameters": {"sasrec": TINY, "cdn": TINY}, **training}
    settings = Settings(home=storage.root.parent, dataset="toy", models=models, training=tiny)
    done = dg.materialize([asset], resources={"storage": storage, "settings": settings})
    materialization = done.asset_materializations_for_node(asset.op.name)[0]
    return {name: value.value for name, value in materialization.metadata.items()}


def test_every_asset_says_what_it_is() -> None:
    assert [asset.key.path for asset in ASSETS] == [keys.SWEEP, keys.GAMMA_SWEEP, keys.GATES]
    for asset in ASSETS:
        spec = asset.specs_by_key[asset.key]
        assert (spec.group_name, list(spec.owners)) == (keys.STUDIES, [keys.OWNER])
        assert spec.description
        assert spec.kinds


def test_the_sweep_of_a_roster_with_its_own_grids(storage: Storage) -> None:
    own = {"sasrec": [{}, {"dim": 8}], "cdn": [{}]}
    metadata = run(sweep, storage, "sasrec", "decayed_popularity", "cdn", grids=own)
    assert metadata["dagster/row_count"] == 3
    shown = [line.split("|")[1].strip() for line in metadata["sasrec"].splitlines() if line.startswith("| ")][1:]
    assert sorted(shown) == ["dim 4", "dim 8"]
    assert "all with max_epochs 2, users.history_length 7." in metadata["sasrec"]
    assert sorted(path.name for path in storage.sweeps.iterdir() if path.suffix != ".lock") == [
        "cdn.md",
        "cdn.parquet",
        "sasrec.md",
        "sasrec.parquet",
    ]
    assert (storage.sweeps / "sasrec.md").read_text(encoding="utf-8") == metadata["sasrec"]
    assert not (storage.base / "checkpoints").exists()  # nothing is served from a sweep


def test_a_wrong_grid_stops_the_sweep_before_it_begins(storage: Storage) -> None:
    own = {"sasrec": [{}], "cdn": [{"head.adapter.gama": 2}]}
    with pytest.raises(ConfigError, match=r"head\.adapter\.gama: no such hyper-parameter"):
        run(sweep, storage, "sasrec", "cdn", grids=own)
    assert not storage.sweeps.exists()
    with pytest.raises(ConfigError, match="no net in the roster"):
        run(sweep, storage, "popularity")


def test_the_gamma_sweep_shares_its_trials_with_the_sweep(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grids, "GAMMA", grids.crossed({grids.GAMMA_KEY: (1.2, 3)}))
    metadata = run(gamma_sweep, storage)
    assert "data:image/png;base64" in metadata["figure"]
    assert "head.adapter.gamma 1.2" in metadata["table"]
    assert (storage.sweeps / "cdn_gamma.png").read_bytes().startswith(b"\x89PNG")
    before = pd.read_parquet(storage.sweeps / "cdn.parquet")
    run(sweep, storage, "cdn", grids={"cdn": [{"head.adapter.gamma": 3}]})
    pd.testing.assert_frame_equal(pd.read_parquet(storage.sweeps / "cdn.parquet"), before)


def test_gates_of_the_rosters_checkpoints(storage: Storage) -> None:
    tiny = {"hyper_parameters": {"sasrec": TINY, "cdn": TINY}}
    settings = Settings(home=storage.root.parent, dataset="toy", training=tiny)
    for model in ("sasrec", "cdn"):
        save_checkpoint(storage, train(model, load_tables(storage), settings))
    metadata = run(gates, storage, "sasrec", "cdn", "popularity")
    assert "### cdn, 1 seed(s)" in metadata["table"]
    assert "Without a gate that is learned: sasrec." in metadata["table"]
    table = pd.read_parquet(storage.gates / "gates.parquet")
    assert set(table["model"]) == {"cdn"}
    assert table.groupby("slice")["mean"].sum().tolist() == pytest.approx([1.0] * table["slice"].nunique())
    assert (storage.gates / "gates.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="no item tower of the roster has a learned gate"):
        run(gates, storage, "sasrec")
