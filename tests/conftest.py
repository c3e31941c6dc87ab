"""Where a session's temporary files lie, and in which order its files run: both for time, neither changes a test.
And which cases hypothesis draws: the same every time, so that a run says something of the commit and not of luck.

A test run of this project waits for the disk more than it computes: Dagster's SQLite commits, LMDB and every atomic
write call ``fsync``. In memory the same three assets, run four times, took 7 to 9 s instead of 18 to 20.
"""

import os
import shutil
from collections import Counter
from pathlib import Path

import hypothesis
import pytest

MEMORY = Path("/dev/shm")
ROOM = 4 << 30
"""Bytes that have to be free in memory's file system; a whole run leaves about 1.5 GiB there until it ends."""
NAME = "thaw-tests-"
FOLDER = pytest.StashKey[Path]()

# Other cases than last time: pytest --hypothesis-profile=default
hypothesis.settings.register_profile(
    "same_cases",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],  # as the deadline: of the machine, not of the test
)
hypothesis.settings.load_profile("same_cases")

LONGEST = (
    "tests/orchestration/test_every_dataset.py",
    "tests/assets/test_dbt.py",
    "tests/orchestration/test_loop.py",
    "tests/orchestration/test_end_to_end.py",
    "tests/assets/serving/retrieval/test_service_under_load.py",
    "tests/benchmarks/test_scale.py",
    "tests/orchestration/test_ui_in_browser.py",
    "tests/assets/quality/test_split_kinds.py",
    "tests/transforms/test_models.py",
    "tests/orchestration/test_freshness.py",
    "tests/orchestration/test_failures.py",
    "tests/benchmarks/test_ats.py",
    "tests/dashboards/test_pages_site_in_browser.py",
)
"""Files of more than twenty seconds: they start first, so that no worker begins one when the others are done."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Put temporary files into memory where there is room; ``--basetemp=FOLDER`` puts them elsewhere.

    Workers are given a folder inside their session's.
    """
    config.option.loadscopereorder = False  # xdist would start files of few tests last, which are the long ones
    if config.option.basetemp or not _has_room():
        return
    _remove_left_over()
    folder = MEMORY / f"{NAME}{os.getpid()}"
    folder.mkdir(mode=0o700)
    config.stash[FOLDER] = folder
    config.option.basetemp = folder / "base"


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """What passed leaves nothing; what failed can be looked at until the next session."""
    folder = session.config.stash.get(FOLDER, None)
    if folder is not None and exitstatus == 0:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, then those of most tests; tests of a file keep their order."""
    tests = Counter(_file(item) for item in items)
    items.sort(key=lambda item: (_place(_file(item)), -tests[_file(item)], _file(item)))


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _place(file: str) -> int:
    return LONGEST.index(file) if file in LONGEST else len(LONGEST)


def _has_room() -> bool:
    return os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM


def _remove_left_over() -> None:
    """Folders of this user's sessions that failed or were killed."""
    for folder in MEMORY.glob(f"{NAME}*"):
        ended = not Path("/proc", folder.name.removeprefix(NAME)).exists()
        if ended and folder.stat().st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)
