import subprocess
import sys

import pytest

from assets.config import ConfigError, Settings
from assets.training.presets import PRESETS, FitPreset
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


def test_the_asset_definitions_load_without_torch() -> None:
    """Definitions load at every step of every run: the heavy imports belong inside the assets."""
    code = "import sys, assets.training.assets; print({'torch', 'lightning', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
