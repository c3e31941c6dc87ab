"""The served tiny dataset of the live path's tests, and the same with a challenger."""

import shutil
from pathlib import Path

import pytest

from assets.champion.challenger import make_challenger
from assets.stream import load_tables
from tests.assets.champion.held import with_retraining
from tests.assets.serving.live.conftest import (
    MODEL,
    NOW,
    Live,
    live,
    served_home,
    tiny_settings,
    trained_home,
    unbuilt,
)

__all__ = ["live", "served_home", "trained_home", "unbuilt"]


@pytest.fixture(scope="session")
def challenged_home(served_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The served dataset with a challenger that was trained before its newest window; copy it."""
    home = tmp_path_factory.mktemp("challenged")
    shutil.copytree(served_home / "data", home / "data")
    settings = tiny_settings(home)
    made = with_retraining(Live(settings.storage, settings, load_tables(settings.storage)))
    make_challenger(made.storage, made.settings, MODEL, NOW)
    return home


@pytest.fixture
def challenged(challenged_home: Path, tmp_path: Path) -> Live:
    """Served, with a challenger."""
    shutil.copytree(challenged_home / "data", tmp_path / "data")
    settings = tiny_settings(tmp_path)
    return with_retraining(Live(settings.storage, settings, load_tables(settings.storage)))
