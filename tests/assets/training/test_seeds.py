"""Several seeds of one model: which they are, and a checkpoint of each."""

from pathlib import Path

import dagster as dg
import pytest
from pydantic import ValidationError

from assets import keys
from assets.config import Settings, TrainingConfig
from assets.training.assets import ASSETS
from assets.training.checkpoints import read_manifest
from assets.training.seeds import for_seed, seeds_of
from tests.assets.training.conftest import GENRES, ROWS
from tests.support import interactions_frame, write_tables


def test_nets_have_several_and_counting_models_one():
    settings = Settings(training=TrainingConfig(seed=4, seeds=3))
    assert seeds_of("two_tower", settings) == (4, 5, 6)
    assert seeds_of("popularity", settings) == (4,)
    assert seeds_of("two_tower", Settings()) == (0,)


def test_settings_of_one_seed_are_otherwise_the_same():
    settings = Settings(training=TrainingConfig(seed=4, seeds=3, max_epochs=2))
    assert for_seed(settings, 5).training == TrainingConfig(seed=5, seeds=1, max_epochs=2)
    assert seeds_of("two_tower", for_seed(settings, 5)) == (5,)
    assert settings.training.seed == 4


def test_at_least_one_seed_is_needed():
    with pytest.raises(ValidationError, match="seeds"):
        TrainingConfig(seeds=0)


def test_the_asset_trains_every_seed(tmp_path: Path):
    storage = write_tables(
        tmp_path, interactions_frame(ROWS), "2024-01-04", "2024-01-03", item_features={"genre": GENRES}
    )
    training = {"seed": 3, "seeds": 2, "hyper_parameters": {"two_tower": {"dim": 4, "max_epochs": 1}}}
    settings = Settings(home=tmp_path, dataset="toy", training=training)
    wanted = [keys.checkpoint(model) for model in ("two_tower", "popularity")]
    result = dg.materialize(
        ASSETS,
        selection=dg.AssetSelection.assets(*map(dg.AssetKey, wanted)),
        resources={"storage": storage, "settings": settings},
    )
    assert [path.name for path in sorted(storage.checkpoint("two_tower", 3).parent.iterdir())] == ["seed-3", "seed-4"]
    assert [path.name for path in storage.checkpoint("popularity", 3).parent.iterdir()] == ["seed-3"]
    assert [read_manifest(storage, "two_tower", seed)["seed"] for seed in (3, 4)] == [3, 4]
    metadata = result.asset_materializations_for_node("__".join(keys.checkpoint("two_tower")))[0].metadata
    assert metadata["seed"].value == 3
    assert str(metadata["seeds"].value).count("\n") == 3
    alone = result.asset_materializations_for_node("__".join(keys.checkpoint("popularity")))[0].metadata
    assert "seeds" not in alone
