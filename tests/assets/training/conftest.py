"""A few engagements of known order, with ties in time, a repeat, a future, and features."""

import pytest

from assets.storage import Storage
from assets.stream import DatasetTables, load_tables
from tests.models.contract import checkerboard_rows, other_future_rows, write_checkerboard
from tests.support import interactions_frame, write_tables

ROWS = [
    ("ann", "x", "2024-01-01T01:00:00"),
    ("ann", "y", "2024-01-01T02:00:00"),
    ("bob", "x", "2024-01-01T03:00:00"),
    ("ann", "z", "2024-01-01T02:00:00"),  # tie with ann's y
    ("bob", "y", "2024-01-02T01:00:00"),
    ("ann", "w", "2024-01-02T02:00:00"),
    ("cat", "x", "2024-01-03T01:00:00"),  # validation from here on: no history
    ("ann", "x", "2024-01-03T02:00:00"),  # a repeat
    ("bob", "v", "2024-01-03T03:00:00"),  # v is new to train
    ("cat", "w", "2024-01-03T04:00:00"),
    ("dan", "x", "2024-01-04T01:00:00"),  # test from here on
    ("ann", "future", "2024-01-04T02:00:00"),
]
GENRES = {"x": ["a", "b"], "y": ["b"], "z": [], "w": ["a", "c"], "v": ["c", "d"], "future": ["d", "e"]}


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    return write_tables(
        tmp_path_factory.mktemp("tables"),
        interactions_frame(ROWS),
        cutoff="2024-01-04",
        validation_start="2024-01-03",
        item_features={"genre": GENRES},
        user_features={"city": {"ann": ["oslo"], "bob": ["oslo"], "dan": ["rome"]}},
    )


@pytest.fixture(scope="session")
def tables(storage: Storage) -> DatasetTables:
    return load_tables(storage)


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    return write_checkerboard(tmp_path_factory.mktemp("board"), checkerboard_rows())


@pytest.fixture(scope="session")
def other_future(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    return write_checkerboard(tmp_path_factory.mktemp("other-future"), other_future_rows())
