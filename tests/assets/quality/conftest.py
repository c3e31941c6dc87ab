"""A toy dataset, made once a module, and a copy of it for every test."""

import shutil
from pathlib import Path

import pytest

from assets.storage import Storage
from tests.assets.quality.toy import write_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    return write_dataset(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def storage(dataset: Storage, tmp_path: Path) -> Storage:
    """A copy of the dataset, to plant faults in."""
    shutil.copytree(dataset.root, tmp_path / "data")
    return Storage(tmp_path / "data", dataset.dataset)
