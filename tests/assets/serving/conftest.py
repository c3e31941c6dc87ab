"""A small dataset, and a recommender for it."""

from pathlib import Path

import numpy as np
import pytest

from assets.storage import Storage
from tests.assets.serving.fakes import ITEMS, USERS, RandomRecommender
from tests.support import interactions_frame, write_tables


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """Every item is engaged with once, in order, an hour apart; item 299 last."""
    rows = [
        (f"u{number % USERS:02}", f"i{number:03}", str(np.datetime64("2020-01-01T00") + np.timedelta64(number, "h")))
        for number in range(ITEMS)
    ]
    return write_tables(tmp_path, interactions_frame(rows), cutoff="2020-01-09", validation_start="2020-01-07")


@pytest.fixture
def recommender() -> RandomRecommender:
    return RandomRecommender()
