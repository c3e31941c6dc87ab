import subprocess
import sys

import pytest

from assets.config import ConfigError, Settings, TrainingConfig
from assets.training.counting import CountAll, CountRecent
from assets.training.presets import PRESETS, FitPreset, SASRecPreset, preset
from assets.training.registry import DEFAULT_ROSTER, MODELS, roster
from models.registry import NETS


def test_registries_agree() -> None:
    assert set(PRESETS) == set(MODELS)
    assert {name for name, entry in MODELS.items() if entry.kind == "net"} == set(NETS)
    assert all(isinstance(PRESETS[name], FitPreset) == (entry.kind == "net") for name, entry in MODELS.items())
    assert set(DEFAULT_ROSTER) <= set(MODELS)


def test_roster_defaults_and_validates() -> None:
    assert roster(Settings()) == DEFAULT_ROSTER
    assert roster(Settings(models=("sasrec", "popularity"))) == ("sasrec", "popularity")
    with pytest.raises(ConfigError, match="no model named 'sasrek'; known: popularity, recent_popularity"):
        roster(Settings(models=("sasrek",)))
    with pytest.raises(ConfigError, match="listed twice"):
        roster(Settings(models=("sasrec", "sasrec")))


def test_overrides_reach_optimisation_and_net() -> None:
    training = TrainingConfig(hyper_parameters={"sasrec": {"learning_rate": 0.5, "dim": 32}}, max_epochs=2)
    config = preset("sasrec", training)
    assert isinstance(config, SASRecPreset)
    assert (config.learning_rate, config.net.dim, config.max_epochs) == (0.5, 32, 2)
    assert config.net.layers == PRESETS["sasrec"].net.layers
    assert preset("popularity", training) == CountAll()
    assert preset("recent_popularity", TrainingConfig(hyper_parameters={"recent_popularity": {"days": 3}})) == (
        CountRecent(days=3)
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"sasrec": {"depth": 3}},
            r"hyper_parameters.sasrec.depth: no such hyper-parameter; known: .*dim.*lear",
        ),
        ({"sasrec": {"dim": 0}}, r"hyper_parameters.sasrec: net.dim: Input should be greater"),
        ({"sasrek": {"dim": 3}}, r"hyper_parameters.sasrek: no such model; known: .*sasrec"),
        ({"sasrec": {"net": {}}}, r"sasrec.net: no such"),
    ],
)
def test_wrong_overrides_are_named(overrides: dict[str, dict[str, object]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        preset("sasrec", TrainingConfig(hyper_parameters=overrides))


def test_the_asset_definitions_load_without_torch() -> None:
    """Definitions load at every step of every run: the heavy imports belong inside the assets."""
    code = "import sys, assets.training.assets; print({'torch', 'lightning', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
