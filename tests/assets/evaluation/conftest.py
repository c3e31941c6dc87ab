"""A small dataset with trained models."""

import shutil
from pathlib import Path

import pytest

from assets.config import Settings
from assets.storage import Storage
from assets.stream import load_tables
from assets.training.saving import save_checkpoint
from assets.training.train import train
from tests.assets.evaluation.toy import ROSTER, toy_rows, toy_settings
from tests.support import interactions_frame, write_tables


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose dataset ``toy`` has tables and checkpoints; tests copy it before they write."""
    home = tmp_path_factory.mktemp("evaluation")
    storage = write_tables(home, interactions_frame(toy_rows()), "2020-01-07", "2020-01-06")
    settings = toy_settings(home)
    for model in ROSTER:
        save_checkpoint(storage, train(model, load_tables(storage), settings))
    return home


@pytest.fixture
def toy(trained: Path, tmp_path: Path) -> tuple[Storage, Settings]:
    """A copy of :func:`trained` of one's own."""
    shutil.copytree(trained / "data", tmp_path / "data")
    settings = toy_settings(tmp_path)
    return settings.storage, settings
